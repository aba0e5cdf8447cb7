//! Does a map cut at one threshold for all pictures cover the concept? Set IoU: intersections and unions are summed over
//! pictures before they are divided, so a resample of pictures costs one pass.
//!
//! S4 cuts where a fixed share of all pixels is above, after NetDissect (Bau et al. 2017, which takes the quantile of the
//! values before they are enlarged, and calls a channel a detector above 0.04); S5 cuts where the validation split is matched best. Pictures without the concept count with an empty mask:
//! what is chosen there is union and never intersection. Areas are shares of a picture, so that each counts the same.

use super::bootstrap::{quantile, ratio};

/// Candidates for a tuned threshold.
const LEVELS: usize = 100;

/// Areas of one picture, as shares of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overlap {
    /// On the mask and above the threshold.
    pub both: f64,
    /// Above the threshold.
    pub chosen: f64,
    /// On the mask.
    pub mask: f64,
}

impl Overlap {
    /// What a map above a threshold has in common with a mask; `None` is an empty mask. A value that is not a number is
    /// not above. Areas of a picture without pixels are zero.
    pub fn new(map: &[f32], mask: Option<&[bool]>, threshold: f32) -> Self {
        let above = map.iter().filter(|v| **v > threshold).count();
        let (both, masked) = mask.map_or((0, 0), |mask| {
            let both = map.iter().zip(mask).filter(|(v, m)| **m && **v > threshold).count();
            (both, mask.iter().filter(|m| **m).count())
        });
        let share = |count: usize| count as f64 / map.len().max(1) as f64;
        Self { both: share(both), chosen: share(above), mask: share(masked) }
    }
}

/// Set IoU, `sum of |A ∩ m| / sum of |A ∪ m|` over pictures, A what is above the threshold. In [0, 1]; NaN where both are
/// empty in all. Pictures that are `None` are left out.
pub fn set_iou(overlaps: &[Option<Overlap>], weights: &[f64]) -> f64 {
    let sum = sums(overlaps, weights);
    ratio(sum.both, sum.chosen + sum.mask - sum.both)
}

/// The set IoU of random regions as large, in all, as those chosen: `p M / (p + M - p M)`, where a share p of all pixels is
/// chosen and a share M is on masks. NaN where both are zero.
pub fn chance(overlaps: &[Option<Overlap>]) -> f64 {
    let sum = sums(overlaps, &vec![1.0; overlaps.len()]);
    let pictures = overlaps.iter().flatten().count() as f64;
    let (p, m) = (ratio(sum.chosen, pictures), ratio(sum.mask, pictures));
    ratio(p * m, p + m - p * m)
}

fn sums(overlaps: &[Option<Overlap>], weights: &[f64]) -> Overlap {
    let mut sum = Overlap::default();
    for (overlap, w) in overlaps.iter().zip(weights) {
        if let Some(o) = overlap {
            sum.both += w * o.both;
            sum.chosen += w * o.chosen;
            sum.mask += w * o.mask;
        }
    }
    sum
}

/// The lowest threshold that pixels of no more than `amount` are above, from `pixels`, values with the area they stand for.
/// Only those above a floor need be there; `None` where they are too few to tell.
pub fn threshold(mut pixels: Vec<(f32, f64)>, amount: f64) -> Option<f32> {
    pixels.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)));
    let mut above = 0.0;
    for (value, area) in pixels {
        above += area;
        // Areas are fractions: sums of them are rounded.
        if above > amount * (1.0 + 1e-9) {
            return Some(value);
        }
    }
    None
}

/// The quantile `q` in [0, 1] of all values of maps, interpolated linearly; NaN of none. Values that are not numbers are
/// left out.
pub fn map_quantile<'a>(maps: impl Iterator<Item = &'a [f32]>, q: f64) -> f32 {
    quantile(&sorted(maps), q) as f32
}

fn sorted<'a>(maps: impl Iterator<Item = &'a [f32]>) -> Vec<f64> {
    let mut values: Vec<f64> = maps.flatten().filter(|v| !v.is_nan()).map(|v| f64::from(*v)).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Thresholds to choose from, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels(Vec<f32>);

/// How much of one picture lies between neighbouring thresholds: on the mask and in all; and how much is on the mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bins: Vec<(f64, f64)>,
    mask: f64,
}

impl Levels {
    /// The percentiles 0 to 99 of all values of maps; the same value once.
    pub fn of<'a>(maps: impl Iterator<Item = &'a [f32]>) -> Self {
        let sorted = sorted(maps);
        let level = |i: usize| quantile(&sorted, i as f64 / LEVELS as f64) as f32;
        let mut levels: Vec<f32> = (0..LEVELS).map(level).filter(|v| !v.is_nan()).collect();
        levels.dedup();
        Self(levels)
    }

    /// The shares of a map between the thresholds. `None` is an empty mask.
    pub fn histogram(&self, map: &[f32], mask: Option<&[bool]>) -> Histogram {
        let mut counts = vec![(0u32, 0u32); self.0.len() + 1];
        for (i, value) in map.iter().enumerate() {
            // How many thresholds it is above; none where it is no number.
            let bin = &mut counts[self.0.partition_point(|level| *value > *level)];
            bin.0 += u32::from(mask.is_some_and(|m| m[i]));
            bin.1 += 1;
        }
        let share = |count: u32| f64::from(count) / map.len().max(1) as f64;
        let bins: Vec<(f64, f64)> = counts.into_iter().map(|(on, all)| (share(on), share(all))).collect();
        Histogram { mask: bins.iter().map(|b| b.0).sum(), bins }
    }

    /// The threshold with the highest set IoU, the lowest of several; NaN, which nothing is above, where there is none.
    pub fn best(&self, histograms: &[Histogram]) -> f32 {
        let mut total = vec![(0.0, 0.0); self.0.len() + 1];
        for histogram in histograms {
            total.iter_mut().zip(&histogram.bins).for_each(|(t, b)| *t = (t.0 + b.0, t.1 + b.1));
        }
        let mask: f64 = histograms.iter().map(|h| h.mask).sum();
        let (mut both, mut chosen, mut best, mut highest) = (0.0, 0.0, f32::NAN, 0.0);
        for (level, (on, all)) in self.0.iter().zip(&total[1..]).rev() {
            both += on;
            chosen += all;
            let iou = ratio(both, chosen + mask - both);
            if iou >= highest {
                (best, highest) = (*level, iou);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Mask;
    use crate::metric::segmentation::evaluate;

    const MASK: [bool; 4] = [true, true, false, false];

    #[test]
    fn areas_by_hand() {
        let o = Overlap::new(&[3.0, 1.0, 2.0, -1.0], Some(&MASK), 1.0);
        assert_eq!(o, Overlap { both: 0.25, chosen: 0.5, mask: 0.5 });
        let empty = Overlap::new(&[3.0, f32::NAN], None, 1.0);
        assert_eq!(empty, Overlap { both: 0.0, chosen: 0.5, mask: 0.0 });
        assert_eq!(Overlap::new(&[], None, 0.0), Overlap::default());
        // The second picture weighs as much as the first, however large it is.
        let all = [Some(o), Some(empty), None];
        assert_eq!(set_iou(&all, &[1.0; 3]), 0.25 / 1.25);
        assert_eq!(set_iou(&all, &[2.0, 0.0, 5.0]), 0.25 / 0.75);
        assert_eq!(chance(&all), 0.5 * 0.25 / (0.75 - 0.125));
    }

    #[test]
    fn empty_masks_and_constant_maps() {
        let none = Overlap::new(&[0.5; 4], None, 0.5);
        assert!(set_iou(&[Some(none)], &[1.0]).is_nan() && chance(&[Some(none)]).is_nan());
        // A constant map is above no quantile of itself.
        let threshold = map_quantile([[0.5f32; 4].as_slice()].into_iter(), 0.995);
        assert_eq!(set_iou(&[Some(Overlap::new(&[0.5; 4], Some(&MASK), threshold))], &[1.0]), 0.0);
        assert_eq!(set_iou(&[Some(Overlap::new(&[0.5; 4], Some(&MASK), 0.4))], &[1.0]), 0.5);
        assert!(set_iou(&[], &[]).is_nan() && map_quantile(std::iter::empty(), 0.5).is_nan());
    }

    #[test]
    fn no_more_than_the_amount_is_above() {
        let pixels = || vec![(1.0, 0.25), (4.0, 0.25), (2.0, 0.25), (3.0, 0.25), (3.0, 0.25)];
        assert_eq!(threshold(pixels(), 0.25), Some(3.0));
        // Both of the equal ones or none.
        assert_eq!(threshold(pixels(), 0.5), Some(3.0));
        assert_eq!(threshold(pixels(), 0.75), Some(2.0));
        assert_eq!(threshold(pixels(), 0.0), Some(4.0));
        assert_eq!(threshold(pixels(), 1.25), None);
        assert_eq!(threshold(Vec::new(), 0.5), None);
    }

    #[test]
    fn the_tuned_threshold_is_the_best_of_all() {
        let maps: [&[f32]; 3] = [&[0.9, 0.8, 0.3, 0.1], &[0.7, 0.2, 0.6, 0.0], &[0.5, 0.1, 0.4, 0.2]];
        let masks = [Some(MASK.as_slice()), Some(MASK.as_slice()), None];
        let levels = Levels::of(maps.into_iter());
        let histograms: Vec<_> = maps.iter().zip(masks).map(|(map, mask)| levels.histogram(map, mask)).collect();
        let iou = |threshold: f32| {
            let overlaps: Vec<_> =
                maps.iter().zip(masks).map(|(map, m)| Some(Overlap::new(map, m, threshold))).collect();
            set_iou(&overlaps, &[1.0; 3])
        };
        let best = levels.best(&histograms);
        assert!(levels.0.iter().all(|level| iou(*level) <= iou(best)));
        assert_eq!(iou(best), 0.75);
        assert!(Levels::of(std::iter::empty()).best(&[]).is_nan());
    }

    /// Values of tests/golden/metrics.py, made with scikit-learn.
    #[test]
    fn agrees_with_scikit_learn() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/metrics.json")).unwrap();
        let golden = &golden["maps"];
        let maps: Vec<Vec<f32>> = serde_json::from_value(golden["maps"].clone()).unwrap();
        let masks: Vec<Vec<bool>> = serde_json::from_value(golden["masks"].clone()).unwrap();
        let list = |key: &str| serde_json::from_value::<Vec<f64>>(golden[key].clone()).unwrap();
        let close = |a: f64, b: f64, what: &str| assert!((a - b).abs() < 1e-9, "{what}: {a} {b}");
        let (auroc, ap, iou) = (list("auroc"), list("average_precision"), list("iou_at_area"));
        for i in 0..5 {
            let mask = Mask { width: 6, height: 5, pixels: masks[i].clone() };
            let scores = evaluate(&maps[i], &mask, 0.0).unwrap();
            close(scores.auroc, auroc[i], "auroc");
            close(scores.ap, ap[i], "average precision");
            close(scores.iou, iou[i], "iou at area");
        }
        let all: Vec<(&[f32], &[bool])> = maps.iter().map(Vec::as_slice).zip(masks.iter().map(Vec::as_slice)).collect();
        let iou = |threshold: f32| {
            let overlaps: Vec<_> =
                all.iter().map(|(map, mask)| Some(Overlap::new(map, Some(mask), threshold))).collect();
            set_iou(&overlaps, &[1.0; 6])
        };
        let number = |key: &str| golden[key].as_f64().unwrap();
        let quantile = map_quantile(maps.iter().map(Vec::as_slice), 0.9);
        assert!((f64::from(quantile) - number("quantile")).abs() < 1e-6);
        close(iou(quantile), number("set_iou"), "set iou");
        let pixels = maps.iter().flatten().map(|v| (*v, 1.0 / 30.0)).collect();
        close(iou(threshold(pixels, 0.1 * 6.0).unwrap()), number("set_iou"), "set iou, a tenth of the pixels");
        close(iou(0.0), number("set_iou_above_zero"), "set iou above zero");
        let levels = Levels::of(maps.iter().map(Vec::as_slice));
        let histograms: Vec<_> = all.iter().map(|(map, mask)| levels.histogram(map, Some(mask))).collect();
        close(iou(levels.best(&histograms)), number("best_set_iou"), "best set iou");
    }

    #[test]
    fn random_regions_reach_chance() {
        use rand::RngExt;
        let mut rng = crate::seed::Seed(4).stream("overlap");
        let mask: Vec<bool> = (0..900).map(|i| i % 30 < 12 && i < 400).collect();
        let overlaps: Vec<Option<Overlap>> = (0..200)
            .map(|i| {
                let map: Vec<f32> = (0..900).map(|_| rng.random()).collect();
                Some(Overlap::new(&map, (i % 2 == 0).then_some(&mask), 0.8))
            })
            .collect();
        assert!((set_iou(&overlaps, &[1.0; 200]) - chance(&overlaps)).abs() < 0.005);
    }
}
