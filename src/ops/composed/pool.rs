//! Pooling out of candle's operations, one place of the window after the other: candle's own has gradients that are wrong
//! or missing.

use candle_core::{Result, Tensor};

use super::{Windows, surround};
use crate::ops::pool::{Pool2d, Reduce};

/// Pools x `[batch, channel, height, width]`, which the window has to fit.
pub(crate) fn pool2d(x: &Tensor, pool: &Pool2d) -> Result<Tensor> {
    match pool.reduce {
        Reduce::Max => max(x, pool),
        Reduce::Mean => mean(x, pool),
    }
}

/// The largest, the first at a tie; NaN where there is one.
fn max(x: &Tensor, pool: &Pool2d) -> Result<Tensor> {
    let pads = pool.pads(x.dims())?;
    let mut padded = surround(x, pads)?;
    if pads != [0; 4] {
        padded = padded.broadcast_add(&border(x, pads, f32::NEG_INFINITY)?)?;
    }
    let windows = Windows::new(&padded, pool.kernel, pool.stride, 1)?;
    let mut taps = windows.taps();
    let Some(first) = taps.next() else { candle_core::bail!("pool2d: the window is empty: {pool:?}") };
    taps.try_fold(first?, |best, tap| {
        let tap = tap?;
        // Not larger, or the best is NaN: one of the two at most.
        let keep = (tap.le(&best)? + best.ne(&best)?)?;
        keep.where_cond(&best, &tap)
    })
}

fn mean(x: &Tensor, pool: &Pool2d) -> Result<Tensor> {
    let sum = |padded: &Tensor| -> Result<Tensor> {
        let windows = Windows::new(padded, pool.kernel, pool.stride, 1)?;
        let mut taps = windows.taps();
        let Some(first) = taps.next() else { candle_core::bail!("pool2d: the window is empty: {pool:?}") };
        taps.try_fold(first?, |sum, tap| sum + tap?)
    };
    // Values of every window that are not padding.
    let pads = pool.pads(x.dims())?;
    let counts = sum(&(border(x, pads, -1.0)? + 1.0)?)?;
    sum(&surround(x, pads)?)?.broadcast_div(&counts)
}

/// A padded map `[1, 1, height, width]` of zeros with a border of `value`.
fn border(x: &Tensor, [above, below, left, right]: [usize; 4], value: f32) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let (rows, columns) = (above + height + below, left + width + right);
    let inside =
        |i: usize| (above..above + height).contains(&(i / columns)) && (left..left + width).contains(&(i % columns));
    let cell = |i: usize| if inside(i) { 0.0 } else { value };
    let cells: Vec<f32> = (0..rows * columns).map(cell).collect();
    Tensor::from_vec(cells, (1, 1, rows, columns), x.device())?.to_dtype(x.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::composed::force;
    use crate::ops::pool::pool2d;
    use candle_core::{DType, Device, Var};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_the_kernels(
            shape in (1usize..3, 1usize..4, 4usize..12, 4usize..12), kernel in (1usize..5, 1usize..5), stride in 1usize..4,
            padding in 0usize..3, largest: bool, ceil: bool,
        ) {
            let padding = padding.min(kernel.0.min(kernel.1) - 1);
            let reduce = if largest { Reduce::Max } else { Reduce::Mean };
            let pool = Pool2d { reduce, kernel: [kernel.0, kernel.1], stride, padding, ceil };
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-6)] {
                let x = random(&[shape.0, shape.1, shape.2, shape.3], 1).to_dtype(dtype).unwrap();
                let wanted = pool2d(&x, &pool).unwrap().to_dtype(DType::F64).unwrap();
                let got = force(|| pool2d(&x, &pool)).unwrap().to_dtype(DType::F64).unwrap();
                prop_assert!(distance(&wanted, &got) < tolerance, "{:?}", pool);
            }
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        for reduce in [Reduce::Max, Reduce::Mean] {
            for (kernel, stride, padding) in
                [([2, 2], 2, 0), ([3, 3], 2, 1), ([3, 3], 1, 1), ([3, 2], 3, 1), ([7, 8], 1, 0)]
            {
                let pool = Pool2d { reduce, kernel, stride, padding, ceil: false };
                force(|| gradient(&random(&[2, 2, 7, 8], 7), 1e-6, |x| pool2d(x, &pool)));
            }
        }
    }

    #[test]
    fn a_tie_gives_its_gradient_to_the_first_place() {
        let x = Var::from_tensor(&Tensor::zeros((1, 1, 3, 3), DType::F64, &Device::Cpu).unwrap()).unwrap();
        let pool = Pool2d { reduce: Reduce::Max, kernel: [2, 2], stride: 2, padding: 1, ceil: false };
        let run = || {
            let gradients = pool2d(&x, &pool).unwrap().sum_all().unwrap().backward().unwrap();
            gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        assert_eq!(force(run), run());
    }

    #[test]
    fn nan_is_not_lost() {
        let pool = Pool2d { reduce: Reduce::Max, kernel: [2, 2], stride: 2, padding: 0, ceil: false };
        for place in 0..4 {
            let values: Vec<f32> = (0..4).map(|i| if i == place { f32::NAN } else { 1.0 }).collect();
            let x = Tensor::from_vec(values, (1, 1, 2, 2), &Device::Cpu).unwrap();
            let y = force(|| pool2d(&x, &pool)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(y[0].is_nan(), "{place}");
        }
    }
}
