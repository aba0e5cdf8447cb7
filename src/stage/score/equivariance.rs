//! Do maps move with the picture? The map of a geometric view against the moved map of the picture itself.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::unit::Unit;
use crate::activation::LayerSet;
use crate::dataset::view::whereabouts;
use crate::dataset::{Motion, Preprocess, Presence, View};
use crate::error::Result;
use crate::metric::correlation::spearman;
use crate::probe::Cav;
use crate::stage::localise::{self, Form};
use crate::stage::{Context, items};

/// Rank correlations of the maps of views with the moved maps of the pictures, and with those of other pictures.
#[derive(Default)]
pub(super) struct Equivariance {
    /// By probe and view, for each test sample with the concept.
    found: BTreeMap<(usize, usize), Vec<Agreement>>,
}

/// Rank correlations of the map of one view of one sample.
struct Agreement {
    /// The sample's place in the test split.
    test: usize,
    /// With its own moved map.
    own: f64,
    /// With that of the next sample with the concept.
    other: f64,
}

/// What all samples of one layer and variant share.
struct Setting<'a> {
    context: &'a Context,
    unit: &'a Unit,
    views: &'a LayerSet,
    preprocess: &'a Preprocess,
    form: Form,
    /// For each probe, the clean maps of the test samples with its concept, by their place in the split.
    clean: Vec<Vec<(usize, Vec<f32>)>>,
}

impl Equivariance {
    /// Maps of views are made one by one from their activations and not kept. Empty without geometric views, and on grids
    /// too small to have an order.
    pub(super) fn of(context: &Context, unit: &Unit) -> Result<Self> {
        let geometric = context.study.score.views.iter().any(View::is_geometric);
        let (Some(views), Some(preprocess)) = (unit.view_set.as_ref(), context.preprocess()) else {
            return Ok(Self::default());
        };
        if !geometric || views.positions() < 4 {
            return Ok(Self::default());
        }
        let plain = context.extraction().open(&context.store, &items::plain(context), unit.layer)?;
        let clean = unit.fitted.cavs.iter().map(|cav| clean(context, unit, cav)).collect::<Result<Vec<_>>>()?;
        let form = Form::of(context, unit.layer, unit.variant, &plain)?;
        let setting = Setting { context, unit, views, preprocess, form, clean };
        let all = (0..unit.test.len()).into_par_iter().map(|t| setting.sample(t)).collect::<Result<Vec<_>>>()?;
        let mut found: BTreeMap<_, Vec<Agreement>> = BTreeMap::new();
        for (key, value) in all.into_iter().flatten() {
            found.entry(key).or_default().push(value);
        }
        Ok(Self { found })
    }

    /// For each test sample in `known` the mean correlation over the views `members`, and that with other pictures; NaN
    /// where there is none.
    pub(super) fn means(&self, k: usize, members: &[usize], known: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let mut sums = vec![(0.0, 0.0, 0.0); known.len()];
        for Agreement { test, own, other } in members.iter().filter_map(|v| self.found.get(&(k, *v))).flatten() {
            if let (Ok(at), false) = (known.binary_search(test), own.is_nan() || other.is_nan()) {
                let sum = &mut sums[at];
                *sum = (sum.0 + own, sum.1 + other, sum.2 + 1.0);
            }
        }
        sums.into_iter().map(|(own, other, n)| (own / n, other / n)).unzip()
    }
}

/// A probe's maps of the test samples with its concept; none of a probe without maps.
fn clean(context: &Context, unit: &Unit, cav: &Cav) -> Result<Vec<(usize, Vec<f32>)>> {
    if !cav.has_map() {
        return Ok(Vec::new());
    }
    let Some(concept) = context.concepts().iter().position(|c| *c == cav.concept) else { return Ok(Vec::new()) };
    let samples = localise::samples(context, concept).into_iter().zip(unit.maps.of(cav)?);
    let present = |s: &usize| context.dataset.samples()[*s].presence[concept] == Presence::Present;
    let place = |s: usize| unit.test.partition_point(|t| *t < s);
    Ok(samples.filter(|(s, _)| present(s)).map(|(s, map)| (place(s), map)).collect())
}

impl Setting<'_> {
    /// Every probe whose concept is in test sample `t`, under every geometric view.
    fn sample(&self, t: usize) -> Result<Vec<((usize, usize), Agreement)>> {
        let views = &self.context.study.score.all_views();
        // Probes, and where the sample is among those with the probe's concept.
        let place = |k: usize| Some((k, self.clean[k].binary_search_by_key(&t, |(t, _)| *t).ok()?));
        let chosen: Vec<(usize, usize)> = (0..self.clean.len()).filter_map(place).collect();
        let cavs: Vec<&Cav> = chosen.iter().map(|(k, _)| &self.unit.fitted.cavs[*k]).collect();
        let mut out = Vec::new();
        if cavs.is_empty() {
            return Ok(out);
        }
        let masks = if views.iter().any(View::sees_masks) {
            whereabouts(self.context.dataset.as_ref(), self.unit.test[t], self.preprocess)?
        } else {
            None
        };
        let id = self.context.dataset.samples()[self.unit.test[t]].id.as_str();
        for (v, view) in views.iter().enumerate() {
            let Some(motion) = view.motion(self.preprocess.size, self.context.seed, id, &masks) else { continue };
            let seen = self.form.maps(self.views, t * views.len() + v, &cavs)?;
            for ((k, at), seen) in chosen.iter().zip(seen) {
                let of_concept = &self.clean[*k];
                let other = (at + 1) % of_concept.len();
                let own = self.agreement(&motion, &of_concept[*at].1, &seen);
                let other = self.agreement(&motion, &of_concept[other].1, &seen);
                out.push(((*k, v), Agreement { test: t, own, other }));
            }
        }
        Ok(out)
    }

    /// Rank correlation over the cells whose centres come from inside the picture.
    fn agreement(&self, motion: &Motion, clean: &[f32], seen: &[f32]) -> f64 {
        let [_, height, width] = self.views.shape;
        let moved = motion.moved(clean, (height, width), self.preprocess.size);
        let seen: Vec<f64> = seen.iter().map(|v| f64::from(*v)).collect();
        spearman(&moved, &seen)
    }
}
