//! Adam (Kingma and Ba 2015), written out: the state of each job stays its own.

use rayon::prelude::*;

/// Decay of the mean and of the mean square, and what is added to the root.
const BETAS: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// Values that one task works on.
const CHUNK: usize = 1 << 14;

/// The state of an ascent.
#[derive(Debug, Clone)]
pub struct Adam {
    rate: f32,
    step: i32,
    mean: Vec<f32>,
    square: Vec<f32>,
}

impl Adam {
    /// For `size` values and a step size.
    pub fn new(size: usize, rate: f64) -> Self {
        Self { rate: rate as f32, step: 0, mean: vec![0.0; size], square: vec![0.0; size] }
    }

    /// Moves the values up their gradient.
    pub fn ascend(&mut self, values: &mut [f32], gradient: &[f32]) {
        self.step = self.step.saturating_add(1);
        // The averages start at zero: both are divided by the weight they have gathered.
        let gathered = |beta: f32| 1.0 - beta.powi(self.step);
        let (rate, root) = (self.rate / gathered(BETAS.0), gathered(BETAS.1).sqrt().recip());
        let state = self.mean.par_chunks_mut(CHUNK).zip(self.square.par_chunks_mut(CHUNK));
        state.zip(values.par_chunks_mut(CHUNK)).zip(gradient.par_chunks(CHUNK)).for_each(
            |(((mean, square), values), gradient)| {
                for (((m, s), v), g) in mean.iter_mut().zip(square).zip(values).zip(gradient) {
                    *m = BETAS.0 * *m + (1.0 - BETAS.0) * g;
                    *s = BETAS.1 * *s + (1.0 - BETAS.1) * g * g;
                    *v += rate * *m / (s.sqrt() * root + EPSILON);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_paper() {
        // torch.optim.Adam([x], lr=0.05, maximize=True), x = 1, gradient 2 and then -1.
        let (mut adam, mut x) = (Adam::new(1, 0.05), [1.0]);
        adam.ascend(&mut x, &[2.0]);
        assert!((x[0] - 1.05).abs() < 1e-6, "the first step is the step size: {x:?}");
        adam.ascend(&mut x, &[-1.0]);
        let (mean, square) = ((0.9 * 0.2 - 0.1) / 0.19, (0.999 * 0.004 + 0.001) / 0.001_999f64);
        assert!((f64::from(x[0]) - (1.05 + 0.05 * mean / square.sqrt())).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn no_gradient_is_no_step() {
        let (mut adam, mut x) = (Adam::new(2, 0.05), [1.0, 2.0]);
        adam.ascend(&mut x, &[0.0, 0.0]);
        assert_eq!(x, [1.0, 2.0]);
    }
}
