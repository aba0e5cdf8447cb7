//! Convolution out of candle's operations.
//!
//! candle's own runs one convolution for each group, and its gradient is no use to us: it fails where the stride leaves
//! over another number of rows than of columns, always includes that of the weights, and is a plain loop on CUDA. So it
//! serves where no gradient is asked for and channels are not grouped (by cuDNN where that is built in). All else is a
//! product of weights and windows, or, depthwise, a sum over the kernel's places.

use candle_core::{Result, Tensor};

use super::{Windows, surround};
use crate::ops::Conv2d;

/// `activation(x * w + bias)` of shapes that fit, with `pad` rows above and below, columns left and right.
pub(crate) fn conv2d(x: &Tensor, w: &Tensor, bias: &Tensor, conv: &Conv2d, pad: [usize; 4]) -> Result<Tensor> {
    let (out, per_group, height, width) = w.dims4()?;
    let bias = bias.reshape((1, out, 1, 1))?.to_dtype(x.dtype())?;
    let plain = conv.groups == 1 && height * width > 1 && !x.track_op() && !w.track_op();
    let y = if per_group == 1 && out == conv.groups {
        depthwise(&windows(x, w, conv, pad)?, w, &bias)?
    } else if plain {
        forward(x, w, conv, pad)?.broadcast_add(&bias)?
    } else {
        product(&windows(x, w, conv, pad)?, w, conv.groups)?.broadcast_add(&bias)?
    };
    conv.activation.apply(&y)
}

fn windows(x: &Tensor, w: &Tensor, conv: &Conv2d, pad: [usize; 4]) -> Result<Windows> {
    let (_, _, height, width) = w.dims4()?;
    Windows::new(&surround(x, pad)?, [height, width], conv.stride, conv.dilation)
}

/// candle's own.
fn forward(x: &Tensor, w: &Tensor, conv: &Conv2d, pad: [usize; 4]) -> Result<Tensor> {
    let (x, pad) = if pad == [pad[0]; 4] { (x.contiguous()?, pad[0]) } else { (surround(x, pad)?, 0) };
    x.conv2d(&w.contiguous()?, pad, conv.stride, conv.dilation, 1)
}

/// Every place of the kernel adds its slice times its weight.
fn depthwise(windows: &Windows, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let w = w.flatten_from(1)?;
    windows.taps().enumerate().try_fold(bias.clone(), |sum, (place, tap)| {
        let weight = w.narrow(1, place, 1)?.reshape(bias.dims())?;
        sum.broadcast_add(&tap?.broadcast_mul(&weight)?)
    })
}

/// For every picture and group `[out, in * places] [in * places, positions]`.
fn product(windows: &Windows, w: &Tensor, groups: usize) -> Result<Tensor> {
    let taps = Tensor::stack(&windows.taps().collect::<Result<Vec<_>>>()?, 2)?;
    let (batch, channels, places, height, width) = taps.dims5()?;
    let (out, depth) = (w.dim(0)?, channels * places / groups);
    let w = w.reshape((1, groups, out / groups, depth))?.broadcast_as((batch, groups, out / groups, depth))?;
    // One group's weights stay where they are for every picture; those of several have to be laid out.
    let w = if groups == 1 { w.squeeze(1)? } else { w.reshape((batch * groups, out / groups, depth))? };
    w.matmul(&taps.reshape((batch * groups, depth, height * width))?)?.reshape((batch, out, height, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::composed::force;
    use crate::ops::{Activation, Padding, conv2d};
    use candle_core::{DType, Var};
    use proptest::prelude::*;

    /// Groups, channels that come in, channels that go out.
    const FORMS: [(usize, usize, usize); 5] = [(1, 3, 4), (2, 4, 6), (5, 5, 5), (3, 3, 6), (1, 1, 1)];

    fn operands(conv: &Conv2d, channels: usize, out: usize, kernel: [usize; 2], x: [usize; 3]) -> [Tensor; 3] {
        let w = random(&[out, channels / conv.groups, kernel[0], kernel[1]], 2);
        [random(&[x[0], channels, x[1], x[2]], 1), w, random(&[out], 3)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_the_kernels(
            x in (1usize..4, 11usize..16, 11usize..18), stride in 1usize..4, dilation in 1usize..3,
            kernel in (1usize..6, 1usize..6), pads in (0usize..3, 0usize..3, 0usize..3, 0usize..3), form in 0usize..5,
            padding in 0usize..3, tracked: bool,
        ) {
            let (groups, channels, out) = FORMS[form];
            let all = Padding::Explicit([pads.0; 4]);
            let padding = [Padding::Same, Padding::Explicit([pads.0, pads.1, pads.2, pads.3]), all][padding];
            let activation = [Activation::None, Activation::Relu, Activation::Relu6][form % 3];
            let conv = Conv2d { stride, dilation, groups, padding, activation };
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
                let operands = operands(&conv, channels, out, [kernel.0, kernel.1], [x.0, x.1, x.2]);
                let [x, w, b] = operands.map(|t| t.to_dtype(dtype).unwrap());
                let x = if tracked { Var::from_tensor(&x).unwrap().into_inner() } else { x };
                let wanted = conv2d(&x, &w, &b, &conv).unwrap();
                let got = force(|| conv2d(&x, &w, &b, &conv)).unwrap();
                let [wanted, got] = [wanted, got].map(|t| t.detach().to_dtype(DType::F64).unwrap());
                prop_assert!(distance(&wanted, &got) < tolerance, "{:?} {:?}", dtype, distance(&wanted, &got));
            }
        }
    }

    #[test]
    fn a_tile_may_start_behind_the_results_of_the_last_row() {
        let padding = Padding::Explicit([1, 2, 0, 0]);
        let conv = Conv2d { dilation: 2, padding, ..Conv2d::default() };
        for images in [2, 7] {
            let [x, w, b] = operands(&conv, 3, 4, [4, 5], [images, 13, 11]);
            let [wanted, got] = [conv2d(&x, &w, &b, &conv), force(|| conv2d(&x, &w, &b, &conv))].map(Result::unwrap);
            assert!(distance(&wanted, &got) < 1e-12);
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        for (form, (groups, channels, out)) in FORMS.into_iter().enumerate() {
            for (kernel, stride, dilation) in
                [([1, 1], 1, 1), ([1, 1], 2, 1), ([3, 3], 2, 1), ([3, 2], 1, 2), ([2, 3], 3, 2)]
            {
                let activation = [Activation::Relu6, Activation::None, Activation::Relu][form % 3];
                let conv = Conv2d { stride, dilation, groups, padding: Padding::Explicit([2, 1, 0, 1]), activation };
                let [x, w, b] = operands(&conv, channels, out, kernel, [2, 5, 6]);
                force(|| {
                    gradient(&x, 1e-6, |x| conv2d(x, &w, &b, &conv));
                    gradient(&w, 1e-6, |w| conv2d(&x, w, &b, &conv));
                    gradient(&b, 1e-6, |b| conv2d(&x, &w, b, &conv));
                });
            }
        }
    }

    #[test]
    fn candles_own_gradient_fails_where_rests_differ() {
        // 5 rows are used whole by 3 x 3 windows two apart, of 6 columns the last is left over. Once this test fails,
        // candle's own convolution may serve with gradients too.
        let x = Var::from_tensor(&random(&[1, 2, 5, 6], 1)).unwrap();
        let y = x.conv2d(&random(&[2, 2, 3, 3], 2), 0, 2, 1, 1).unwrap();
        assert!(y.sum_all().unwrap().backward().is_err());
    }
}
