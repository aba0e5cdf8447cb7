//! Do attribution maps lie on the concept? Scores against masks, beside chance and the grid's ceiling.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Rows;
use super::unit::{Concept, Unit};
use crate::dataset::split::Part;
use crate::dataset::{Mask, Presence};
use crate::error::Result;
use crate::localise::linear::{outer_ring_expected, outer_ring_share};
use crate::localise::{Enlarging, LocaliseOptions, drop_rings, drop_rings_window};
use crate::metric::bootstrap::{ratio, weighted_mean};
use crate::metric::overlap::{Levels, Overlap, chance, map_quantile, set_iou, threshold};
use crate::metric::segmentation::{Scores, Target, energy_density, false_localisation};
use crate::probe::Cav;
use crate::stage::{Context, localise};

/// The coverages of a cell between which thresholds of ceilings lie.
const COVERAGES: [f32; 2] = [0.0, 1.0];

/// The masks of the test and the validation split, as far as the network sees them. Read once, for every layer.
pub(super) struct Masks(BTreeMap<(usize, usize), Mask>);

impl Masks {
    pub(super) fn of(context: &Context) -> Result<Self> {
        let mut samples = context.part(Part::Test);
        samples.extend(context.part(Part::Val));
        let found = samples.into_par_iter().map(|sample| {
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
    targets: Vec<Sought>,
    /// Of the test samples without the concept, their positions in [`Concept::known`].
    without: Vec<usize>,
    /// The masks of the validation samples, `None` of those without the concept, with positions in
    /// [`localise::validation_samples`].
    validation: Vec<(usize, Option<Mask>)>,
    /// What pictures without a mask are enlarged to: the size of the first one with a mask.
    size: (usize, usize),
    /// From maps without the rings that are dropped.
    enlarging: Enlarging,
}

/// One mask and what its grid can reach.
struct Sought {
    /// Position in [`Concept::known`].
    at: usize,
    size: (usize, usize),
    target: Target,
    best: Scores,
    /// The mask's own coverage of the grid, cut where all of the concept's are matched best.
    ceiling: Overlap,
}

impl Truth {
    /// Samples with an empty or full mask have nothing to find: they are left out.
    pub(super) fn of(context: &Context, masks: &Masks, unit: &Unit, concept: &Concept, shape: [usize; 3]) -> Self {
        let options = &context.study.localise;
        let grid = (shape[1], shape[2]);
        let cut = |sample: usize| {
            let mask = masks.0.get(&(sample, concept.number))?;
            let whole = (0.0, 0.0, mask.width as f64, mask.height as f64);
            let (left, top, width, height) = drop_rings_window(whole, grid, options.drop_ring);
            Some(mask.window(left, top, width, height))
        };
        let inner = drop_rings(&vec![0.0; grid.0 * grid.1], grid, options.drop_ring).1;
        let enlarging = unit.enlarging.without_rings(grid, options.drop_ring);
        let found = concept.known.par_iter().enumerate().filter_map(|(at, test)| {
            let mask = cut(unit.test[*test])?;
            let target = Target::new(&mask, context.study.score.tolerance(mask.width))?;
            Some((at, (mask.height, mask.width), target, enlarging.ceiling(&mask, inner)))
        });
        let found: Vec<_> = found.collect();
        let levels = Levels::of([COVERAGES.as_slice()].into_iter());
        let histograms: Vec<_> =
            found.par_iter().map(|(_, _, target, map)| levels.histogram(map, Some(target.pixels()))).collect();
        let level = levels.best(&histograms);
        let sought = |(at, size, target, map): (usize, (usize, usize), Target, Vec<f32>)| {
            let (best, ceiling) = (target.scores(&map), Overlap::new(&map, Some(target.pixels()), level));
            Sought { at, size, target, best, ceiling }
        };
        let targets: Vec<Sought> = found.into_par_iter().map(sought).collect();
        let presence = |sample: usize| context.dataset.samples()[sample].presence[concept.number];
        let validation = localise::validation_samples(context, concept.number).into_iter().enumerate();
        let validation = validation.filter_map(|(at, sample)| match presence(sample) {
            Presence::Present => cut(sample).map(|mask| (at, Some(mask))),
            Presence::Absent => Some((at, None)),
            Presence::Unknown => None,
        });
        Self {
            without: (0..concept.known.len()).filter(|at| !concept.present[*at]).collect(),
            validation: validation.collect(),
            size: targets.first().map_or((0, 0), |t| t.size),
            enlarging,
            targets,
        }
    }
}

/// Every metric of maps against masks of the test split.
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
    let validation = unit.maps.of_validation(cav)?;
    let cut = Cut::new(context, cav, &maps, &validation, truth);
    let measured: Vec<(Scores, [Overlap; 2])> = truth
        .targets
        .par_iter()
        .map(|sought| {
            let map = cut.enlarged(&maps[sought.at], sought.size);
            (sought.target.scores(&map), cut.overlaps(&map, Some(sought.target.pixels())))
        })
        .collect();
    each_picture(truth, &measured, concept, rows);
    all_pictures(truth, &cut, &maps, &measured, concept, rows);
    let boot = &concept.bootstrap;
    let energy: Vec<f64> = maps.iter().map(|m| energy_density(m)).collect();
    let misplaced = |w: &[f64]| false_localisation(&energy, &concept.present, w);
    rows.push("false_localisation", "", boot.estimate(misplaced, 1.0, "chance", energy.len()));
    let grid = (cav.shape[1], cav.shape[2]);
    let ring: Vec<f64> = maps.iter().map(|m| outer_ring_share(m, grid)).collect();
    let ring = boot.estimate(|w| weighted_mean(&ring, w), outer_ring_expected(grid), "uniform map", ring.len());
    rows.push("edge_share", "", ring);
    Ok(())
}

/// S1, S2, S3, S6, S7 and S8: means over the test samples with a mask.
fn each_picture(truth: &Truth, measured: &[(Scores, [Overlap; 2])], concept: &Concept, rows: &mut Rows<'_>) {
    let boot = &concept.bootstrap;
    let n = measured.len();
    for (i, name) in Scores::NAMES.iter().enumerate() {
        let column = |score: &dyn Fn(usize) -> Scores| {
            let mut values = vec![f64::NAN; concept.known.len()];
            truth.targets.iter().enumerate().for_each(|(t, sought)| values[sought.at] = score(t).values()[i]);
            values
        };
        let own = column(&|t| measured[t].0);
        let chance = column(&|t| truth.targets[t].target.chance());
        let best = column(&|t| truth.targets[t].best);
        let ones = vec![1.0; own.len()];
        let chance_level = weighted_mean(&chance, &ones);
        rows.push(name, "", boot.estimate(|w| weighted_mean(&own, w), chance_level, "chance", n));
        let of_ceiling = |w: &[f64]| ratio(weighted_mean(&own, w), weighted_mean(&best, w));
        let null = ratio(chance_level, weighted_mean(&best, &ones));
        rows.push(name, "of_ceiling", boot.estimate(of_ceiling, null, "chance", n));
    }
}

/// S4 and S5: one threshold for all test samples, those without the concept included.
fn all_pictures(
    truth: &Truth,
    cut: &Cut<'_>,
    maps: &[Vec<f32>],
    measured: &[(Scores, [Overlap; 2])],
    concept: &Concept,
    rows: &mut Rows<'_>,
) {
    let mut overlaps = [(); 2].map(|()| vec![None; concept.known.len()]);
    let mut put = |at: usize, found: [Overlap; 2]| (0..2).for_each(|i| overlaps[i][at] = Some(found[i]));
    let without: Vec<_> = truth.without.par_iter().map(|at| (*at, cut.without(&maps[*at]))).collect();
    without.into_iter().for_each(|(at, found)| put(at, found));
    truth.targets.iter().zip(measured).for_each(|(sought, (_, found))| put(sought.at, *found));
    let n = if truth.targets.is_empty() { 0 } else { truth.targets.len() + truth.without.len() };
    let boot = &concept.bootstrap;
    for (name, overlaps) in ["seg_iou_q", "seg_iou_val"].into_iter().zip(&overlaps) {
        rows.push(name, "", boot.estimate(|w| set_iou(overlaps, w), chance(overlaps), "chance", n));
    }
    let mut best = vec![None; concept.known.len()];
    truth.targets.iter().for_each(|sought| best[sought.at] = Some(sought.ceiling));
    let ones = vec![1.0; concept.known.len()];
    let of_ceiling = |w: &[f64]| ratio(set_iou(&overlaps[1], w), set_iou(&best, w));
    let null = ratio(chance(&overlaps[1]), set_iou(&best, &ones));
    rows.push("seg_iou_val", "of_ceiling", boot.estimate(of_ceiling, null, "chance", n));
}

/// Where the maps of one probe are cut: at a quantile of the test split's pixels, and where those of the validation split match
/// their masks best.
struct Cut<'a> {
    options: &'a LocaliseOptions,
    /// Of maps without the rings that are dropped.
    enlarging: Enlarging,
    grid: (usize, usize),
    /// The size of pictures without a mask.
    size: (usize, usize),
    thresholds: [f32; 2],
}

impl<'a> Cut<'a> {
    fn new(context: &'a Context, cav: &Cav, test: &[Vec<f32>], validation: &[Vec<f32>], truth: &Truth) -> Self {
        let grid = (cav.shape[1], cav.shape[2]);
        let (options, enlarging) = (&context.study.localise, truth.enlarging);
        let mut cut = Self { options, enlarging, grid, size: truth.size, thresholds: [f32::NAN; 2] };
        if truth.targets.is_empty() {
            return cut;
        }
        let inner = |map: &[f32]| cut.inner(map).0;
        let seen: Vec<Vec<f32>> = truth.validation.iter().map(|(at, _)| inner(&validation[*at])).collect();
        let levels = Levels::of(seen.iter().map(Vec::as_slice));
        let histogram = |(at, mask): &(usize, Option<Mask>)| match mask {
            Some(mask) => {
                let map = cut.enlarged(&validation[*at], (mask.height, mask.width));
                levels.histogram(&map, Some(&mask.pixels))
            }
            None => levels.histogram(&cut.enlarged(&validation[*at], cut.size), None),
        };
        let histograms: Vec<_> = truth.validation.par_iter().map(histogram).collect();
        cut.thresholds = [cut.at_quantile(context.study.score.quantile, test, truth), levels.best(&histograms)];
        cut
    }

    /// Where a share `1 - q` of all pixels of the pictures that count is above. Only pixels above a floor, which is lowered
    /// until there are enough, are held at once.
    fn at_quantile(&self, q: f64, test: &[Vec<f32>], truth: &Truth) -> f32 {
        let with = truth.targets.iter().map(|sought| (sought.at, sought.size));
        let counted: Vec<_> = with.chain(truth.without.iter().map(|at| (*at, self.size))).collect();
        let inner: Vec<Vec<f32>> = counted.iter().map(|(at, _)| self.inner(&test[*at]).0).collect();
        let mut share = 1.0 - q;
        loop {
            share = (4.0 * share).min(1.0);
            let floor = map_quantile(inner.iter().map(Vec::as_slice), 1.0 - share);
            let pixels = |((at, size), inner): (&(usize, (usize, usize)), &Vec<f32>)| {
                if self.stays_within() && inner.iter().all(|v| *v <= floor) {
                    return Vec::new();
                }
                let area = 1.0 / (size.0 * size.1) as f64;
                let above = self.enlarged(&test[*at], *size).into_iter().filter(|v| *v > floor);
                above.map(|v| (v, area)).collect()
            };
            let above: Vec<Vec<(f32, f64)>> = counted.par_iter().zip(&inner).map(pixels).collect();
            let found = threshold(above.concat(), (1.0 - q) * counted.len() as f64);
            if let Some(found) = found.or((share >= 1.0).then_some(floor)) {
                return found;
            }
        }
    }

    fn inner(&self, map: &[f32]) -> (Vec<f32>, (usize, usize)) {
        drop_rings(map, self.grid, self.options.drop_ring)
    }

    fn enlarged(&self, map: &[f32], size: (usize, usize)) -> Vec<f32> {
        let (map, inner) = self.inner(map);
        self.enlarging.apply(&map, inner, size)
    }

    fn overlaps(&self, map: &[f32], mask: Option<&[bool]>) -> [Overlap; 2] {
        self.thresholds.map(|threshold| Overlap::new(map, mask, threshold))
    }

    /// Whether enlarging makes no value higher: then a map that is nowhere above a threshold need not be enlarged.
    fn stays_within(&self) -> bool {
        self.enlarging.stays_within()
    }

    /// Of a picture without the concept.
    fn without(&self, map: &[f32]) -> [Overlap; 2] {
        let above = |threshold: &f32| map.iter().any(|v| v > threshold);
        if !self.stays_within() || self.thresholds.iter().any(above) {
            self.overlaps(&self.enlarged(map, self.size), None)
        } else {
            [Overlap::default(); 2]
        }
    }
}
