//! Many tests at once.

/// Holm's step-down adjustment (Holm 1979) of p-values: of m tests the k-th smallest is multiplied by `m - k + 1`, no
/// adjusted value is below that of a smaller one, none above 1. Rejecting where the adjusted value is at most `a` makes a
/// single false rejection with probability `a` at most, however the tests depend on each other.
///
/// NaN is a test that was not made: it stays NaN and is not counted.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|i| !p[*i].is_nan()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![f64::NAN; p.len()];
    let mut least = 0.0f64;
    for (smaller, i) in order.iter().enumerate() {
        least = least.max((p[*i] * (order.len() - smaller) as f64).min(1.0));
        adjusted[*i] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::golden;

    #[test]
    fn ties_and_undefined_tests_are_as_in_the_golden_values() {
        let (given, wanted) = (golden::numbers("holm", "p"), golden::numbers("holm", "adjusted"));
        for (got, wanted) in holm(&given).iter().zip(&wanted) {
            assert!((got - wanted).abs() < 1e-12 || (got.is_nan() && wanted.is_nan()), "{got} {wanted}");
        }
        assert!(holm(&[]).is_empty() && holm(&[f64::NAN])[0].is_nan());
    }

    proptest! {
        #[test]
        fn the_order_of_tests_does_not_matter(mut p in prop::collection::vec(0.0..1.0f64, 0..20)) {
            let one = holm(&p);
            prop_assert!(one.iter().zip(&p).all(|(a, p)| a >= p && *a <= 1.0));
            p.reverse();
            let mut other = holm(&p);
            other.reverse();
            prop_assert_eq!(one, other);
        }
    }
}
