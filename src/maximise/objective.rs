//! What an ascent maximises, and its gradient with respect to the activation.
//!
//! Translation-invariant: the mean over positions of `(z_p v) max(0.1, cos(z_p, v))^k` (Lucid's `direction`; the floor
//! keeps a negative product times a negative cosine from counting as good, Lucid issue 116). Full: `<w, z>`. Maximum and
//! log-sum-exp: the probe's own score, the inner product with the pooled channels.

use crate::probe::Variant;

/// The least cosine that counts.
const FLOOR: f64 = 0.1;

/// What one picture is to maximise.
#[derive(Debug, Clone)]
pub struct Objective<'a> {
    /// Unit vector: `channel` values, or `channel * positions` for full.
    pub direction: &'a [f32],
    /// The form of the activation it is a direction of.
    pub variant: Variant,
    /// k, for the mean over positions alone.
    pub cosine_power: f64,
}

impl Objective<'_> {
    /// The value at an activation `z` `[channel, positions]`; its gradient is written to `gradient` of the same shape.
    pub fn evaluate(&self, z: &[f32], gradient: &mut [f32]) -> f64 {
        match self.variant {
            Variant::Full => {
                gradient.copy_from_slice(self.direction);
                dot(self.direction, z)
            }
            Variant::TranslationInvariant => self.mean_over_positions(z, gradient),
            Variant::Max | Variant::LogSumExp(_) => {
                let positions = self.positions(z);
                for ((v, z), g) in self.channels(z).zip(gradient.chunks_exact_mut(positions)) {
                    self.variant.pool_gradient(z, g);
                    g.iter_mut().for_each(|g| *g *= v);
                }
                self.score(z)
            }
        }
    }

    /// The score as probes have it, without offset: the inner product with the activation in the variant's form.
    pub fn score(&self, z: &[f32]) -> f64 {
        match self.variant {
            Variant::Full => dot(self.direction, z),
            _ => self.channels(z).map(|(v, z)| f64::from(v) * self.variant.pool(z)).sum(),
        }
    }

    fn positions(&self, z: &[f32]) -> usize {
        (z.len() / self.direction.len()).max(1)
    }

    /// Each channel's weight with its positions.
    fn channels<'z>(&self, z: &'z [f32]) -> impl Iterator<Item = (f32, &'z [f32])> {
        self.direction.iter().copied().zip(z.chunks_exact(self.positions(z)))
    }

    fn mean_over_positions(&self, z: &[f32], gradient: &mut [f32]) -> f64 {
        let positions = self.positions(z);
        let (mut products, mut squares) = (vec![0f64; positions], vec![0f64; positions]);
        for (v, z) in self.direction.iter().zip(z.chunks_exact(positions)) {
            for ((product, square), z) in products.iter_mut().zip(&mut squares).zip(z) {
                *product += f64::from(*v) * f64::from(*z);
                *square += f64::from(*z) * f64::from(*z);
            }
        }
        let length = dot(self.direction, self.direction).sqrt();
        let terms = products.iter().zip(&squares).map(|(d, s)| term(*d, s.sqrt(), length, self.cosine_power));
        // Value, factor of v, factor of z at every position.
        let terms: Vec<(f64, f64, f64)> = terms.collect();
        let share = 1.0 / positions as f64;
        let channels = self.direction.iter().zip(z.chunks_exact(positions)).zip(gradient.chunks_exact_mut(positions));
        for ((v, z), gradient) in channels {
            for ((g, z), (_, of_v, of_z)) in gradient.iter_mut().zip(z).zip(&terms) {
                *g = (share * (of_v * f64::from(*v) + of_z * f64::from(*z))) as f32;
            }
        }
        terms.iter().map(|(value, ..)| value).sum::<f64>() * share
    }
}

/// `d max(0.1, c)^k` with `c = d / (|z| |v|)`: its value, and its gradient as factors of v and of z.
fn term(product: f64, norm: f64, length: f64, power: f64) -> (f64, f64, f64) {
    if power == 0.0 {
        return (product, 1.0, 0.0);
    }
    let cosine = if norm > 0.0 { product / (norm * length) } else { 0.0 };
    if cosine <= FLOOR {
        let weight = FLOOR.powf(power);
        return (product * weight, weight, 0.0);
    }
    let weight = cosine.powf(power);
    (product * weight, (power + 1.0) * weight, -power * product * weight / (norm * norm))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f32; 6] = [0.5, -1.0, 2.0, 0.25, 1.5, -0.5];

    fn objective(direction: &[f32], variant: Variant, cosine_power: f64) -> Objective<'_> {
        Objective { direction, variant, cosine_power }
    }

    #[test]
    fn values_by_hand() {
        let mut g = [0.0; 6];
        // Channels (0.5, -1, 2) and (0.25, 1.5, -0.5), three positions; v = (0.6, 0.8).
        let plain = objective(&[0.6, 0.8], Variant::TranslationInvariant, 0.0);
        let value = plain.evaluate(&Z, &mut g);
        assert!((value - (0.5 + 0.6 + 0.8) / 3.0).abs() < 1e-6, "{value}");
        assert!((plain.score(&Z) - value).abs() < 1e-12);
        assert!(g.iter().zip([0.2, 0.2, 0.2, 0.8 / 3.0, 0.8 / 3.0, 0.8 / 3.0]).all(|(a, b)| (a - b).abs() < 1e-6));
        let full = objective(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], Variant::Full, 2.0);
        assert_eq!((full.evaluate(&Z, &mut g), full.score(&Z), g[2]), (2.0, 2.0, 1.0));
    }

    #[test]
    fn a_negative_product_stays_negative() {
        let mut g = [0.0; 2];
        let opposite = objective(&[-1.0, 0.0], Variant::TranslationInvariant, 1.0);
        assert!((opposite.evaluate(&[3.0, 0.0], &mut g) + 0.3).abs() < 1e-9);
        assert_eq!(opposite.evaluate(&[0.0, 0.0], &mut g), 0.0);
        assert!(g.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let plain = [0.0, 1.0, 2.0, 3.5].map(|power| (Variant::TranslationInvariant, power));
        for (variant, power) in plain.into_iter().chain([(Variant::Max, 0.0), (Variant::LogSumExp(2.0), 0.0)]) {
            for direction in [[0.6f32, 0.8], [-0.8, 0.6]] {
                let objective = objective(&direction, variant, power);
                let (mut g, mut scratch) = ([0.0; 6], [0.0; 6]);
                objective.evaluate(&Z, &mut g);
                for i in 0..6 {
                    let mut at = |delta: f32| {
                        let mut moved = Z;
                        moved[i] += delta;
                        objective.evaluate(&moved, &mut scratch)
                    };
                    // A power of two, so that the moved values are exact in f32.
                    let h = 1.0 / 1024.0;
                    let wanted = (at(h) - at(-h)) / f64::from(2.0 * h);
                    assert!(
                        (f64::from(g[i]) - wanted).abs() < 1e-4,
                        "{variant} {power} {direction:?} {i}: {} {wanted}",
                        g[i]
                    );
                }
            }
        }
    }
}
