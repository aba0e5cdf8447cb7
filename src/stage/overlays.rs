//! Which maps are drawn over which pictures.

use std::collections::BTreeMap;

use super::Context;
use super::fitted::Fitted;
use super::localise::{self, Maps};
use crate::dataset::Presence;
use crate::error::Result;
use crate::localise::Enlarging;
use crate::maximise::png;
use crate::metric::bootstrap::quantile;
use crate::probe::{Cav, Variant, scores};
use crate::report::{self, Overlay};

/// What a picture shows of a probe: right, wrong, on a picture with or without the concept.
const OUTCOMES: [&str; 3] = ["true positive", "false positive", "true negative"];

/// Overlays at the deepest layer, for every concept: the same pictures under every probe, so that maps can be compared.
/// The Classifier-CAV chooses them: its true positives, false positives and true negatives.
///
/// # Errors
/// When maps, pictures or masks are missing.
pub fn draw(context: &Context, fitted: &[(usize, Variant, Fitted)]) -> Result<Vec<Overlay>> {
    let mut out = Vec::new();
    if context.graph.is_none() {
        return Ok(out);
    }
    let deepest = context.layers.len().saturating_sub(1);
    for (layer, variant, fitted) in fitted.iter().filter(|(layer, ..)| *layer == deepest) {
        let maps = Maps::open(context, *layer, *variant)?;
        let enlarging = localise::enlarging(context, *layer)?;
        let set = context.extraction().open(&context.store, &super::items::plain(context), *layer)?;
        for number in 0..context.concepts().len() {
            let name = &context.concepts()[number];
            let cavs: Vec<&Cav> =
                fitted.cavs.iter().filter(|c| c.concept == *name && c.probe != "permuted" && c.has_map()).collect();
            let samples = localise::samples(context, number);
            if cavs.is_empty() || samples.is_empty() {
                continue;
            }
            let scores = scores(&set, &samples, &set, &cavs)?;
            let leading = cavs.iter().position(|c| c.probe == "classifier").unwrap_or(0);
            let column: Vec<f64> = scores.column(leading).to_vec();
            let chosen = choose(context, number, &samples, &column);
            for (k, cav) in cavs.iter().enumerate() {
                let of_cav = less_their_mean(maps.of(cav)?);
                let range = range(&of_cav);
                for (outcome, at) in &chosen {
                    let map = &of_cav[*at];
                    let shown = (*outcome, samples[*at], scores[[*at, k]]);
                    out.push(overlay(context, number, cav, shown, map, (range, &enlarging))?);
                }
            }
        }
    }
    Ok(out)
}

/// For each outcome, evenly spread over the ranks of their scores, which samples to show.
fn choose(context: &Context, concept: usize, samples: &[usize], scores: &[f64]) -> Vec<(&'static str, usize)> {
    let mut by_outcome: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, sample) in samples.iter().enumerate() {
        let present = context.dataset.samples()[*sample].presence[concept] == Presence::Present;
        let outcome = match (present, scores[at] > 0.0) {
            (true, true) => OUTCOMES[0],
            (false, true) => OUTCOMES[1],
            (false, false) => OUTCOMES[2],
            (true, false) => continue,
        };
        by_outcome.entry(outcome).or_default().push(at);
    }
    let mut chosen = Vec::new();
    for outcome in OUTCOMES {
        let mut found = by_outcome.remove(outcome).unwrap_or_default();
        found.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let examples = context.study.localise.examples;
        let wanted = if outcome == OUTCOMES[2] { examples.min(1) } else { examples };
        let count = wanted.min(found.len());
        chosen.extend((0..count).map(|i| (outcome, found[i * found.len() / count])));
    }
    chosen
}

/// Maps less their mean over the test split, position by position. Activations are rarely negative, so a map by itself
/// is mostly one colour; its difference to the usual map shows what is particular to a picture. For display only.
fn less_their_mean(mut maps: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let count = maps.len().max(1) as f64;
    let mut mean = vec![0f64; maps.first().map_or(0, Vec::len)];
    for map in &maps {
        mean.iter_mut().zip(map).for_each(|(m, v)| *m += f64::from(*v) / count);
    }
    for map in &mut maps {
        map.iter_mut().zip(&mean).for_each(|(v, m)| *v -= *m as f32);
    }
    maps
}

/// The range of colours of one probe: the 99 % quantile of its maps' absolute values over the test split.
pub(super) fn range(maps: &[Vec<f32>]) -> f32 {
    let mut all: Vec<f64> = maps.iter().flatten().map(|v| f64::from(v.abs())).collect();
    all.sort_unstable_by(f64::total_cmp);
    quantile(&all, 0.99) as f32
}

fn overlay(
    context: &Context,
    concept: usize,
    cav: &Cav,
    (outcome, sample, score): (&str, usize, f64),
    map: &[f32],
    (range, enlarging): (f32, &Enlarging),
) -> Result<Overlay> {
    let name = &context.dataset.samples()[sample].name;
    let file = format!(
        "maps/{}-{}-{}-{}-{}-{name}.png",
        cav.layer,
        cav.concept,
        cav.probe,
        cav.variant.name(),
        outcome.replace(' ', "-")
    );
    Ok(Overlay {
        layer: cav.layer.clone(),
        concept: cav.concept.clone(),
        probe: cav.probe.clone(),
        variant: cav.variant.name(),
        outcome: outcome.to_owned(),
        sample: name.clone(),
        score,
        file: file.replace(['@', ','], "-"),
        png: picture(context, concept, sample, map, (cav.shape[1], cav.shape[2]), (range, enlarging))?,
    })
}

/// A map of any size `from` over what the network sees of a sample, with the outline of the concept's mask, as a PNG.
///
/// # Errors
/// When the picture or its mask cannot be read.
pub(super) fn picture(
    context: &Context,
    concept: usize,
    sample: usize,
    map: &[f32],
    from: (usize, usize),
    (range, enlarging): (f32, &Enlarging),
) -> Result<Vec<u8>> {
    let image = context.dataset.image(sample)?;
    let (left, top, width, height) = context.window(image.width() as usize, image.height() as usize);
    let crop = image::imageops::crop_imm(&image, left as u32, top as u32, width as u32, height as u32).to_image();
    let present = context.dataset.samples()[sample].presence[concept] == Presence::Present;
    let mask = if present { context.dataset.mask(sample, concept)? } else { None };
    let mask = mask.map(|m| m.window(left, top, width, height));
    let size = (crop.height() as usize, crop.width() as usize);
    let map = enlarging.apply(map, from, size);
    png(&report::overlay(&crop, &map, range, mask.as_ref())?)
}
