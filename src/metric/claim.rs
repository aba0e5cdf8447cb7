//! Effects that a claim about networks is tested by: differences and trends over units, with intervals (our definitions).

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, weighted_mean};
use super::compare::FEWEST;
use super::correlation::{spearman, spearman_interval};

/// A number with its 95 % interval; 0 is no effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The effect.
    #[serde(with = "crate::store::nan")]
    pub value: f64,
    /// Lower end of its interval; NaN of too few units.
    #[serde(with = "crate::store::nan")]
    pub low: f64,
    /// Upper end.
    #[serde(with = "crate::store::nan")]
    pub high: f64,
    /// Units, or trials, that it rests on.
    pub n: usize,
}

/// How a claim came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The interval lies on the claim's side of zero.
    Shown,
    /// It lies on the other side.
    Against,
    /// It holds zero, or there are too few units for one.
    Open,
}

impl Verdict {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Against => "against",
            Self::Open => "open",
        }
    }
}

impl Effect {
    /// What the effect says of a claim that it is positive (or, with `falls`, negative).
    pub fn verdict(&self, falls: bool) -> Verdict {
        let (above, below) = (self.low > 0.0, self.high < 0.0);
        match if falls { (below, above) } else { (above, below) } {
            (true, _) => Verdict::Shown,
            (_, true) => Verdict::Against,
            _ => Verdict::Open,
        }
    }
}

/// Mean of `a` less mean of `b`; the interval draws units within both. NaN are left out; fewer than six units on a side have
/// no interval.
pub fn mean_difference(a: &[f64], b: &[f64], replicates: usize, rng: &mut ChaCha8Rng) -> Effect {
    let known = |values: &[f64]| values.iter().copied().filter(|v| !v.is_nan()).collect::<Vec<f64>>();
    let (a, b) = (known(a), known(b));
    let side: Vec<usize> = (0..a.len() + b.len()).map(|i| usize::from(i >= a.len())).collect();
    let each: Vec<usize> = (0..side.len()).collect();
    let values = [a.as_slice(), b.as_slice()].concat();
    let mean = |weights: &[f64]| weighted_mean(&values[..a.len()], &weights[..a.len()]);
    let other = |weights: &[f64]| weighted_mean(&values[a.len()..], &weights[a.len()..]);
    let ones = vec![1.0; values.len()];
    let value = mean(&ones) - other(&ones);
    let (low, high) = if a.len().min(b.len()) < FEWEST {
        (f64::NAN, f64::NAN)
    } else {
        Bootstrap::within(&side, &each, replicates, rng).interval(|w| mean(w) - other(w))
    };
    Effect { value, low, high, n: values.len() }
}

/// Spearman's correlation of `x` and `y` over units; the interval draws units within strata (layers, networks), so that `x`,
/// which is the same within a stratum, keeps its values. NaN are left out.
pub fn trend(x: &[f64], y: &[f64], strata: &[usize], replicates: usize, rng: &mut ChaCha8Rng) -> Effect {
    let known: Vec<usize> = (0..y.len()).filter(|i| !x[*i].is_nan() && !y[*i].is_nan()).collect();
    let of = |values: &[f64]| known.iter().map(|i| values[*i]).collect::<Vec<f64>>();
    let (x, y) = (of(x), of(y));
    let strata: Vec<usize> = known.iter().map(|i| strata[*i]).collect();
    let each: Vec<usize> = (0..strata.len()).collect();
    let resamples = Bootstrap::within(&strata, &each, replicates, rng);
    let (low, high) = spearman_interval(&x, &y, &resamples);
    Effect { value: spearman(&x, &y), low, high, n: x.len() }
}

/// How far a unit's highest-scoring pictures are of one class: `1 - H / ln classes`, with H the entropy (nats) of their
/// classes. 0: as many of each; 1: all of one. NaN of fewer than ten pictures or two classes.
pub fn purity(classes: &[usize], count: usize) -> f64 {
    if classes.len() < 10 || count < 2 {
        return f64::NAN;
    }
    let mut counts = vec![0.0; count];
    classes.iter().for_each(|c| counts[*c] += 1.0);
    let n = classes.len() as f64;
    let entropy: f64 = counts.iter().filter(|c| **c > 0.0).map(|c| -(c / n) * (c / n).ln()).sum();
    1.0 - entropy / (count as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn rng() -> ChaCha8Rng {
        Seed(1).stream("claim")
    }

    #[test]
    fn differences_are_of_means_and_their_interval_is_welchs_for_many_units() {
        let wave = |n: usize, shift: f64| (0..n).map(|i| (i as f64 * 1.3).sin() + shift).collect::<Vec<f64>>();
        let (a, b) = (wave(200, 1.0), wave(100, 0.5));
        let effect = mean_difference(&a, &b, 4000, &mut rng());
        let moments = |v: &[f64]| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            (mean, v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (v.len() as f64).powi(2))
        };
        let ((ma, va), (mb, vb)) = (moments(&a), moments(&b));
        let half = 1.96 * (va + vb).sqrt();
        assert!((effect.value - (ma - mb)).abs() < 1e-12);
        assert!((effect.low - (ma - mb - half)).abs() < 0.02 && (effect.high - (ma - mb + half)).abs() < 0.02);
        assert_eq!((effect.n, effect.verdict(false), effect.verdict(true)), (300, Verdict::Shown, Verdict::Against));
        let few = mean_difference(&[1.0, 2.0, f64::NAN], &b, 100, &mut rng());
        assert!(few.low.is_nan() && few.n == 102 && few.verdict(false) == Verdict::Open);
    }

    #[test]
    fn trends_are_rank_correlations_and_draw_within_layers() {
        let layers: Vec<usize> = (0..40).map(|i| i / 10).collect();
        let x: Vec<f64> = layers.iter().map(|l| *l as f64).collect();
        let y: Vec<f64> = (0..40).map(|i| -(x[i]) + 0.5 * (i as f64 * 2.1).sin()).collect();
        let effect = trend(&x, &y, &layers, 500, &mut rng());
        assert!((effect.value - spearman(&x, &y)).abs() < 1e-12);
        assert_eq!((effect.verdict(true), effect.n), (Verdict::Shown, 40));
        // One unit a layer: drawing within layers changes nothing.
        let single = trend(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &y[..6], &[0, 1, 2, 3, 4, 5], 100, &mut rng());
        assert_eq!((single.low, single.high), (single.value, single.value));
    }

    #[test]
    fn purity_runs_from_even_to_one_class() {
        let even: Vec<usize> = (0..40).map(|i| i % 4).collect();
        assert!(purity(&even, 4).abs() < 1e-12);
        assert_eq!(purity(&[2; 40], 4), 1.0);
        let halves: Vec<usize> = (0..40).map(|i| i % 2).collect();
        assert!((purity(&halves, 4) - 0.5).abs() < 1e-12);
        assert!(purity(&[0; 9], 4).is_nan() && purity(&[0; 20], 1).is_nan());
    }
}
