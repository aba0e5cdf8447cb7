//! Welch's t-test (Welch 1947): do two lists of numbers, of unequal variance, have one mean?

/// A two-sided test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// The difference of the means over its standard error; positive where the first list's is larger.
    pub t: f64,
    /// Degrees of freedom (Welch and Satterthwaite), between the smaller n less one and the sum of both less two.
    pub df: f64,
    /// Probability of so large a difference in either direction where the means are the same, in [0, 1].
    pub p: f64,
}

/// The test of two lists, against each other. All values are NaN where a list has fewer than two numbers, or where no list
/// varies: there is then no scale to hold the difference against.
pub fn welch(a: &[f64], b: &[f64]) -> Welch {
    let ((mean_a, var_a), (mean_b, var_b)) = (moments(a), moments(b));
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let (va, vb) = (var_a / na, var_b / nb);
    let square = va + vb;
    if square.is_nan() || square <= 0.0 {
        return Welch { t: f64::NAN, df: f64::NAN, p: f64::NAN };
    }
    let t = (mean_a - mean_b) / square.sqrt();
    let df = square * square / (va * va / (na - 1.0) + vb * vb / (nb - 1.0));
    Welch { t, df, p: two_sided(t, df) }
}

/// Mean and variance with `n - 1`; NaN variance of fewer than two.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// Probability that Student's t with `df` degrees of freedom is further from zero than `t`.
pub fn two_sided(t: f64, df: f64) -> f64 {
    let whole = df + t * t;
    incomplete_beta(df / 2.0, 0.5, df / whole, t * t / whole)
}

/// The regularised incomplete beta function `I_x(a, b)`; `y = 1 - x`, given apart so that neither loses digits. By the
/// continued fraction (DLMF 8.17.22, evaluated after Lentz) on the side where that converges fast.
fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 || y <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (a * x.ln() + b * y.ln() - ln_beta(a, b)).exp();
    if x < (a + 1.0) / (a + b + 2.0) { front * fraction(a, b, x) / a } else { 1.0 - front * fraction(b, a, y) / b }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..1000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = h;
        for term in [even, odd] {
            d = 1.0 / guard(1.0 + term * d);
            c = guard(1.0 + term / c);
            h *= d * c;
        }
        if (h - before).abs() <= 1e-15 * h.abs() {
            break;
        }
    }
    h
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// `ln Γ(x)` for x > 0: Stirling's series (DLMF 5.11.1) after the recurrence has brought x to ten or more.
fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0];
    let (mut x, mut below) = (x, 0.0);
    while x < 10.0 {
        below += x.ln();
        x += 1.0;
    }
    let mut power = 1.0 / x;
    let mut tail = 0.0;
    for term in SERIES {
        tail += term * power;
        power /= x * x;
    }
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + tail - below
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        a: Vec<f64>,
        b: Vec<f64>,
        t: f64,
        df: f64,
        p: f64,
    }

    #[derive(Deserialize)]
    struct Golden {
        tests: Vec<Case>,
        /// t, df, p
        tails: Vec<[f64; 3]>,
    }

    fn close(got: f64, wanted: f64) -> bool {
        (got - wanted).abs() <= 1e-9 * wanted.abs().max(1e-300)
    }

    #[test]
    fn tests_and_tails_are_scipys() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/welch.json")).unwrap();
        assert!(golden.tests.len() >= 6 && golden.tails.len() >= 20);
        for case in golden.tests {
            let got = welch(&case.a, &case.b);
            assert!(close(got.t, case.t) && close(got.df, case.df) && close(got.p, case.p), "{got:?} {}", case.p);
        }
        for [t, df, p] in golden.tails {
            assert!(close(two_sided(t, df), p), "t {t}, df {df}: {} {p}", two_sided(t, df));
        }
    }

    #[test]
    fn what_cannot_be_tested_is_not_a_number() {
        for (a, b) in [(vec![1.0; 5], vec![2.0; 5]), (vec![1.0], vec![1.0, 2.0]), (vec![], vec![])] {
            let test = welch(&a, &b);
            assert!(test.p.is_nan() && test.t.is_nan(), "{test:?}");
        }
        // One list that does not vary: the other gives the scale, and its degrees of freedom.
        let test = welch(&[0.5; 30], &[0.4, 0.6, 0.5, 0.3, 0.45]);
        assert!((test.df - 4.0).abs() < 1e-9 && test.p > 0.0 && test.p < 1.0);
        assert_eq!(welch(&[1.0, 2.0], &[1.0, 2.0]).p, 1.0);
    }
}
