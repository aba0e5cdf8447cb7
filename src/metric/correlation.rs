//! Does one metric go with another over concepts?

use super::bootstrap::{Bootstrap, percentile_interval, ratio};
use super::compare::FEWEST;

/// Fewest pairs a correlation is given for.
const FEWEST_PAIRS: usize = 3;

/// Spearman's rank correlation: Pearson's correlation of the ranks, ties sharing their mean rank. In [-1, 1]; 0 is no
/// monotone relation. Pairs with a NaN are left out; NaN of fewer than three pairs, or where one side is constant.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let pairs = Pairs::new(x, y);
    pairs.correlation(&vec![1.0; x.len().min(y.len())])
}

/// Percentile interval at 95 % of Spearman's correlation over resamples of the pairs' blocks (concepts). NaN with fewer
/// than [`FEWEST`] blocks.
pub fn spearman_interval(x: &[f64], y: &[f64], resamples: &Bootstrap) -> (f64, f64) {
    if resamples.blocks() < FEWEST {
        return (f64::NAN, f64::NAN);
    }
    let pairs = Pairs::new(x, y);
    percentile_interval(resamples.statistics(|w| pairs.correlation(w)))
}

/// How much better `y` goes with `x` than `other` does: the difference of Spearman's correlations over the triples without
/// a NaN, with its interval over the same resamples of both. NaN as for [`spearman_interval`].
pub fn spearman_difference(x: &[f64], y: &[f64], other: &[f64], resamples: &Bootstrap) -> (f64, f64, f64) {
    let gap = |a: &f64, b: &f64| if b.is_nan() { f64::NAN } else { *a };
    // A pair counts for one correlation only where it counts for both.
    let (y, other): (Vec<f64>, Vec<f64>) = y.iter().zip(other).map(|(a, b)| (gap(a, b), gap(b, a))).unzip();
    let (own, others) = (Pairs::new(x, &y), Pairs::new(x, &other));
    let difference = |w: &[f64]| own.correlation(w) - others.correlation(w);
    let value = difference(&vec![1.0; x.len()]);
    if resamples.blocks() < FEWEST {
        return (value, f64::NAN, f64::NAN);
    }
    let (low, high) = percentile_interval(resamples.statistics(difference));
    (value, low, high)
}

/// Pairs without a NaN, sorted once: a resample only weighs them.
struct Pairs {
    x: Ranking,
    y: Ranking,
    count: usize,
}

impl Pairs {
    fn new(x: &[f64], y: &[f64]) -> Self {
        let known: Vec<usize> = (0..x.len().min(y.len())).filter(|i| !x[*i].is_nan() && !y[*i].is_nan()).collect();
        Self { x: Ranking::new(x, &known), y: Ranking::new(y, &known), count: known.len() }
    }

    /// Spearman's correlation where pair `i` occurs `weights[i]` times.
    fn correlation(&self, weights: &[f64]) -> f64 {
        if self.count < FEWEST_PAIRS {
            return f64::NAN;
        }
        let (rx, ry) = (self.x.ranks(weights), self.y.ranks(weights));
        let total: f64 = self.x.order.iter().map(|i| weights[*i]).sum();
        // The mean of the ranks 1..=n, ties or not.
        let centre = f64::midpoint(total, 1.0);
        let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
        for i in &self.x.order {
            let (a, b, w) = (rx[*i] - centre, ry[*i] - centre, weights[*i]);
            xy += w * a * b;
            xx += w * a * a;
            yy += w * b * b;
        }
        ratio(xy, (xx * yy).sqrt())
    }
}

/// Values in rising order.
struct Ranking {
    /// Positions of the values.
    order: Vec<usize>,
    /// How many follow each other with the same value.
    ties: Vec<usize>,
    length: usize,
}

impl Ranking {
    fn new(values: &[f64], known: &[usize]) -> Self {
        let mut order = known.to_vec();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let ties = order.chunk_by(|a, b| values[*a] == values[*b]).map(<[_]>::len).collect();
        Self { order, ties, length: values.len() }
    }

    /// Mean rank of every value where value `i` occurs `weights[i]` times.
    fn ranks(&self, weights: &[f64]) -> Vec<f64> {
        let mut ranks = vec![0.0; self.length];
        let (mut below, mut rest) = (0.0, self.order.as_slice());
        for count in &self.ties {
            let (tied, others) = rest.split_at(*count);
            let here: f64 = tied.iter().map(|i| weights[*i]).sum();
            tied.iter().for_each(|i| ranks[*i] = below + f64::midpoint(here, 1.0));
            below += here;
            rest = others;
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::golden;
    use crate::seed::Seed;

    fn resamples(blocks: &[usize], replicates: usize) -> Bootstrap {
        Bootstrap::new(blocks, replicates, &mut Seed(0).stream("rho"))
    }

    #[test]
    fn ranks_correlate_as_in_scipy() {
        for case in ["spearman", "spearman_ties"] {
            let rho = spearman(&golden::numbers(case, "x"), &golden::numbers(case, "y"));
            assert!((rho - golden::number(case, "rho")).abs() < 1e-12, "{case}: {rho}");
        }
    }

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
        assert!((Pairs::new(&x, &y).correlation(&w) - spearman(&again(&x), &again(&y))).abs() < 1e-12);
    }

    #[test]
    fn the_interval_holds_the_value_and_wants_six_concepts() {
        let x: Vec<f64> = (0..30).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|v| v + 8.0 * (v * 1.7).sin()).collect();
        let each: Vec<usize> = (0..30).collect();
        let (low, high) = spearman_interval(&x, &y, &resamples(&each, 500));
        let rho = spearman(&x, &y);
        assert!(low < rho && rho < high && low > 0.0 && high <= 1.0, "{low} {rho} {high}");
        let five: Vec<usize> = (0..30).map(|i| i / 6).collect();
        assert!(spearman_interval(&x, &y, &resamples(&five, 100)).0.is_nan());
        // Points of one concept are drawn together: the interval is wider.
        let ten: Vec<usize> = (0..30).map(|i| i / 3).collect();
        let wide = spearman_interval(&x, &y, &resamples(&ten, 500));
        assert!(wide.0 < high && wide.1 <= 1.0);
    }

    #[test]
    fn differences_of_correlations_are_of_the_same_pairs() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let noisy: Vec<f64> = x.iter().map(|v| v + 40.0 * (v * 1.7).sin()).collect();
        let each: Vec<usize> = (0..20).collect();
        let (value, low, high) = spearman_difference(&x, &x, &noisy, &resamples(&each, 500));
        assert!((value - (1.0 - spearman(&x, &noisy))).abs() < 1e-12);
        assert!(low > 0.0 && low < value && value < high, "{low} {value} {high}");
        assert_eq!(spearman_difference(&x, &noisy, &noisy, &resamples(&each, 50)), (0.0, 0.0, 0.0));
        // One missing value takes its pair out of both.
        let mut gap = noisy.clone();
        gap[3] = f64::NAN;
        assert_eq!(spearman_difference(&x, &noisy, &gap, &resamples(&each, 50)).0, 0.0);
    }
}
