//! Two probes over the same units: concepts, or the blocks of one concept's pictures.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::{percentile_interval, ratio};
use super::direction::mean_and_error;
use crate::error::{Error, Result};

/// Fewest units an interval is given for, and fewest that any claim rests on: with five, the two-sided p-value of a
/// sign-flip test is 2/32 at best, so nothing can be found.
pub const FEWEST: usize = 6;

/// Differences up to which every choice of signs is tried: 2^16 sums.
const EXACT: usize = 16;

/// The `[compare]` table: how probes are compared over concepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompareOptions {
    /// Resamples of concepts behind every interval.
    #[schemars(range(min = 100, max = 100_000))]
    pub bootstrap: usize,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self { bootstrap: 10_000 }
    }
}

impl CompareOptions {
    /// Whether nothing was changed.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the value.
    ///
    /// # Errors
    /// When it is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        if (100..=100_000).contains(&self.bootstrap) {
            return Ok(());
        }
        Err(Error::key("compare.bootstrap", "out of range", "100 to 100000; 10000 is the default"))
    }
}

/// Two-sided p-value of paired differences by flipping signs (Fisher's randomisation test): the share of all choices of
/// signs whose sum is at least as far from zero as the observed one. It is right for any number of differences, down to
/// one, where nothing but the symmetry of differences about zero is assumed; a bootstrap's p-value is too small for few.
///
/// Exact up to 16 differences that are not zero; for more the sum over its standard deviation under sign flips is held
/// against the normal distribution. NaN are left out; NaN without a difference; 1 where all are zero.
pub fn sign_flip(differences: &[f64]) -> f64 {
    let known: Vec<f64> = differences.iter().copied().filter(|d| !d.is_nan()).collect();
    let moved: Vec<f64> = known.iter().copied().filter(|d| *d != 0.0).collect();
    let Some((first, rest)) = moved.split_first() else {
        return if known.is_empty() { f64::NAN } else { 1.0 };
    };
    let observed = moved.iter().sum::<f64>().abs();
    if moved.len() > EXACT {
        return two_sided(ratio(observed, moved.iter().map(|d| d * d).sum::<f64>().sqrt()));
    }
    // The first sign is kept: turning all of them round changes no distance from zero.
    let mut sums = vec![*first];
    for d in rest {
        sums = sums.iter().flat_map(|s| [s + d, s - d]).collect();
    }
    let rounding = 1e-12 * moved.iter().map(|d| d.abs()).sum::<f64>();
    let reached = sums.iter().filter(|s| s.abs() >= observed - rounding).count();
    reached as f64 / sums.len() as f64
}

/// Cohen's d_z of paired differences: their mean over their standard deviation (`n - 1`). Around 0.2 is called small, 0.8
/// large. NaN of fewer than two, or where all are the same.
pub fn cohens_dz(differences: &[f64]) -> f64 {
    let (mean, error) = mean_and_error(differences);
    let n = differences.iter().filter(|d| !d.is_nan()).count();
    let deviation = error * (n as f64).sqrt();
    if deviation > 0.0 { mean / deviation } else { f64::NAN }
}

/// Percentile interval at 95 % of the mean over units, where every unit has its own resamples (of pictures): units are
/// drawn with replacement, and for each drawn unit one of its resamples. Wider than an interval over units alone, which
/// has the pictures' noise in it once already: it errs on the careful side. NaN with fewer than [`FEWEST`] units.
pub fn nested_interval(units: &[Vec<f64>], replicates: usize, rng: &mut ChaCha8Rng) -> (f64, f64) {
    if units.len() < FEWEST || units.iter().any(Vec::is_empty) {
        return (f64::NAN, f64::NAN);
    }
    let mut draw = || {
        let unit = &units[rng.random_range(0..units.len())];
        unit[rng.random_range(0..unit.len())]
    };
    let means = (0..replicates).map(|_| (0..units.len()).map(|_| draw()).sum::<f64>() / units.len() as f64);
    percentile_interval(means.collect())
}

/// Probability that a standard normal number is at least `z` from zero; NaN of NaN.
pub fn two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The complementary error function of a number that is not negative: the series of erf (Abramowitz & Stegun 7.1.6) below
/// 2, the continued fraction (7.1.14) above.
fn erfc(x: f64) -> f64 {
    let (decay, root) = ((-x * x).exp(), std::f64::consts::PI.sqrt());
    if x >= 2.0 {
        let fraction = (1..=120).rev().fold(x, |tail, k| x + 0.5 * f64::from(k) / tail);
        return decay / (root * fraction);
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term > 1e-18 * sum {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    if x.is_nan() { x } else { 1.0 - 2.0 / root * decay * sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::golden;
    use crate::seed::Seed;

    #[test]
    fn exact_p_values_are_scipys() {
        for case in ["plain", "ties", "zeros"] {
            let p = sign_flip(&golden::numbers(case, "differences"));
            assert!((p - golden::number(case, "p")).abs() < 1e-9, "{case}: {p}");
        }
        assert_eq!(sign_flip(&[0.1, 0.2, 0.3, f64::NAN]), 0.25);
        assert_eq!((sign_flip(&[0.0, 0.0]), sign_flip(&[2.0])), (1.0, 1.0));
        assert!(sign_flip(&[]).is_nan() && sign_flip(&[f64::NAN]).is_nan());
        // Five can never be enough, six can.
        assert_eq!((sign_flip(&[1.0; 5]), sign_flip(&[1.0; 6])), (0.0625, 0.03125));
    }

    #[test]
    fn many_differences_are_near_the_exact_value_of_a_few() {
        let few: Vec<f64> = (0..16).map(|i| f64::from(i).sin() + 0.4).collect();
        let exact = sign_flip(&few);
        let sum: f64 = few.iter().sum();
        let near = two_sided(sum / few.iter().map(|d| d * d).sum::<f64>().sqrt());
        assert!((exact - near).abs() < 0.02, "{exact} {near}");
    }

    #[test]
    fn tails_of_the_normal_distribution_are_scipys() {
        for (z, p) in golden::numbers("normal", "z").iter().zip(golden::numbers("normal", "p")) {
            assert!((two_sided(*z) / p - 1.0).abs() < 1e-9, "{z}: {} {p}", two_sided(*z));
        }
        assert!(two_sided(f64::NAN).is_nan());
    }

    #[test]
    fn effects_by_hand() {
        assert!((cohens_dz(&[1.0, 2.0, 3.0, f64::NAN]) - 2.0).abs() < 1e-12);
        assert!(cohens_dz(&[1.0]).is_nan() && cohens_dz(&[1.0, 1.0]).is_nan());
    }

    #[test]
    fn pictures_widen_the_interval_over_concepts() {
        let noise: Vec<f64> = (0..500).map(|i| f64::from(i).sin()).collect();
        let units = |scale: f64| -> Vec<Vec<f64>> {
            (0..8).map(|u| noise.iter().map(|e| f64::from(u) / 8.0 + scale * e).collect()).collect()
        };
        let width = |scale: f64| {
            let (low, high) = nested_interval(&units(scale), 2000, &mut Seed(1).stream("nested"));
            high - low
        };
        assert!(width(1.0) > 1.3 * width(0.0));
        assert!(nested_interval(&units(1.0)[..5], 100, &mut Seed(1).stream("nested")).0.is_nan());
    }
}
