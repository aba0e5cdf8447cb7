//! The losses, with their gradients: mean over a batch.

use candle_core::Tensor;

use crate::error::Result;

/// What a sample should be named.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Targets {
    /// One class a sample.
    Exclusive(Vec<usize>),
    /// One or zero for every label, sample by sample.
    Independent(Vec<f32>),
}

/// The mean loss of logits `[batch, class]` in nats, and its gradient. Exclusive classes: cross-entropy with targets of
/// which `smoothing` is spread over all classes. Independent ones: `log(1 + exp(z)) - z t`, the mean over labels too.
pub(super) fn loss(logits: &Tensor, targets: &Targets, smoothing: f64) -> Result<(f64, Tensor)> {
    let (batch, classes) = logits.dims2()?;
    let z: Vec<f64> = logits.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?;
    let mut slopes = Vec::with_capacity(z.len());
    let mut total = 0.0;
    match targets {
        Targets::Exclusive(wanted) => {
            for (row, wanted) in z.chunks(classes).zip(wanted) {
                let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_sum = top + row.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
                for (class, z) in row.iter().enumerate() {
                    let hit = f64::from(u8::from(class == *wanted));
                    let target = (1.0 - smoothing) * hit + smoothing / classes as f64;
                    total += target * (log_sum - z);
                    slopes.push(((z - log_sum).exp() - target) / batch as f64);
                }
            }
            total /= batch as f64;
        }
        Targets::Independent(wanted) => {
            for (z, t) in z.iter().zip(wanted) {
                let t = f64::from(*t);
                total += z.max(0.0) - z * t + (-z.abs()).exp().ln_1p();
                slopes.push((1.0 / (1.0 + (-z).exp()) - t) / wanted.len() as f64);
            }
            total /= wanted.len() as f64;
        }
    }
    Ok((total, Tensor::from_vec(slopes, (batch, classes), logits.device())?.to_dtype(logits.dtype())?))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::ops::check::random;

    #[test]
    fn independent_labels_have_logistic_losses() {
        let z = Tensor::new(&[[0f64, 2.0], [-3.0, 900.0]], &Device::Cpu).unwrap();
        let wanted = (2f64.ln() + (1.0 + 2f64.exp()).ln() + (1.0 + (-3f64).exp()).ln()) / 4.0;
        let (got, _) = loss(&z, &Targets::Independent(vec![1.0, 0.0, 0.0, 1.0]), 0.0).unwrap();
        assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
    }

    #[test]
    fn exclusive_classes_have_cross_entropy() {
        let z = Tensor::new(&[[0f64, 1.0, 1000.0], [2.0, 2.0, 2.0]], &Device::Cpu).unwrap();
        let (got, _) = loss(&z, &Targets::Exclusive(vec![2, 0]), 0.0).unwrap();
        assert!((got - 3f64.ln() / 2.0).abs() < 1e-12, "{got}");
        // Smoothing spreads the target: every class of the first row is wanted to 0.1, the last to 0.7 more.
        let (got, _) = loss(&z, &Targets::Exclusive(vec![2, 0]), 0.3).unwrap();
        assert!((got - f64::midpoint(0.1 * (1000.0 + 999.0), 3f64.ln())).abs() < 1e-9, "{got}");
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let z = random(&[3, 4], 1);
        let independent = Targets::Independent((0..12).map(|i| f32::from(u8::from(i % 3 == 0))).collect());
        for (targets, smoothing) in [(Targets::Exclusive(vec![0, 3, 1]), 0.1), (independent, 0.0)] {
            let (_, slopes) = loss(&z, &targets, smoothing).unwrap();
            let slopes = slopes.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let base = z.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (i, slope) in slopes.into_iter().enumerate() {
                let at = |delta: f64| {
                    let mut moved = base.clone();
                    moved[i] += delta;
                    let moved = Tensor::from_vec(moved, (3, 4), &Device::Cpu).unwrap();
                    loss(&moved, &targets, smoothing).unwrap().0
                };
                assert!((slope - (at(1e-6) - at(-1e-6)) / 2e-6).abs() < 1e-8, "entry {i}");
            }
        }
    }
}
