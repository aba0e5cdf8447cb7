//! Does one metric go with another over concepts?

use rand_chacha::ChaCha8Rng;

use super::bootstrap::{Bootstrap, ratio};

/// Fewest pairs a correlation is given for.
const FEWEST: usize = 3;

/// Spearman's rank correlation: Pearson's correlation of the ranks, ties sharing their mean rank. In [-1, 1]; 0 is no
/// monotone relation. Pairs with a NaN are left out; NaN of fewer than three pairs, or where one side is constant.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = complete(x, y);
    if x.len() < FEWEST { f64::NAN } else { weighted_spearman(&x, &y, &vec![1.0; x.len()]) }
}

/// Percentile interval at 95 % of Spearman's correlation: concepts are drawn again, with replacement.
pub fn spearman_interval(x: &[f64], y: &[f64], replicates: usize, rng: &mut ChaCha8Rng) -> (f64, f64) {
    let (x, y) = complete(x, y);
    if x.len() < FEWEST {
        return (f64::NAN, f64::NAN);
    }
    let concepts: Vec<usize> = (0..x.len()).collect();
    Bootstrap::new(&concepts, replicates, rng).interval(|w| weighted_spearman(&x, &y, w))
}

fn complete(x: &[f64], y: &[f64]) -> (Vec<f64>, Vec<f64>) {
    x.iter().zip(y).filter(|(a, b)| !a.is_nan() && !b.is_nan()).map(|(a, b)| (*a, *b)).unzip()
}

/// Spearman's correlation where pair `i` occurs `weights[i]` times.
fn weighted_spearman(x: &[f64], y: &[f64], weights: &[f64]) -> f64 {
    let (rx, ry) = (ranks(x, weights), ranks(y, weights));
    // The mean of the ranks 1..=n, ties or not.
    let centre = f64::midpoint(weights.iter().sum::<f64>(), 1.0);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for ((a, b), w) in rx.iter().zip(&ry).zip(weights) {
        let (a, b) = (a - centre, b - centre);
        xy += w * a * b;
        xx += w * a * a;
        yy += w * b * b;
    }
    ratio(xy, (xx * yy).sqrt())
}

/// Mean rank of every value where value `i` occurs `weights[i]` times.
fn ranks(values: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0.0;
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let here: f64 = tied.iter().map(|i| weights[*i]).sum();
        for i in tied {
            ranks[*i] = below + f64::midpoint(here, 1.0);
        }
        below += here;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn by_hand_with_ties() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 100.0, 1000.0]), 1.0);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
        let rho = spearman(&[1.0, 5.0, 5.0, 9.0], &[1.0, 2.0, 3.0, 4.0]);
        assert!((rho - 4.5 / 22.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(spearman(&[1.0, f64::NAN, 2.0, 3.0], &[1.0, 0.0, 2.0, 3.0]), 1.0);
        assert!(spearman(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]).is_nan());
        assert!(spearman(&[1.0, 2.0], &[1.0, 2.0]).is_nan());
    }

    #[test]
    fn weights_are_repetitions() {
        let (x, y, w) = ([1.0, 4.0, 2.0, 2.0], [0.0, 3.0, 5.0, 1.0], [2.0, 1.0, 0.0, 3.0]);
        let again = |v: &[f64; 4]| vec![v[0], v[0], v[1], v[3], v[3], v[3]];
        assert!((weighted_spearman(&x, &y, &w) - spearman(&again(&x), &again(&y))).abs() < 1e-12);
    }

    #[test]
    fn the_interval_holds_the_value() {
        let x: Vec<f64> = (0..30).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|v| v + 8.0 * (v * 1.7).sin()).collect();
        let (low, high) = spearman_interval(&x, &y, 500, &mut Seed(0).stream("rho"));
        let rho = spearman(&x, &y);
        assert!(low < rho && rho < high && low > 0.0 && high <= 1.0, "{low} {rho} {high}");
        assert!(spearman_interval(&[1.0], &[1.0], 10, &mut Seed(0).stream("rho")).0.is_nan());
    }
}
