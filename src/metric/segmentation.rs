//! Does an attribution map lie on the concept? Scores of one map against one mask, at the mask's resolution.
//!
//! [`super::overlap`] has S4 and S5, which are of all pictures at once. The family S1 to S8 is our definition; S3 is what Quantus calls relevance rank accuracy, S6 its relevance mass
//! accuracy, S7 the pointing game of Zhang et al., S8 the normalised relevance area of CE-FAM.

use super::bootstrap::{ratio, weighted_mean};
use crate::dataset::Mask;

/// A mask with everything about it that does not depend on the map.
#[derive(Debug, Clone)]
pub struct Target {
    mask: Vec<bool>,
    /// The mask dilated by the tolerance of the pointing game.
    near: Vec<bool>,
    positives: usize,
    /// Area under the ideal curve of precision over area.
    ideal: f64,
}

/// Scores of a map. Every one is the better the larger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// S1: area under the ROC curve of the map's values over pixels, ties counting half. In [0, 1].
    pub auroc: f64,
    /// S2: average precision of the map's values over pixels, ties entering together (as in scikit-learn). In (0, 1].
    pub ap: f64,
    /// S2 less the mask's share of the area, which is what a random map reaches: from -1 to 1; 0 is chance.
    pub ap_lift: f64,
    /// S3: intersection over union where the predicted area equals the mask's: `r / (2 - r)` with `r` the share of the
    /// mask's n pixels among the n highest values, the first pixels of equal ones. In [0, 1].
    pub iou: f64,
    /// S6: share of the positive part of the map that lies on the mask, `sum over mask of relu(L) / sum of relu(L)`.
    /// In [0, 1]; NaN where no value is positive.
    pub energy: f64,
    /// S6 over the mask's share of the area: how many times denser the map is on the mask. From 0; 1 is chance.
    pub energy_lift: f64,
    /// S7: 1 where the highest value (the first of equal ones) is on the mask or within the tolerance of it, else 0.
    pub pointing: f64,
    /// S8: normalised relevance area, `(A - A_random) / (A_ideal - A_random)`, where A is the mean over k = 1 to n of
    /// the precision of the k highest of the n values, `hits(k) / k`. Equal values are taken in random order, so that
    /// `hits` grows linearly over them. `A_random` is the mask's share of the area; `A_ideal` the mean of
    /// `min(1, mask / k)`. Below 1; 1 for a perfect order, 0 for a random one or a constant map.
    pub nra: f64,
}

impl Scores {
    /// Names of the scores in tables, in the order of [`Scores::values`].
    pub const NAMES: [&str; 8] =
        ["seg_auroc", "seg_ap", "seg_ap_lift", "seg_iou", "seg_energy", "seg_energy_lift", "seg_pointing", "seg_nra"];

    /// The scores in the order of [`Scores::NAMES`].
    pub fn values(&self) -> [f64; 8] {
        let Self { auroc, ap, ap_lift, iou, energy, energy_lift, pointing, nra } = *self;
        [auroc, ap, ap_lift, iou, energy, energy_lift, pointing, nra]
    }
}

/// Scores of one map; `None` where the mask is empty or full, and nothing could be found or missed. `tolerance` is that
/// of the pointing game, in pixels of the mask.
///
/// # Panics
/// When map and mask differ in size.
pub fn evaluate(map: &[f32], mask: &Mask, tolerance: f64) -> Option<Scores> {
    Target::new(mask, tolerance).map(|target| target.scores(map))
}

impl Target {
    /// Prepares a mask; `None` where it is empty or full. `tolerance` is that of the pointing game, in its pixels.
    pub fn new(mask: &Mask, tolerance: f64) -> Option<Self> {
        let (n, positives) = (mask.pixels.len(), mask.pixels.iter().filter(|p| **p).count());
        if positives == 0 || positives == n {
            return None;
        }
        let beyond: f64 = (positives + 1..=n).map(|k| 1.0 / k as f64).sum();
        let ideal = positives as f64 * (1.0 + beyond) / n as f64;
        Some(Self { mask: mask.pixels.clone(), near: mask.dilate(tolerance).pixels, positives, ideal })
    }

    /// Share of the pixels on the mask, in (0, 1).
    pub fn area(&self) -> f64 {
        self.positives as f64 / self.mask.len() as f64
    }

    /// Its pixels, row by row.
    pub fn pixels(&self) -> &[bool] {
        &self.mask
    }

    /// What a random map scores in expectation: S1 1/2; S2 the mask's share `a` of the area (a little more for small
    /// masks), lift 0; S3 `a / (2 - a)` at the expected share `a` of the area; S6 `a`, lift 1; S7 the share of the dilated mask; S8 0.
    pub fn chance(&self) -> Scores {
        let area = self.area();
        let near = self.near.iter().filter(|p| **p).count() as f64 / self.near.len() as f64;
        Scores {
            auroc: 0.5,
            ap: area,
            ap_lift: 0.0,
            iou: area / (2.0 - area),
            energy: area,
            energy_lift: 1.0,
            pointing: near,
            nra: 0.0,
        }
    }

    /// Scores of a map of the mask's size. A value that is not a number ranks lowest. The ceiling of a grid is the
    /// score of the mask's own coverage of the grid, upsampled like the map.
    ///
    /// # Panics
    /// When map and mask differ in size.
    pub fn scores(&self, map: &[f32]) -> Scores {
        assert_eq!(map.len(), self.mask.len(), "a map is scored at the size of its mask");
        let order = self.order(map);
        let energy = self.energy(map);
        let hits = order.iter().take(self.positives).filter(|e| on_mask(**e)).count();
        let share = hits as f64 / self.positives as f64;
        let first = order.first().is_some_and(|e| self.near[index(*e)]);
        let (auroc, ap, nra) = self.curves(&order);
        Scores {
            auroc,
            ap,
            ap_lift: ap - self.area(),
            iou: share / (2.0 - share),
            energy,
            energy_lift: energy / self.area(),
            pointing: f64::from(u8::from(first)),
            nra,
        }
    }

    /// Pixels by descending value, then ascending index, each packed into one integer (value, index, mask) so that one
    /// fast sort of plain numbers serves every score.
    fn order(&self, map: &[f32]) -> Vec<u64> {
        let pack = |(i, (value, mask)): (usize, (&f32, &bool))| {
            u64::from(descending(*value)) << 32 | (i as u64) << 1 | u64::from(*mask)
        };
        let mut order: Vec<u64> = map.iter().zip(&self.mask).enumerate().map(pack).collect();
        order.sort_unstable();
        order
    }

    /// S1, S2 and S8 in one walk over groups of equal values.
    fn curves(&self, order: &[u64]) -> (f64, f64, f64) {
        let (mut above, mut seen, mut won, mut precise, mut area) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for tied in order.chunk_by(|a, b| a >> 32 == b >> 32) {
            let n = tied.len() as f64;
            let positive = tied.iter().filter(|e| on_mask(**e)).count() as f64;
            won += (n - positive) * (above + positive / 2.0);
            // Over the group hits(k) = above + rate (k - seen).
            let rate = positive / n;
            let offset = above - rate * seen;
            area += rate * n;
            if offset != 0.0 {
                let inverse: f64 = (1..=tied.len()).map(|k| 1.0 / (seen + k as f64)).sum();
                area += offset * inverse;
            }
            above += positive;
            seen += n;
            precise += positive * above / seen;
        }
        let (positives, negatives) = (self.positives as f64, (order.len() - self.positives) as f64);
        let (random, area) = (self.area(), area / order.len() as f64);
        (won / (positives * negatives), precise / positives, (area - random) / (self.ideal - random))
    }

    fn energy(&self, map: &[f32]) -> f64 {
        let (mut on, mut all) = (0.0, 0.0);
        for (value, mask) in map.iter().zip(&self.mask) {
            let value = f64::from(value.max(0.0));
            all += value;
            on += if *mask { value } else { 0.0 };
        }
        ratio(on, all)
    }
}

/// A key that ascends where values descend; minus zero equals zero, and what is not a number comes last.
fn descending(value: f32) -> u32 {
    let value = if value.is_nan() { f32::NEG_INFINITY } else { value + 0.0 };
    let bits = value.to_bits();
    // Floats order as integers once the sign bit of positive ones, or all bits of negative ones, are flipped.
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

fn index(entry: u64) -> usize {
    (entry as u32 >> 1) as usize
}

fn on_mask(entry: u64) -> bool {
    entry & 1 == 1
}

/// Mean of the positive part of a map, `sum of relu(L) / n`: its energy per pixel. From 0; NaN of no pixel.
pub fn energy_density(map: &[f32]) -> f64 {
    ratio(map.iter().map(|v| f64::from(v.max(0.0))).sum(), map.len() as f64)
}

/// False localisation: mean energy per pixel on pictures without the concept over that on pictures with it. From 0,
/// the smaller the better; 1 where the map does not know the concept; NaN where a class is empty or the positives' maps
/// have no positive part. `energy` is [`energy_density`] of every sample's map. Our definition.
pub fn false_localisation(energy: &[f64], present: &[bool], weights: &[f64]) -> f64 {
    let class = |wanted: bool| {
        let of_class = energy.iter().zip(present).map(|(e, p)| if *p == wanted { *e } else { f64::NAN });
        weighted_mean(&of_class.collect::<Vec<_>>(), weights)
    };
    ratio(class(false), class(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use rand::RngExt;

    fn mask(width: usize, rows: &[&str]) -> Mask {
        let pixels = rows.concat().chars().map(|c| c == '#').collect();
        Mask { width, height: rows.len(), pixels }
    }

    #[test]
    fn by_hand() {
        let m = mask(4, &["##.."]);
        let s = evaluate(&[3.0, 1.0, 2.0, -1.0], &m, 0.0).unwrap();
        assert_eq!(s.auroc, 0.75);
        // Recall 1/2 at precision 1, then 1/2 at 2/3.
        assert!((s.ap - 5.0 / 6.0).abs() < 1e-12 && (s.ap_lift - 1.0 / 3.0).abs() < 1e-12);
        // One of the two highest is on the mask: r = 1/2.
        assert_eq!(s.iou, 1.0 / 3.0);
        assert_eq!(s.energy, 4.0 / 6.0);
        assert_eq!(s.energy_lift, 4.0 / 3.0);
        assert_eq!(s.pointing, 1.0);
        // Precisions 1, 1/2, 2/3, 1/2 against 1, 1, 2/3, 1/2 and a half.
        let (area, ideal) = ((1.0 + 0.5 + 2.0 / 3.0 + 0.5) / 4.0, (2.0 + 2.0 / 3.0 + 0.5) / 4.0);
        assert!((s.nra - (area - 0.5) / (ideal - 0.5)).abs() < 1e-12);
    }

    #[test]
    fn a_perfect_map_scores_one() {
        let m = mask(3, &[".#.", "##.", "..."]);
        let map: Vec<f32> = m.pixels.iter().map(|p| if *p { 1.0 } else { 0.0 }).collect();
        let s = evaluate(&map, &m, 0.0).unwrap();
        assert_eq!((s.auroc, s.ap, s.iou, s.energy, s.pointing), (1.0, 1.0, 1.0, 1.0, 1.0));
        assert!((s.nra - 1.0).abs() < 1e-12 && (s.energy_lift - 3.0).abs() < 1e-12);
        let worst: Vec<f32> = map.iter().map(|v| -v).collect();
        let s = evaluate(&worst, &m, 0.0).unwrap();
        assert_eq!((s.auroc, s.iou, s.pointing), (0.0, 0.0, 0.0));
        assert!(s.energy.is_nan() && s.nra < 0.0);
    }

    #[test]
    fn a_constant_map_knows_nothing_and_ties_go_by_index() {
        let first = evaluate(&[0.5; 4], &mask(4, &["##.."]), 0.0).unwrap();
        let last = evaluate(&[0.5; 4], &mask(4, &["..##"]), 0.0).unwrap();
        assert_eq!((first.auroc, last.auroc), (0.5, 0.5));
        assert_eq!((first.ap, last.ap, last.ap_lift), (0.5, 0.5, 0.0));
        assert!(first.nra.abs() < 1e-12 && last.nra.abs() < 1e-12);
        assert_eq!((first.iou, last.iou), (1.0, 0.0));
        assert_eq!((first.energy, last.energy), (0.5, 0.5));
        // Minus zero is zero.
        assert_eq!(evaluate(&[-0.0, 0.0, 0.0, -0.0], &mask(4, &["#..."]), 0.0).unwrap().auroc, 0.5);
    }

    #[test]
    fn an_empty_or_full_mask_has_no_score() {
        assert_eq!(evaluate(&[1.0, 2.0], &mask(2, &[".."]), 0.0), None);
        assert_eq!(evaluate(&[1.0, 2.0], &mask(2, &["##"]), 0.0), None);
        assert_eq!(evaluate(&[], &mask(0, &[]), 0.0), None);
    }

    #[test]
    fn pointing_has_a_tolerance() {
        let m = mask(5, &["#...."]);
        let map = [0.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(evaluate(&map, &m, 1.0).unwrap().pointing, 0.0);
        assert_eq!(evaluate(&map, &m, 2.0).unwrap().pointing, 1.0);
        assert_eq!(Target::new(&m, 2.0).unwrap().chance().pointing, 0.6);
    }

    #[test]
    fn not_a_number_ranks_lowest() {
        let s = evaluate(&[f32::NAN, 1.0, -5.0], &mask(3, &["#.."]), 0.0).unwrap();
        assert_eq!((s.auroc, s.pointing), (0.0, 0.0));
    }

    /// The plain definitions, against the single walk.
    #[test]
    fn agrees_with_the_definitions_on_random_maps_with_ties() {
        let mut rng = Seed(3).stream("maps");
        for _ in 0..40 {
            let n = rng.random_range(4..40usize);
            let mut m = Mask { width: n, height: 1, pixels: (0..n).map(|_| rng.random_bool(0.3)).collect() };
            (m.pixels[0], m.pixels[1]) = (true, false);
            let map: Vec<f32> = (0..n).map(|_| rng.random_range(-3..4i8).into()).collect();
            let s = evaluate(&map, &m, 0.0).unwrap();
            let of = |on: bool| (0..n).filter(|i| m.pixels[*i] == on).collect::<Vec<_>>();
            let (on, off) = (of(true), of(false));
            let pair = |a: f32, b: f32| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
            let won: f64 = on.iter().flat_map(|i| off.iter().map(|j| pair(map[*i], map[*j]))).sum();
            assert!((s.auroc - won / (on.len() * off.len()) as f64).abs() < 1e-12);
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| map[*b].total_cmp(&map[*a]));
            let hits = order[..on.len()].iter().filter(|i| m.pixels[**i]).count() as f64;
            let union = 2.0 * on.len() as f64 - hits;
            assert!((s.iou - hits / union).abs() < 1e-12);
            let hits_at = |k: usize| {
                let bound = map[order[k - 1]];
                let higher: Vec<usize> = (0..n).filter(|i| map[*i] > bound).collect();
                let tied: Vec<usize> = (0..n).filter(|i| map[*i] == bound).collect();
                let count = |list: &[usize]| list.iter().filter(|i| m.pixels[**i]).count() as f64;
                count(&higher) + count(&tied) * (k - higher.len()) as f64 / tied.len() as f64
            };
            let mean = |f: &dyn Fn(usize) -> f64| (1..=n).map(f).sum::<f64>() / n as f64;
            let area = mean(&|k| hits_at(k) / k as f64);
            let (ideal, random) = (mean(&|k| (on.len() as f64 / k as f64).min(1.0)), on.len() as f64 / n as f64);
            assert!((s.nra - (area - random) / (ideal - random)).abs() < 1e-9);
        }
    }

    #[test]
    fn random_maps_score_as_chance_says() {
        let mut rng = Seed(5).stream("chance");
        let pixels = (0..400).map(|i| i % 20 < 8 && i < 160).collect();
        let target = Target::new(&Mask { width: 20, height: 20, pixels }, 2.0).unwrap();
        let mut sums = [0.0; 8];
        let draws = 400;
        for _ in 0..draws {
            let map: Vec<f32> = (0..400).map(|_| rng.random::<f32>()).collect();
            sums.iter_mut().zip(target.scores(&map).values()).for_each(|(s, v)| *s += v / f64::from(draws));
        }
        for ((mean, chance), name) in sums.iter().zip(target.chance().values()).zip(Scores::NAMES) {
            assert!((mean - chance).abs() < 0.06, "{name}: {mean}, by chance {chance}");
        }
    }

    #[test]
    fn false_localisation_by_hand() {
        assert_eq!(energy_density(&[-2.0, 1.0, 3.0, 0.0]), 1.0);
        let (energy, present) = ([2.0, 4.0, 1.0, 3.0], [true, true, false, false]);
        assert_eq!(false_localisation(&energy, &present, &[1.0; 4]), 2.0 / 3.0);
        assert_eq!(false_localisation(&energy, &present, &[1.0, 0.0, 1.0, 0.0]), 0.5);
        assert!(false_localisation(&[0.0, 1.0], &[true, false], &[1.0; 2]).is_nan());
    }
}
