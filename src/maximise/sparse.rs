//! Sparse linear maps of pictures, as candle operations that every device has.
//!
//! A map and its transpose are both gathers. candle's gradient of a gather is not used: on CUDA it runs one thread for
//! each channel.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// For every picture a linear map of its `size` pixels, the same for all channels.
#[derive(Debug)]
pub(super) struct Sparse {
    size: usize,
    /// For every picture its entries.
    pictures: Vec<Vec<Entry>>,
}

/// `y[to] += weight * x[from]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) to: usize,
    pub(super) from: usize,
    pub(super) weight: f64,
}

impl Sparse {
    pub(super) fn new(size: usize, pictures: Vec<Vec<Entry>>) -> Self {
        Self { size, pictures }
    }

    /// The transposed maps.
    pub(super) fn transposed(&self) -> Self {
        let swap = |e: &Entry| Entry { to: e.from, from: e.to, weight: e.weight };
        Self { size: self.size, pictures: self.pictures.iter().map(|p| p.iter().map(swap).collect()).collect() }
    }

    /// Applies the maps to `[batch, channel, size]`.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, size) = x.dims3()?;
        let (terms, index, weights) = self.table();
        let index = Tensor::from_vec(index, (batch, 1, terms * size), x.device())?;
        let index = index.broadcast_as((batch, channels, terms * size))?.contiguous()?;
        let weights = Tensor::from_vec(weights, (batch, 1, terms, size), x.device())?.to_dtype(x.dtype())?;
        let values = x.contiguous()?.gather(&index, 2)?.reshape((batch, channels, terms, size))?;
        values.broadcast_mul(&weights)?.sum(2)
    }

    /// Terms of a pixel at most, and for every picture, term and pixel where it comes from and its weight.
    fn table(&self) -> (usize, Vec<u32>, Vec<f64>) {
        let mut used = vec![0; self.pictures.len() * self.size];
        for (entries, used) in self.pictures.iter().zip(used.chunks_exact_mut(self.size)) {
            entries.iter().for_each(|e| used[e.to] += 1);
        }
        let terms = used.iter().copied().max().unwrap_or(0).max(1);
        let length = terms * self.size;
        let (mut index, mut weights) = (vec![0; self.pictures.len() * length], vec![0.0; self.pictures.len() * length]);
        used.fill(0);
        for (i, entries) in self.pictures.iter().enumerate() {
            for e in entries {
                let term = &mut used[i * self.size + e.to];
                let at = i * length + *term * self.size + e.to;
                (index[at], weights[at]) = (e.from as u32, e.weight);
                *term += 1;
            }
        }
        (terms, index, weights)
    }
}

/// The values of y as a function of x whose gradient is `gradient(gradient of y)`.
pub(super) fn with_gradient(
    x: &Tensor,
    y: &Tensor,
    gradient: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op2(&y.detach().force_contiguous()?, WithGradient(gradient))
}

struct WithGradient<F>(F);

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync> CustomOp2 for WithGradient<F> {
    fn name(&self) -> &'static str {
        "cavern-with-gradient"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, y: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((y.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, y: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((y.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some((self.0)(gradient)?), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradient, random};

    #[test]
    fn entries_of_one_pixel_add_up() {
        let entry = |to, from, weight| Entry { to, from, weight };
        let map = Sparse::new(3, vec![vec![entry(0, 2, 0.5), entry(0, 2, 1.0), entry(0, 1, 2.0), entry(2, 0, -1.0)]]);
        let x = Tensor::new(&[[[1f64, 10.0, 100.0], [2.0, 3.0, 4.0]]], &candle_core::Device::Cpu).unwrap();
        let values = |t: Tensor| t.squeeze(0).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(values(map.apply(&x).unwrap()), [[170.0, 0.0, -1.0], [12.0, 0.0, -2.0]]);
        assert_eq!(values(map.transposed().apply(&x).unwrap()), [[-100.0, 2.0, 1.5], [-4.0, 4.0, 3.0]]);
    }

    #[test]
    fn a_gradient_is_the_one_given() {
        gradient(&random(&[2, 3], 1), 1e-6, |x| {
            let y = (x.detach().t()? * 3.0)?;
            with_gradient(x, &y, |g| g.t()? * 3.0)
        });
    }
}
