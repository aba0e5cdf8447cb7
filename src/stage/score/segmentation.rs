//! Do attribution maps lie on the concept? Scores against masks, beside chance and the grid's ceiling.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Rows;
use super::unit::{Concept, Unit};
use crate::dataset::split::Part;
use crate::dataset::{Mask, Presence};
use crate::error::Result;
use crate::localise::{ceiling, drop_rings, drop_rings_window, upsample};
use crate::metric::bootstrap::{ratio, weighted_mean};
use crate::metric::segmentation::{Scores, Target, energy_density, false_localisation};
use crate::stage::Context;

/// The masks of the test split, as far as the network sees them. Read once, for every layer.
pub(super) struct Masks(BTreeMap<(usize, usize), Mask>);

impl Masks {
    pub(super) fn of(context: &Context) -> Result<Self> {
        let found = context.part(Part::Test).into_par_iter().map(|sample| {
            let mut out = Vec::new();
            for (concept, presence) in context.dataset.samples()[sample].presence.iter().enumerate() {
                if *presence != Presence::Present || !context.study.score.wants("segmentation") {
                    continue;
                }
                if let Some(mask) = context.dataset.mask(sample, concept)? {
                    let (left, top, width, height) = context.window(mask.width, mask.height);
                    out.push(((sample, concept), mask.window(left, top, width, height)));
                }
            }
            Ok(out)
        });
        Ok(Self(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()))
    }
}

/// What maps of one concept at one layer are held against.
pub(super) struct Truth {
    /// Positions in [`Concept::known`], with the mask and what its grid can reach.
    targets: Vec<(usize, (usize, usize), Target, Scores)>,
}

impl Truth {
    /// Samples with an empty or full mask have nothing to find: they are left out.
    pub(super) fn of(context: &Context, masks: &Masks, unit: &Unit, concept: &Concept, shape: [usize; 3]) -> Self {
        let options = &context.study.localise;
        let grid = (shape[1], shape[2]);
        let targets = concept.known.par_iter().enumerate().filter_map(|(at, test)| {
            let mask = masks.0.get(&(unit.test[*test], concept.number))?;
            let whole = (0.0, 0.0, mask.width as f64, mask.height as f64);
            let (left, top, width, height) = drop_rings_window(whole, grid, options.drop_ring);
            let mask = mask.window(left, top, width, height);
            let target = Target::new(&mask, context.study.score.tolerance(mask.width))?;
            let inner = drop_rings(&vec![0.0; grid.0 * grid.1], grid, options.drop_ring).1;
            let best = target.scores(&ceiling(&mask, inner, options.upsample));
            Some((at, (mask.height, mask.width), target, best))
        });
        Self { targets: targets.collect() }
    }
}

/// S1, S3, S6, S7 and S8 over the test samples with a mask, and how much energy falls on samples without the concept.
pub(super) fn measure(
    context: &Context,
    truth: &Truth,
    unit: &Unit,
    concept: &Concept,
    k: usize,
    rows: &mut Rows<'_>,
) -> Result<()> {
    let cav = &unit.fitted.cavs[k];
    let maps = unit.maps.of(cav)?;
    let (options, grid) = (&context.study.localise, (cav.shape[1], cav.shape[2]));
    let measured: Vec<Scores> = truth
        .targets
        .par_iter()
        .map(|(at, size, target, _)| {
            let (map, inner) = drop_rings(&maps[*at], grid, options.drop_ring);
            target.scores(&upsample(&map, inner, *size, options.upsample))
        })
        .collect();
    let n = measured.len();
    for (i, name) in Scores::NAMES.iter().enumerate() {
        let column = |score: &dyn Fn(usize) -> Scores| {
            let mut values = vec![f64::NAN; concept.known.len()];
            truth.targets.iter().enumerate().for_each(|(t, (at, ..))| values[*at] = score(t).values()[i]);
            values
        };
        let own = column(&|t| measured[t]);
        let chance = column(&|t| truth.targets[t].2.chance());
        let best = column(&|t| truth.targets[t].3);
        let ones = vec![1.0; own.len()];
        let boot = &concept.bootstrap;
        let chance_level = weighted_mean(&chance, &ones);
        rows.push(name, "", boot.estimate(|w| weighted_mean(&own, w), chance_level, "chance", n));
        let of_ceiling = |w: &[f64]| ratio(weighted_mean(&own, w), weighted_mean(&best, w));
        let null = ratio(chance_level, weighted_mean(&best, &ones));
        rows.push(name, "of_ceiling", boot.estimate(of_ceiling, null, "chance", n));
    }
    let energy: Vec<f64> = maps.iter().map(|m| energy_density(m)).collect();
    let misplaced = |w: &[f64]| false_localisation(&energy, &concept.present, w);
    rows.push("false_localisation", "", concept.bootstrap.estimate(misplaced, 1.0, "chance", energy.len()));
    Ok(())
}
