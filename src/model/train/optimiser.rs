//! The rules of a step: from gradients to new parameters.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::options::{Optimiser, TrainOptions};
use super::parameters::{Parameters, Parts};
use crate::error::{Error, Result};

/// Adam's averages (Kingma and Ba, 2015), by PyTorch's defaults.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// What a rule remembers from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory {
    /// Steps done.
    pub(super) steps: usize,
    /// SGD: the last step's direction. Adam: averages of the gradient, and of its square. By parameter.
    pub(super) averages: BTreeMap<String, Vec<Vec<f32>>>,
}

impl Memory {
    /// Does one step.
    pub(super) fn step(
        &mut self,
        options: &TrainOptions,
        rate: f64,
        parameters: &mut Parameters,
        gradients: &Parts,
    ) -> Result<()> {
        self.steps += 1;
        for (name, gradient) in gradients {
            let old = parameters.tensor(name)?;
            let gradient = gradient.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let mut values = old.flatten_all()?.to_vec1::<f32>()?;
            let decay = if old.rank() > 1 { options.weight_decay } else { 0.0 };
            let count = if options.optimiser == Optimiser::Sgd { 1 } else { 2 };
            let averages = self.averages.entry(name.clone()).or_insert_with(|| vec![vec![0.0; values.len()]; count]);
            if averages.len() != count || averages.iter().any(|a| a.len() != gradient.len()) {
                return Err(Error::Failure(format!("the optimiser's memory of `{name}` has another shape")));
            }
            match averages.as_mut_slice() {
                [last] => sgd(options, (rate as f32, decay as f32), &mut values, &gradient, last),
                [first, second] => adam(self.steps, (rate, decay), &mut values, &gradient, [first, second]),
                _ => {}
            }
            let new = Tensor::from_vec(values, old.dims(), old.device())?;
            parameters.0.insert(name.clone(), new);
        }
        Ok(())
    }
}

/// PyTorch's form: `v = m v + g`, and a step along `g + m v` (Nesterov) or `v`. The first direction is the gradient.
fn sgd(options: &TrainOptions, (rate, decay): (f32, f32), values: &mut [f32], gradient: &[f32], last: &mut [f32]) {
    let momentum = options.momentum as f32;
    for ((w, g), v) in values.iter_mut().zip(gradient).zip(last) {
        let g = g + decay * *w;
        *v = momentum * *v + g;
        *w -= rate * if options.nesterov { g + momentum * *v } else { *v };
    }
}

fn adam(
    steps: usize,
    (rate, decay): (f64, f64),
    values: &mut [f32],
    gradient: &[f32],
    [first, second]: [&mut Vec<f32>; 2],
) {
    let ([one, two], [rest_one, rest_two]) = (BETAS.map(|b| b as f32), BETAS.map(|b| (1.0 - b) as f32));
    let [scale_one, scale_two] = BETAS.map(|b| 1.0 / (1.0 - b.powi(steps as i32)));
    for ((w, g), (m, v)) in values.iter_mut().zip(gradient).zip(first.iter_mut().zip(second)) {
        *m = one * *m + rest_one * g;
        *v = two * *v + rest_two * g * g;
        let step = f64::from(*m) * scale_one / ((f64::from(*v) * scale_two).sqrt() + EPSILON);
        *w = (f64::from(*w) * (1.0 - rate * decay) - rate * step) as f32;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    // torch.optim.SGD(lr=0.1, momentum=0.9, nesterov=..., weight_decay=0.01) and AdamW(lr=0.1, weight_decay=0.01).
    const NESTEROV: [f32; 2] = [0.480_058_4, -1.880_333_8];
    const PLAIN: [f32; 2] = [0.604_594_8, -1.808_889_6];
    const ADAM: [f32; 2] = [0.761_409_4, -1.892_805_9];

    /// Three steps on the gradients w, 1 and -w of one matrix.
    fn three(options: &TrainOptions) -> Vec<f32> {
        let start = Tensor::new(&[[1f32, -2.0]], &Device::Cpu).unwrap();
        let mut parameters = Parameters(BTreeMap::from([("w".to_owned(), start)]));
        let mut memory = Memory::default();
        for i in 0..3 {
            let w = parameters.tensor("w").unwrap().clone();
            let g = [w.clone(), w.ones_like().unwrap(), w.neg().unwrap()][i].clone();
            memory.step(options, 0.1, &mut parameters, &Parts::from([("w".to_owned(), g)])).unwrap();
        }
        parameters.tensor("w").unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn steps_are_pytorchs() {
        let base = TrainOptions { weight_decay: 0.01, ..TrainOptions::default() };
        let sgd = |nesterov| TrainOptions { optimiser: Optimiser::Sgd, nesterov, ..base.clone() };
        for (options, wanted) in [(sgd(true), NESTEROV), (sgd(false), PLAIN), (base.clone(), ADAM)] {
            let got = three(&options);
            assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {wanted:?}");
        }
    }
}
