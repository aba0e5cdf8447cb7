//! Spatial linear attribution: a linear score is a sum over positions, and each position's term is its share.

use ndarray::{ArrayView2, s};

use super::options::Cell;
use crate::probe::{Cav, Variant};

/// Share of every position in a probe's score, `[height * width]`; positive speaks for the concept. Our definition.
///
/// Full: `L_p = sum over c of w[c, p] z[c, p]`. Translation-invariant: `L_p = <v, z_p> / P` with P positions. The map
/// is complete: `sum of L + bias = score`, but for probes whose score is another number of the positions' than their mean
/// ([`Cav::is_linear`]). Which probes have one says [`Cav::has_map`]. `activation` is `[channel, height, width]`.
pub fn attribution(cav: &Cav, activation: &[f32]) -> Vec<f32> {
    let positions = positions(cav);
    let mut sums = vec![0.0f64; positions];
    for (c, z) in activation.chunks_exact(positions.max(1)).enumerate() {
        if cav.variant == Variant::Full {
            let w = &cav.direction[c * positions..(c + 1) * positions];
            sums.iter_mut().zip(w).zip(z).for_each(|((s, w), z)| *s += f64::from(*w) * f64::from(*z));
        } else {
            let v = f64::from(cav.direction[c]) / positions as f64;
            sums.iter_mut().zip(z).for_each(|(s, z)| *s += v * f64::from(*z));
        }
    }
    sums.into_iter().map(|s| s as f32).collect()
}

/// [`attribution`] of many probes of one layer on one activation, in their order. The translation-invariant ones share
/// one matrix product, whose sums are in single precision.
pub fn attributions(cavs: &[&Cav], activation: &[f32]) -> Vec<Vec<f32>> {
    let mut maps: Vec<Vec<f32>> = vec![Vec::new(); cavs.len()];
    let (invariant, full): (Vec<usize>, Vec<usize>) =
        (0..cavs.len()).partition(|i| cavs[*i].variant == Variant::TranslationInvariant);
    for i in full {
        maps[i] = attribution(cavs[i], activation);
    }
    let Some(first) = invariant.first() else { return maps };
    let (channels, positions) = (cavs[*first].shape[0], positions(cavs[*first]));
    let weights: Vec<f32> = invariant.iter().flat_map(|i| cavs[*i].direction.iter().copied()).collect();
    let weights = ArrayView2::from_shape((invariant.len(), channels), &weights);
    let (Ok(weights), Ok(z)) = (weights, ArrayView2::from_shape((channels, positions), activation)) else {
        // Probes of different layers have no product in common.
        for i in invariant {
            maps[i] = attribution(cavs[i], activation);
        }
        return maps;
    };
    let product = weights.dot(&z) / positions as f32;
    for (row, i) in invariant.into_iter().enumerate() {
        maps[i] = product.slice(s![row, ..]).to_vec();
    }
    maps
}

/// [`attributions`] in the form that a study asks for.
pub fn maps(cavs: &[&Cav], activation: &[f32], cell: Cell) -> Vec<Vec<f32>> {
    let mut maps = attributions(cavs, activation);
    for (map, cav) in maps.iter_mut().zip(cavs) {
        match cell {
            // Emblems are of shares: [`super::Emblem`] comes after.
            Cell::Share | Cell::Emblem => {}
            Cell::Biased => {
                let part = (cav.bias / map.len() as f64) as f32;
                map.iter_mut().for_each(|m| *m += part);
            }
            Cell::Cosine => make_cosines(cav, activation, map),
        }
    }
    maps
}

/// Divides the share of every position by the lengths of its activation and of its weights; 0 where one of them is zero.
fn make_cosines(cav: &Cav, activation: &[f32], map: &mut [f32]) {
    let lengths = |values: &[f32]| {
        let mut squares = vec![0.0f64; map.len()];
        for channel in values.chunks_exact(map.len().max(1)) {
            squares.iter_mut().zip(channel).for_each(|(s, v)| *s += f64::from(*v) * f64::from(*v));
        }
        squares.into_iter().map(f64::sqrt).collect::<Vec<_>>()
    };
    let (of_weights, of_activation) = (lengths(&weights(cav)), lengths(activation));
    for ((m, w), z) in map.iter_mut().zip(of_weights).zip(of_activation) {
        *m = if w * z > 0.0 { (f64::from(*m) / (w * z)) as f32 } else { 0.0 };
    }
}

/// A probe's weights on every value of the activation, `[channel * height * width]`: the gradient of its score. Full: w.
/// Translation-invariant: `v_c / P` at each of P positions. Of linear probes only ([`Cav::is_linear`]).
pub fn weights(cav: &Cav) -> Vec<f32> {
    let positions = positions(cav);
    if cav.variant == Variant::Full {
        return cav.direction.clone();
    }
    cav.direction.iter().flat_map(|v| std::iter::repeat_n(*v / positions as f32, positions)).collect()
}

/// A map measured from a baseline: `L(z) - L(baseline)`, as attribution is linear. It sums to the score less the score
/// of the baseline. Where all activations are positive this takes the constant part out of the map.
pub fn subtract(map: &mut [f32], baseline: &[f32]) {
    map.iter_mut().zip(baseline).for_each(|(m, b)| *m -= b);
}

/// A map without `rings` rings of border cells, and its size `(height, width)`; the map as it is where no cell would be
/// left.
pub fn drop_rings(map: &[f32], (h, w): (usize, usize), rings: usize) -> (Vec<f32>, (usize, usize)) {
    if rings == 0 || h <= 2 * rings || w <= 2 * rings {
        return (map.to_vec(), (h, w));
    }
    let rows = map.chunks_exact(w).skip(rings).take(h - 2 * rings);
    (rows.flat_map(|r| &r[rings..w - rings]).copied().collect(), (h - 2 * rings, w - 2 * rings))
}

/// The part of a window (left, top, width, height) under the cells that [`drop_rings`] leaves.
pub fn drop_rings_window(window: (f64, f64, f64, f64), (h, w): (usize, usize), rings: usize) -> (f64, f64, f64, f64) {
    if rings == 0 || h <= 2 * rings || w <= 2 * rings {
        return window;
    }
    let (left, top, width, height) = window;
    let (across, down) = (rings as f64 * width / w as f64, rings as f64 * height / h as f64);
    (left + across, top + down, width - 2.0 * across, height - 2.0 * down)
}

/// Share of a map's absolute values on the outermost ring of cells, in [0, 1]: far above [`outer_ring_expected`] where
/// the probe feeds on padding. NaN of a map of zeros. Our definition.
pub fn outer_ring_share(map: &[f32], (h, w): (usize, usize)) -> f64 {
    let outer = |i: usize| {
        let (y, x) = (i / w, i % w);
        y == 0 || y + 1 == h || x == 0 || x + 1 == w
    };
    let (mut ring, mut all) = (0.0, 0.0);
    for (i, value) in map.iter().enumerate() {
        let value = f64::from(value.abs());
        all += value;
        ring += if outer(i) { value } else { 0.0 };
    }
    if all > 0.0 { ring / all } else { f64::NAN }
}

/// Share of cells on the outermost ring, `(P - (h - 2) (w - 2)) / P`: what a uniform map has there.
pub fn outer_ring_expected((h, w): (usize, usize)) -> f64 {
    let inner = h.saturating_sub(2) * w.saturating_sub(2);
    1.0 - inner as f64 / (h * w) as f64
}

fn positions(cav: &Cav) -> usize {
    cav.shape[1] * cav.shape[2]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::probe::cav::Fit;

    fn cav(variant: Variant, shape: [usize; 3], direction: Vec<f32>, bias: f64) -> Cav {
        let fit = Fit { lambda: 1.0, gradient_norm: 0.0, positives: 1, negatives: 1 };
        let (concept, layer, probe) = ("c".to_owned(), "l".to_owned(), "classifier".to_owned());
        Cav {
            concept,
            layer,
            probe,
            variant,
            shape,
            direction,
            kernel: None,
            image_score: crate::probe::ImageScore::Mean,
            norm: 1.0,
            bias,
            threshold: 0.0,
            fit,
            facts: BTreeMap::new(),
        }
    }

    /// The score by its definition, from the mean over positions for a translation-invariant probe.
    fn score(cav: &Cav, z: &[f32]) -> f64 {
        let p = positions(cav);
        let term = |i: usize| match cav.variant {
            Variant::Full => f64::from(cav.direction[i]) * f64::from(z[i]),
            _ => f64::from(cav.direction[i / p]) * f64::from(z[i]) / p as f64,
        };
        (0..z.len()).map(term).sum::<f64>() + cav.bias
    }

    fn absolute(cav: &Cav) -> Cav {
        let direction = cav.direction.iter().map(|w| w.abs()).collect();
        Cav { direction, bias: cav.bias.abs(), ..cav.clone() }
    }

    #[test]
    fn by_hand() {
        let z = [1.0, 2.0, 3.0, 4.0];
        let full = cav(Variant::Full, [2, 1, 2], vec![1.0, 0.0, -1.0, 2.0], 0.5);
        assert_eq!(attribution(&full, &z), [-2.0, 8.0]);
        let ti = cav(Variant::TranslationInvariant, [2, 1, 2], vec![2.0, -1.0], 0.5);
        assert_eq!(attribution(&ti, &z), [-0.5, 0.0]);
        assert_eq!(attributions(&[&full, &ti, &full], &z), [vec![-2.0, 8.0], vec![-0.5, 0.0], vec![-2.0, 8.0]]);
        assert!(attributions(&[], &z).is_empty());
    }

    proptest! {
        #[test]
        fn maps_are_complete(
            (c, h, w) in (1..40usize, 1..8usize, 1..8usize),
            values in prop::collection::vec(-2.0f32..2.0, 2 * 40 * 49),
            bias in -3.0f64..3.0,
        ) {
            let n = c * h * w;
            let (z, weights) = (&values[..n], &values[n..]);
            let full = cav(Variant::Full, [c, h, w], weights[..n].to_vec(), bias);
            let ti = cav(Variant::TranslationInvariant, [c, h, w], weights[..c].to_vec(), bias);
            let batch = attributions(&[&ti, &full, &ti], z);
            for (cav, batched) in [(&full, &batch[1]), (&ti, &batch[0]), (&ti, &batch[2])] {
                let map = attribution(cav, z);
                // Relative to the sum of the shares' sizes: the score itself may cancel to nothing.
                let size = map.iter().map(|l| f64::from(l.abs())).sum::<f64>() + bias.abs();
                let sum = |map: &[f32]| map.iter().map(|l| f64::from(*l)).sum::<f64>() + bias;
                prop_assert!((sum(&map) - score(cav, z)).abs() <= 1e-5 * size);
                // Single precision: relative to the sizes of all terms.
                let terms = score(&absolute(cav), &z.iter().map(|v| v.abs()).collect::<Vec<_>>());
                prop_assert!((sum(batched) - score(cav, z)).abs() <= 1e-5 * terms);
            }
        }
    }

    #[test]
    fn from_a_baseline_the_map_sums_to_the_difference_of_scores() {
        let ti = cav(Variant::TranslationInvariant, [2, 1, 2], vec![0.5, 0.25], -0.75);
        let (z, mean) = ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]);
        let mut map = attribution(&ti, &z);
        subtract(&mut map, &attribution(&ti, &mean));
        let sum: f64 = map.iter().map(|l| f64::from(*l)).sum();
        assert!((sum - (score(&ti, &z) - score(&ti, &mean))).abs() < 1e-6);
    }

    #[test]
    fn rings_are_dropped_from_map_and_window() {
        let map: Vec<f32> = (0..12u8).map(f32::from).collect();
        assert_eq!(drop_rings(&map, (3, 4), 1), (vec![5.0, 6.0], (1, 2)));
        assert_eq!(drop_rings(&map, (3, 4), 2).1, (3, 4));
        assert_eq!(drop_rings_window((8.0, 0.0, 224.0, 224.0), (7, 7), 1), (40.0, 32.0, 160.0, 160.0));
        assert_eq!(drop_rings_window((0.0, 0.0, 9.0, 9.0), (2, 2), 1), (0.0, 0.0, 9.0, 9.0));
    }

    #[test]
    fn the_outer_ring_of_a_uniform_map_is_as_expected() {
        assert!((outer_ring_expected((7, 7)) - 24.0 / 49.0).abs() < 1e-12);
        assert!((outer_ring_share(&[-1.0; 49], (7, 7)) - 24.0 / 49.0).abs() < 1e-12);
        assert_eq!(outer_ring_share(&[1.0, 1.0], (1, 2)), 1.0);
        assert!(outer_ring_share(&[0.0; 9], (3, 3)).is_nan());
        let mut centre = [0.0; 9];
        centre[4] = 2.0;
        assert_eq!(outer_ring_share(&centre, (3, 3)), 0.0);
    }

    #[test]
    fn cells_are_shares_with_a_part_of_the_bias_or_cosines() {
        let z = [3.0, 0.0, 4.0, 0.0];
        let full = cav(Variant::Full, [2, 1, 2], vec![0.6, 0.1, 0.0, 0.2], 0.5);
        let ti = cav(Variant::TranslationInvariant, [2, 1, 2], vec![0.6, 0.8], -0.5);
        let of = |cell| maps(&[&full, &ti], &z, cell);
        assert_eq!(of(Cell::Share), attributions(&[&full, &ti], &z));
        let sum = |map: &[f32]| map.iter().map(|m| f64::from(*m)).sum::<f64>();
        let (plain, biased) = (of(Cell::Share), of(Cell::Biased));
        assert!((sum(&biased[0]) - sum(&plain[0]) - 0.5).abs() < 1e-6);
        assert!((sum(&biased[1]) - sum(&plain[1]) + 0.5).abs() < 1e-6);
        // (3, 4) along (0.6, 0) and along (0.6, 0.8); the second position has no activation.
        let cosines = of(Cell::Cosine);
        assert!((cosines[0][0] - 0.6).abs() < 1e-6 && (cosines[1][0] - 1.0).abs() < 1e-6);
        assert_eq!((cosines[0][1], cosines[1][1]), (0.0, 0.0));
    }
}
