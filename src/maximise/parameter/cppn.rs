//! Pictures as a small network from coordinates to channels (compositional pattern producing network; Mordvintsev et al.
//! 2018, "Differentiable image parameterizations", Distill): smooth, without a grid of its own.
//!
//! Lucid's layers with the hyperbolic tangent in place of the arctangent.

use candle_core::{Result, Tensor};

use super::{Parameter, noise};
use crate::seed::Seed;

const HIDDEN: usize = 24;
const LAYERS: usize = 8;
/// Coordinates run from -R to R: their standard deviation is then about one.
const R: f64 = 1.732_050_807_568_877_2;
/// What makes both parts of a hidden layer's answer about one.
const PARTS: (f64, f64) = (0.67, 0.6);

/// The weights and biases of the network of one picture.
#[derive(Debug, Clone)]
pub struct Cppn {
    channels: usize,
    height: usize,
    width: usize,
}

impl Cppn {
    /// For pictures `[channel, height, width]`.
    pub fn new([channels, height, width]: [usize; 3]) -> Self {
        Self { channels, height, width }
    }

    /// Inputs and outputs of every layer.
    fn layers(&self) -> impl Iterator<Item = (usize, usize)> {
        let channels = self.channels;
        (0..LAYERS).map(move |i| {
            let inputs = if i == 0 { 2 } else { 2 * HIDDEN };
            (inputs, if i + 1 == LAYERS { channels } else { HIDDEN })
        })
    }

    /// Two coordinates of every pixel, `[2, height * width]`.
    fn coordinates(&self) -> Vec<f64> {
        let place = |i: usize, n: usize| if n > 1 { R * (2.0 * i as f64 / (n - 1) as f64 - 1.0) } else { 0.0 };
        let pixels = || (0..self.height).flat_map(|y| (0..self.width).map(move |x| (y, x)));
        let rows = pixels().map(|(y, _)| place(y, self.height));
        rows.chain(pixels().map(|(_, x)| place(x, self.width))).collect()
    }
}

impl Parameter for Cppn {
    fn shape(&self) -> Vec<usize> {
        vec![self.layers().map(|(inputs, outputs)| (inputs + 1) * outputs).sum()]
    }

    /// Normal weights of variance one over inputs; biases and the last layer are zero: a grey picture.
    fn start(&self, seed: Seed, name: &str) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.shape()[0]);
        for (i, (inputs, outputs)) in self.layers().enumerate() {
            let deviation = if i + 1 == LAYERS { 0.0 } else { (1.0 / inputs as f64).sqrt() };
            out.extend(noise(inputs * outputs, deviation, seed, &format!("{name} layer {i}")));
            out.extend(std::iter::repeat_n(0.0, outputs));
        }
        out
    }

    fn apply(&self, numbers: &Tensor) -> Result<Tensor> {
        let (batch, pixels) = (numbers.dim(0)?, self.height * self.width);
        let coordinates = Tensor::from_vec(self.coordinates(), (1, 2, pixels), numbers.device())?;
        let mut x = coordinates.to_dtype(numbers.dtype())?.broadcast_as((batch, 2, pixels))?.contiguous()?;
        let mut first = 0;
        for (i, (inputs, outputs)) in self.layers().enumerate() {
            let weights = numbers.narrow(1, first, inputs * outputs)?.contiguous()?;
            let bias = numbers.narrow(1, first + inputs * outputs, outputs)?.contiguous()?;
            x = weights.reshape((batch, outputs, inputs))?.matmul(&x)?;
            x = x.broadcast_add(&bias.reshape((batch, outputs, 1))?)?;
            if i + 1 < LAYERS {
                let bent = x.tanh()?;
                x = Tensor::cat(&[(&bent / PARTS.0)?, (bent.sqr()? / PARTS.1)?], 1)?;
            }
            first += (inputs + 1) * outputs;
        }
        x.reshape((batch, self.channels, self.height, self.width))
    }

    /// No network is known that draws a given picture.
    fn invert(&self, _: &[f32]) -> Option<Vec<f32>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradient, random};

    #[test]
    fn it_starts_grey_and_its_gradients_are_those_of_central_differences() {
        let cppn = Cppn::new([1, 3, 4]);
        let start = cppn.start(Seed(1), "a");
        let x = Tensor::from_slice(&start, (1, start.len()), &candle_core::Device::Cpu).unwrap();
        let y = cppn.apply(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(y.iter().all(|v| *v == 0.0));
        // The last layer alone: all numbers are too many for central differences.
        let rest = x.to_dtype(candle_core::DType::F64).unwrap().narrow(1, 0, start.len() - 49).unwrap();
        gradient(&random(&[1, 49], 2), 1e-6, |last| cppn.apply(&Tensor::cat(&[&rest, last], 1)?));
        let behind = random(&[1, start.len() - 72], 3);
        gradient(&random(&[1, 72], 2), 1e-4, |first| cppn.apply(&Tensor::cat(&[first, &behind], 1)?));
    }
}
