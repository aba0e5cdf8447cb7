//! How a step follows from a gradient; the state of every picture stays its own.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Decay of the mean and of the mean square, and what is added to the root.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;
/// How fast NAdam's momentum reaches its full size: PyTorch's `momentum_decay`.
const MOMENTUM_DECAY: f64 = 4e-3;

/// Values that one task works on.
const CHUNK: usize = 1 << 14;

/// The rule of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// Kingma and Ba 2015.
    #[default]
    Adam,
    /// Adam with Nesterov's momentum (Dozat 2016), in PyTorch's form.
    Nadam,
    /// The gradient divided by the mean of its absolute values, picture by picture.
    Sgd,
}

/// The state of an ascent.
#[derive(Debug, Clone)]
pub struct Optimiser {
    kind: OptimiserKind,
    rate: f64,
    step: i32,
    /// NAdam: the product of all momenta.
    momenta: f64,
    /// Numbers of one picture.
    each: usize,
    mean: Vec<f32>,
    square: Vec<f32>,
}

impl Optimiser {
    /// For pictures of `each` numbers, `size` in all, and a step size.
    pub fn new(kind: OptimiserKind, size: usize, each: usize, rate: f64) -> Self {
        let state = if kind == OptimiserKind::Sgd { 0 } else { size };
        Self { kind, rate, step: 0, momenta: 1.0, each, mean: vec![0.0; state], square: vec![0.0; state] }
    }

    /// Moves the values up their gradient.
    pub fn ascend(&mut self, values: &mut [f32], gradient: &[f32]) {
        self.step = self.step.saturating_add(1);
        match self.kind {
            OptimiserKind::Adam => {
                // The averages start at zero: they are divided by the weight they have gathered.
                let gathered = 1.0 - (BETAS.0 as f32).powi(self.step);
                self.by_moments(values, gradient, (0.0, self.rate as f32 / gathered));
            }
            OptimiserKind::Nadam => {
                let momentum = |step: i32| BETAS.0 * (1.0 - 0.5 * 0.96f64.powf(f64::from(step) * MOMENTUM_DECAY));
                let (now, next) = (momentum(self.step), momentum(self.step.saturating_add(1)));
                self.momenta *= now;
                let of_gradient = self.rate * (1.0 - now) / (1.0 - self.momenta);
                let of_mean = self.rate * next / (1.0 - self.momenta * next);
                self.by_moments(values, gradient, (of_gradient as f32, of_mean as f32));
            }
            OptimiserKind::Sgd => {
                let pictures = values.par_chunks_mut(self.each.max(1)).zip(gradient.par_chunks(self.each.max(1)));
                pictures.for_each(|(values, gradient)| {
                    let size = gradient.iter().map(|g| f64::from(g.abs())).sum::<f64>() / gradient.len() as f64;
                    if size > 0.0 {
                        let rate = (self.rate / size) as f32;
                        values.iter_mut().zip(gradient).for_each(|(v, g)| *v += rate * g);
                    }
                });
            }
        }
    }

    /// Adds the gradient and its running mean, each with its rate, over the root of the running mean square.
    fn by_moments(&mut self, values: &mut [f32], gradient: &[f32], (of_gradient, of_mean): (f32, f32)) {
        let (keep_mean, keep_square) = (BETAS.0 as f32, BETAS.1 as f32);
        let root = (1.0 - keep_square.powi(self.step)).sqrt().recip();
        let state = self.mean.par_chunks_mut(CHUNK).zip(self.square.par_chunks_mut(CHUNK));
        state.zip(values.par_chunks_mut(CHUNK)).zip(gradient.par_chunks(CHUNK)).for_each(
            |(((mean, square), values), gradient)| {
                for (((m, s), v), g) in mean.iter_mut().zip(square).zip(values).zip(gradient) {
                    *m = keep_mean * *m + (1.0 - keep_mean) * g;
                    *s = keep_square * *s + (1.0 - keep_square) * g * g;
                    *v += (of_gradient * g + of_mean * *m) / (s.sqrt() * root + EPSILON);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_steps(kind: OptimiserKind) -> Vec<f32> {
        let (mut optimiser, mut x) = (Optimiser::new(kind, 1, 1, 0.05), [1.0]);
        [2.0, -1.0]
            .map(|gradient| {
                optimiser.ascend(&mut x, &[gradient]);
                x[0]
            })
            .to_vec()
    }

    #[test]
    fn steps_are_those_of_pytorch() {
        // torch.optim.Adam and NAdam([x], lr=0.05, maximize=True), x = 1, gradient 2 and then -1.
        for (kind, wanted) in [(OptimiserKind::Adam, [1.05, 1.063_317_5]), (OptimiserKind::Nadam, NADAM)] {
            let got = two_steps(kind);
            assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 2e-6), "{kind:?}: {got:?} {wanted:?}");
        }
    }

    const NADAM: [f32; 2] = [1.052_822_6, 1.032_267_1];

    #[test]
    fn plain_steps_have_one_size_whatever_the_gradients() {
        let mut optimiser = Optimiser::new(OptimiserKind::Sgd, 4, 2, 0.5);
        let mut x = [0.0; 4];
        optimiser.ascend(&mut x, &[1e-6, -3e-6, 0.0, 8.0]);
        assert!(x.iter().zip([0.25, -0.75, 0.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{x:?}");
    }

    #[test]
    fn no_gradient_is_no_step() {
        for kind in [OptimiserKind::Adam, OptimiserKind::Nadam, OptimiserKind::Sgd] {
            let (mut optimiser, mut x) = (Optimiser::new(kind, 2, 2, 0.05), [1.0, 2.0]);
            optimiser.ascend(&mut x, &[0.0, 0.0]);
            assert_eq!(x, [1.0, 2.0]);
        }
    }
}
