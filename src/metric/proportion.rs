//! Shares: of a count, and of logits.

/// The 95 % point of a standard normal number, both sides.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % interval of a share of `successes` in `n` independent trials (Wilson 1927): inside \[0, 1\] and of use for few
/// trials. NaN of none.
pub fn wilson(successes: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (f64::NAN, f64::NAN);
    }
    let (n, share) = (n as f64, successes as f64 / n as f64);
    let centre = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// The difference of two shares of independent trials, the first less the second, with its 95 % interval (Newcombe 1998,
/// method 10: from both shares' Wilson intervals). Each side: successes, trials; NaN of none.
pub fn difference(first: (usize, usize), second: (usize, usize)) -> (f64, f64, f64) {
    let share = |(successes, n): (usize, usize)| successes as f64 / n as f64;
    let ((low1, high1), (low2, high2)) = (wilson(first.0, first.1), wilson(second.0, second.1));
    let (one, two) = (share(first), share(second));
    let value = one - two;
    (value, value - (one - low1).hypot(high2 - two), value + (high1 - one).hypot(two - low2))
}

/// The probabilities of exclusive classes.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    let powers: Vec<f64> = logits.iter().map(|v| (v - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|v| v / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// statsmodels.stats.proportion.proportion_confint(k, n, method="wilson").
    #[test]
    fn intervals_are_those_of_statsmodels() {
        for (successes, n, low, high) in STATSMODELS {
            let got = wilson(successes, n);
            assert!((got.0 - low).abs() < 1e-9 && (got.1 - high).abs() < 1e-9, "{successes} of {n}: {got:?}");
        }
        assert!(wilson(0, 0).0.is_nan());
    }

    /// statsmodels.stats.proportion.confint_proportions_2indep(.., method="newcomb", compare="diff").
    #[test]
    fn differences_are_those_of_statsmodels() {
        for (first, second, low, high) in NEWCOMBE {
            let got = difference(first, second);
            assert!((got.1 - low).abs() < 1e-9 && (got.2 - high).abs() < 1e-9, "{first:?} {second:?}: {got:?}");
        }
        assert!(difference((0, 0), (1, 2)).0.is_nan());
    }

    #[test]
    fn probabilities_sum_to_one() {
        let p = softmax(&[1.0, 1.0 + 2f64.ln(), -1000.0]);
        assert!((p[0] - 1.0 / 3.0).abs() < 1e-12 && (p[1] - 2.0 / 3.0).abs() < 1e-12 && p[2] == 0.0);
    }

    const STATSMODELS: [(usize, usize, f64, f64); 3] = [
        (0, 10, 0.000_000_000_000, 0.277_532_799_863),
        (7, 20, 0.181_191_824_101, 0.567_145_723_315),
        (33, 33, 0.895_730_002_458, 1.000_000_000_000),
    ];

    type Case = ((usize, usize), (usize, usize), f64, f64);

    const NEWCOMBE: [Case; 3] = [
        ((15, 16), (0, 16), 0.643_848_847_726, 0.988_880_655_235),
        ((7, 20), (9, 30), -0.195_866_992_452, 0.304_823_780_344),
        ((32, 32), (32, 32), -0.107_179_198_255, 0.107_179_198_255),
    ];
}
