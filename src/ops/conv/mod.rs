//! Two-dimensional convolution with groups, stride, dilation and padding; bias, residual and non-linearity fused in.
//!
//! On the CPU: depthwise convolutions have a direct kernel; 3x3 ones with stride 1 go by Winograd's algorithm where that
//! is less work; all others are products of the weights with windows that are laid out for a core's cache, or with planes as
//! they lie where the kernel is 1x1 or channels are few. Elsewhere: candle's own operations.

mod depthwise;
mod direct;
mod finish;
mod forward;
mod gradient;
mod planes;
mod source;
mod weights;
mod windows;
pub(crate) mod winograd;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};
use half::bf16;
use serde::Serialize;

use self::finish::Finish;
use self::winograd::Fast;
use super::prepared::Prepared;
use super::{
    Activation, Real, composed, expect_shape, is_constant, to_vec, unsupported, values, with_option, with_values,
};

/// Zeros around the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Padding {
    /// Rows above and below, columns left and right.
    Explicit([usize; 4]),
    /// TensorFlow's SAME: output size `ceil(input / stride)`, the odd row or column below and right.
    Same,
}

/// Geometry of a convolution, and what happens to its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Conv2d {
    /// Step between windows.
    pub stride: usize,
    /// Step between a window's taps.
    pub dilation: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Zeros around the input.
    pub padding: Padding,
    /// Applied to the sum and its bias.
    pub activation: Activation,
}

impl Default for Conv2d {
    fn default() -> Self {
        let padding = Padding::Explicit([0; 4]);
        Self { stride: 1, dilation: 1, groups: 1, padding, activation: Activation::None }
    }
}

/// Sizes of a convolution at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    batch: usize,
    groups: usize,
    /// Channels of a group that come in, and of all groups.
    channels: usize,
    all_channels: usize,
    /// Channels of a group that go out.
    out: usize,
    input: (usize, usize),
    output: (usize, usize),
    kernel: (usize, usize),
    stride: usize,
    dilation: usize,
    /// Zeros above and left.
    top: usize,
    left: usize,
}

impl Geometry {
    /// Numbers in a window.
    fn depth(&self) -> usize {
        self.channels * self.taps()
    }

    fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// Positions of a plane that goes out.
    fn size(&self) -> usize {
        self.output.0 * self.output.1
    }

    /// Positions of a plane that comes in.
    fn input_size(&self) -> usize {
        self.input.0 * self.input.1
    }

    /// Length of a padded input row, split by column modulo stride.
    fn pitch(&self) -> usize {
        self.output.1 + (self.kernel.1 - 1) * self.dilation / self.stride
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.channels == 1 && self.out == 1
    }

    fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == 1 && (self.top, self.left) == (0, 0) && self.input == self.output
    }

    fn shape(&self) -> [usize; 4] {
        [self.batch, self.groups * self.out, self.output.0, self.output.1]
    }
}

impl Conv2d {
    fn pads(&self, size: (usize, usize), kernel: (usize, usize)) -> [usize; 4] {
        match self.padding {
            Padding::Explicit(pads) => pads,
            Padding::Same => {
                let total = |size: usize, kernel: usize| {
                    let span = (size.div_ceil(self.stride) - 1) * self.stride + (kernel - 1) * self.dilation + 1;
                    span.saturating_sub(size)
                };
                let (rows, columns) = (total(size.0, kernel.0), total(size.1, kernel.1));
                [rows / 2, rows - rows / 2, columns / 2, columns - columns / 2]
            }
        }
    }

    fn geometry(&self, x: &[usize], w: &[usize]) -> Result<Geometry> {
        let (&[batch, all_channels, height, width], &[out, channels, kh, kw]) = (x, w) else {
            candle_core::bail!(
                "conv2d: wanted x [batch, channel, height, width] and w [out, in, kh, kw], got {x:?}, {w:?}"
            )
        };
        if channels * self.groups != all_channels || out % self.groups != 0 {
            candle_core::bail!("conv2d: {all_channels} channels in {} groups do not fit weights {w:?}", self.groups)
        }
        let [top, bottom, left, right] = self.pads((height, width), (kh, kw));
        let span = |size: usize, pad: usize, kernel: usize| (size + pad).checked_sub((kernel - 1) * self.dilation + 1);
        let (Some(rows), Some(columns)) = (span(height, top + bottom, kh), span(width, left + right, kw)) else {
            candle_core::bail!("conv2d: a {kh}x{kw} kernel does not fit an input of {height}x{width}")
        };
        Ok(Geometry {
            batch,
            groups: self.groups,
            channels,
            all_channels,
            out: out / self.groups,
            input: (height, width),
            output: (rows / self.stride + 1, columns / self.stride + 1),
            kernel: (kh, kw),
            stride: self.stride,
            dilation: self.dilation,
            top,
            left,
        })
    }
}

/// `activation(x * w + bias)`: x `[batch, in, height, width]`, w `[out, in / groups, kh, kw]`, bias `[out]`. x and w are
/// f32, f64 or bf16; with bf16 the bias is f32, and so are the sums.
///
/// # Errors
/// When the shapes do not fit.
pub fn conv2d(x: &Tensor, w: &Tensor, bias: &Tensor, conv: &Conv2d) -> Result<Tensor> {
    conv2d_prepared(x, w, bias, None, conv, &Arc::default())
}

/// The same, `activation(x * w + bias + residual)`, with forms of the weights that are kept for the next time.
pub(crate) fn conv2d_prepared(
    x: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    conv: &Conv2d,
    prepared: &Arc<Prepared>,
) -> Result<Tensor> {
    let geometry = conv.geometry(x.dims(), w.dims())?;
    expect_shape("conv2d: the bias", bias, &w.dims()[..1])?;
    if !conv.activation.fuses() || (residual.is_some() && (composed::wanted(x) || !is_constant(&[x, w, bias]))) {
        let y = conv2d_prepared(x, w, bias, None, &Conv2d { activation: Activation::None, ..*conv }, prepared)?;
        return conv.activation.apply(&residual.map_or_else(|| Ok(y.clone()), |r| y.add(r))?);
    }
    if composed::wanted(x) {
        return composed::conv::conv2d(x, w, bias, conv, conv.pads(geometry.input, geometry.kernel));
    }
    let (x, w, bias) = (x.contiguous()?, w.contiguous()?, bias.contiguous()?);
    if is_constant(&[&x, &w, &bias]) {
        return match x.dtype() {
            DType::F32 => run::<f32>(conv, &geometry, [&x, &w, &bias], residual, prepared),
            DType::F64 => run::<f64>(conv, &geometry, [&x, &w, &bias], residual, prepared),
            DType::BF16 => run::<bf16>(conv, &geometry, [&x, &w, &bias], residual, prepared),
            other => Err(unsupported("conv2d", other)),
        };
    }
    x.apply_op3(&w, &bias, *conv)
}

/// Gradient of a convolution's input, from its result y and the gradient of that, without candle's graph; `sum`, what the
/// input's other users have passed, is added. On the CPU; `None` elsewhere.
pub(crate) fn conv2d_input_gradient(
    input: &[usize],
    w: &Tensor,
    (y, gradient): (&Tensor, &Tensor),
    sum: Option<&Tensor>,
    conv: &Conv2d,
    prepared: &Prepared,
) -> Result<Option<Tensor>> {
    let geometry = conv.geometry(input, w.dims())?;
    expect_shape("conv2d: the result", y, &geometry.shape())?;
    expect_shape("conv2d: the gradient", gradient, &geometry.shape())?;
    if let Some(sum) = sum {
        expect_shape("conv2d: the gradient's other part", sum, input)?;
    }
    // Weights in training change: forms of them are not to be kept.
    let fresh = Prepared::default();
    let prepared = if w.track_op() { &fresh } else { prepared };
    match (!composed::wanted(y) && conv.activation.fuses(), y.dtype()) {
        (true, DType::F32) => to_input::<f32>(conv, &geometry, w, (y, gradient), sum, prepared).map(Some),
        (true, DType::F64) => to_input::<f64>(conv, &geometry, w, (y, gradient), sum, prepared).map(Some),
        _ => Ok(None),
    }
}

/// Gradients of a convolution's weights `[out, in / groups, kh, kw]` and, where there is one, bias `[out]`, from that of its
/// sum, before any non-linearity; on the CPU.
pub(crate) fn conv2d_weight_gradient(
    x: &Tensor,
    w: &[usize],
    bias: bool,
    gradient: &Tensor,
    conv: &Conv2d,
) -> Result<(Tensor, Option<Tensor>)> {
    fn run<T: Real>(
        g: &Geometry,
        x: &Tensor,
        w: &[usize],
        bias: bool,
        gradient: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        with_values::<T, _>(x, |x| {
            with_values::<T, _>(gradient, |gradient| {
                let to_w = Tensor::from_vec(weights::weight_gradient(g, x, gradient), w, &Device::Cpu)?;
                let to_b = || Tensor::from_vec(weights::bias_gradient(g, gradient), w[0], &Device::Cpu);
                Ok((to_w, bias.then(to_b).transpose()?))
            })
        })
    }
    let geometry = conv.geometry(x.dims(), w)?;
    expect_shape("conv2d: the gradient", gradient, &geometry.shape())?;
    match x.dtype() {
        DType::F32 => run::<f32>(&geometry, x, w, bias, gradient),
        DType::F64 => run::<f64>(&geometry, x, w, bias, gradient),
        other => Err(unsupported("conv2d", other)),
    }
}

fn run<V: Fast>(
    conv: &Conv2d,
    g: &Geometry,
    [x, w, bias]: [&Tensor; 3],
    residual: Option<&Tensor>,
    prepared: &Prepared,
) -> Result<Tensor> {
    let residual = residual.map(Tensor::contiguous).transpose()?;
    if let Some(residual) = &residual {
        expect_shape("conv2d: the residual", residual, &g.shape())?;
    }
    let y = with_values::<V, _>(x, |x| {
        with_values::<V, _>(w, |w| {
            with_values::<V::Sum, _>(bias, |bias| {
                with_option(residual.as_ref(), |residual| {
                    let finish = Finish { bias: Some(bias), residual, activation: conv.activation };
                    forward::forward(g, x, w, &finish, prepared)
                })
            })
        })
    })?;
    Tensor::from_vec(y, &g.shape(), &Device::Cpu)
}

fn to_input<T: Real>(
    conv: &Conv2d,
    g: &Geometry,
    w: &Tensor,
    (y, gradient): (&Tensor, &Tensor),
    sum: Option<&Tensor>,
    prepared: &Prepared,
) -> Result<Tensor> {
    let [w, y, gradient] = [w.contiguous()?, y.contiguous()?, gradient.contiguous()?];
    let sum = sum.map(Tensor::contiguous).transpose()?;
    let x = with_values::<T, _>(&w, |w| {
        with_values::<T, _>(&y, |y| {
            with_values::<T, _>(&gradient, |gradient| {
                with_option(sum.as_ref(), |sum| {
                    gradient::input_gradient(g, w, (y, gradient), conv.activation, sum, prepared)
                })
            })
        })
    })?;
    Tensor::from_vec(x, (g.batch, g.all_channels, g.input.0, g.input.1), &Device::Cpu)
}

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "cavern-conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(conv: &Conv2d, g: &Geometry, [x, w, b]: [&[T]; 3]) -> Result<Vec<T>> {
            let finish = Finish { bias: Some(b), residual: None, activation: conv.activation };
            forward::forward(g, x, w, &finish, &Prepared::default())
        }
        let (g, op) = (self.geometry(lx.dims(), lw.dims())?, self.name());
        let storage = match x {
            CpuStorage::F32(_) => {
                CpuStorage::F32(run(self, &g, [values(x, lx, op)?, values(w, lw, op)?, values(b, lb, op)?])?)
            }
            CpuStorage::F64(_) => {
                CpuStorage::F64(run(self, &g, [values(x, lx, op)?, values(w, lw, op)?, values(b, lb, op)?])?)
            }
            other => return Err(unsupported(op, candle_core::backend::BackendStorage::dtype(other))),
        };
        Ok((storage, Shape::from(&g.shape()[..])))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let geometry = self.geometry(x.dims(), w.dims())?;
        match x.dtype() {
            DType::F32 => gradients::<f32>(self, &geometry, [x, w, b], y, gradient),
            DType::F64 => gradients::<f64>(self, &geometry, [x, w, b], y, gradient),
            other => Err(unsupported(self.name(), other)),
        }
    }
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

fn gradients<T: Real>(
    conv: &Conv2d,
    g: &Geometry,
    [x, w, b]: [&Tensor; 3],
    y: &Tensor,
    gradient: &Tensor,
) -> Result<Gradients> {
    // Only what is trained or optimised needs a gradient; candle drops the rest after it was computed.
    let to_x = x.track_op().then(|| to_input::<T>(conv, g, w, (y, gradient), None, &Prepared::default()));
    if !w.track_op() && !b.track_op() {
        return Ok((to_x.transpose()?, None, None));
    }
    let mut values: Vec<T> = to_vec(gradient)?;
    finish::mask(&mut values, &to_vec::<T>(y)?, conv.activation);
    let to_w = w.track_op().then(|| -> Result<Tensor> {
        Tensor::from_vec(weights::weight_gradient(g, &to_vec::<T>(x)?, &values), w.dims(), w.device())
    });
    let to_b = b.track_op().then(|| Tensor::from_vec(weights::bias_gradient(g, &values), b.dims(), b.device()));
    Ok((to_x.transpose()?, to_w.transpose()?, to_b.transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use proptest::prelude::*;

    /// Straight from the definition.
    fn naive(x: &Tensor, w: &Tensor, b: &Tensor, conv: &Conv2d) -> Tensor {
        let s = conv.geometry(x.dims(), w.dims()).unwrap();
        let (x, w, b): (Vec<f64>, Vec<f64>, Vec<f64>) = (to_vec(x).unwrap(), to_vec(w).unwrap(), to_vec(b).unwrap());
        let (channels, (height, width)) = (s.all_channels, s.input);
        let (out, (rows, columns)) = (s.groups * s.out, s.output);
        let per_group = channels / conv.groups;
        let mut y = Vec::new();
        for (n, o, r, c) in (0..s.batch).flat_map(|n| {
            (0..out).flat_map(move |o| (0..rows).flat_map(move |r| (0..columns).map(move |c| (n, o, r, c))))
        }) {
            let mut sum = b[o];
            for k in 0..per_group {
                for i in 0..s.kernel.0 {
                    for j in 0..s.kernel.1 {
                        let line = (r * conv.stride + i * conv.dilation).wrapping_sub(s.top);
                        let column = (c * conv.stride + j * conv.dilation).wrapping_sub(s.left);
                        if line < height && column < width {
                            let channel = o / (out / conv.groups) * per_group + k;
                            let weight = w[((o * per_group + k) * s.kernel.0 + i) * s.kernel.1 + j];
                            sum += weight * x[((n * channels + channel) * height + line) * width + column];
                        }
                    }
                }
            }
            y.push(match conv.activation {
                Activation::None | Activation::Gelu => sum,
                Activation::Relu => sum.max(0.0),
                Activation::Relu6 => sum.clamp(0.0, 6.0),
            });
        }
        Tensor::from_vec(y, (s.batch, out, rows, columns), x_device()).unwrap()
    }

    fn x_device() -> &'static Device {
        &Device::Cpu
    }

    fn case(batch: usize, conv: Conv2d, channels: usize, out: usize, kernel: (usize, usize), size: (usize, usize)) {
        let x = random(&[batch, channels, size.0, size.1], 1);
        let w = random(&[out, channels / conv.groups, kernel.0, kernel.1], 2);
        let b = random(&[out], 3);
        let wanted = naive(&x, &w, &b, &conv);
        let got = conv2d(&x, &w, &b, &conv).unwrap();
        assert!(distance(&wanted, &got) < 1e-12, "{conv:?} {channels} {out} {kernel:?} {size:?}");
        let single = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let got = conv2d(&single(&x), &single(&w), &single(&b), &conv).unwrap().to_dtype(DType::F64).unwrap();
        assert!(distance(&wanted, &got) < 1e-5, "f32 {conv:?} {channels} {out} {kernel:?} {size:?}");
        let sizes = conv.geometry(x.dims(), w.dims()).unwrap();
        let other = composed::conv::conv2d(&x, &w, &b, &conv, conv.pads(sizes.input, sizes.kernel)).unwrap();
        assert!(distance(&wanted, &other) < 1e-12, "composed {conv:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_the_definition(
            batch in 1usize..6, stride in 1usize..4, dilation in 1usize..3, kernel in (1usize..6, 1usize..6),
            size in (11usize..20, 11usize..37), pads in (0usize..3, 0usize..3, 0usize..3, 0usize..3), form in 0usize..4, same: bool,
        ) {
            let (groups, channels, out) = [(1, 3, 4), (2, 4, 6), (5, 5, 5), (3, 3, 6)][form];
            let padding = if same { Padding::Same } else { Padding::Explicit([pads.0, pads.1, pads.2, pads.3]) };
            let activation = [Activation::None, Activation::Relu, Activation::Relu6, Activation::None][form];
            case(batch, Conv2d { stride, dilation, groups, padding, activation }, channels, out, kernel, size);
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        for (form, (groups, channels, out)) in [(1, 3, 4), (2, 4, 6), (5, 5, 5)].into_iter().enumerate() {
            for (kernel, stride, dilation) in [((1, 1), 1, 1), ((3, 3), 2, 1), ((3, 2), 1, 2), ((5, 5), 1, 1)] {
                let activation = [Activation::Relu6, Activation::None, Activation::Relu][form];
                let conv = Conv2d { stride, dilation, groups, padding: Padding::Same, activation };
                let x = random(&[2, channels, 5, 6], 4);
                let w = random(&[out, channels / groups, kernel.0, kernel.1], 5);
                let b = random(&[out], 6);
                gradient(&x, 1e-6, |x| conv2d(x, &w, &b, &conv));
                gradient(&w, 1e-6, |w| conv2d(&x, w, &b, &conv));
                gradient(&b, 1e-6, |b| conv2d(&x, &w, b, &conv));
            }
        }
    }

    #[test]
    fn single_precision_keeps_to_a_bound_forward_and_backward() {
        for (channels, out, kernel, stride, groups, size) in [
            (40, 32, 3, 1, 1, (17, 13)),
            (24, 40, 1, 1, 1, (9, 11)),
            (24, 16, 1, 2, 1, (14, 15)),
            (16, 24, 3, 2, 1, (14, 15)),
            (3, 16, 7, 2, 1, (31, 33)),
            (12, 12, 5, 1, 12, (15, 15)),
            (8, 12, 3, 1, 4, (15, 10)),
        ] {
            let conv =
                Conv2d { stride, groups, padding: Padding::Same, activation: Activation::Relu6, ..Conv2d::default() };
            let x = candle_core::Var::from_tensor(&random(&[3, channels, size.0, size.1], 1)).unwrap();
            let (w, b) = (random(&[out, channels / groups, kernel, kernel], 2), random(&[out], 3));
            let y = composed::force(|| conv2d(&x, &w, &b, &conv)).unwrap();
            let (g, sum) = (random(y.dims(), 4), random(x.dims(), 5));
            let wanted = y.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
            let wanted = (wanted.get(&x).unwrap() + &sum).unwrap();
            for (kind, bound) in [(DType::F64, 1e-11), (DType::F32, 3e-6)] {
                let [x, w, b, g, sum] = [x.as_tensor(), &w, &b, &g, &sum].map(|t| t.to_dtype(kind).unwrap().detach());
                let prepared = Arc::default();
                let got = conv2d_prepared(&x, &w, &b, None, &conv, &prepared).unwrap();
                let off = distance(&got.to_dtype(DType::F64).unwrap(), &y);
                // The result decides what passes: give the exact one, so that no ReLU flips.
                let exact = y.to_dtype(kind).unwrap();
                let to_x = conv2d_input_gradient(x.dims(), &w, (&exact, &g), Some(&sum), &conv, &prepared).unwrap();
                let back = distance(&to_x.unwrap().to_dtype(DType::F64).unwrap(), &wanted);
                let scale = 1.0 + (channels * kernel * kernel / groups) as f64;
                assert!(off < bound * scale && back < bound * scale, "{kind:?} {conv:?}: {off:e} {back:e}");
            }
        }
    }

    #[test]
    fn short_numbers_keep_to_a_bound() {
        for (channels, out, kernel, stride, groups) in [(27, 16, 3, 1, 1), (24, 16, 1, 1, 1), (12, 12, 3, 2, 12)] {
            let conv = Conv2d { stride, groups, padding: Padding::Same, ..Conv2d::default() };
            let (x, w) = (random(&[2, channels, 9, 9], 1), random(&[out, channels / groups, kernel, kernel], 2));
            let b = random(&[out], 3);
            let [x, w] = [x, w].map(|t| t.to_dtype(DType::BF16).unwrap());
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let wanted = conv2d(&wide(&x), &wide(&w), &b, &conv).unwrap();
            let got = conv2d(&x, &w, &b.to_dtype(DType::F32).unwrap(), &conv).unwrap();
            assert_eq!(got.dtype(), DType::BF16);
            let largest = distance(&wanted, &wanted.zeros_like().unwrap());
            assert!(distance(&wide(&got), &wanted) < largest / 200.0, "{conv:?}");
        }
    }

    #[test]
    fn same_padding_puts_the_odd_row_below() {
        let conv = Conv2d { stride: 2, padding: Padding::Same, ..Conv2d::default() };
        assert_eq!(conv.pads((224, 224), (3, 3)), [0, 1, 0, 1]);
        assert_eq!(conv.pads((112, 112), (5, 5)), [1, 2, 1, 2]);
        assert_eq!(conv.pads((7, 8), (3, 3)), [1, 1, 0, 1]);
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let (x, w, b) = (random(&[2, 8, 33, 31], 1), random(&[16, 8, 3, 3], 2), random(&[16], 3));
        let [x, w, b] = [x, w, b].map(|t| t.to_dtype(DType::F32).unwrap());
        let conv = Conv2d { padding: Padding::Same, ..Conv2d::default() };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let x = candle_core::Var::from_tensor(&x).unwrap();
                let y = conv2d(&x, &w, &b, &conv).unwrap();
                let grad = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                (to_vec::<f32>(&y).unwrap(), to_vec::<f32>(grad.get(&x).unwrap()).unwrap())
            })
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn windows_and_planes_give_the_same_bytes() {
        for (groups, stride, kernel, channels, out) in
            [(1, 1, 3, 5, 12), (1, 2, 3, 8, 20), (2, 1, 5, 6, 8), (1, 3, 4, 3, 9)]
        {
            let conv =
                Conv2d { groups, stride, padding: Padding::Same, activation: Activation::Relu, ..Conv2d::default() };
            let (x, w) = (random(&[2, channels, 13, 11], 1), random(&[out, channels / groups, kernel, kernel], 2));
            let [x, w, b] = [x, w, random(&[out], 3)].map(|t| t.to_dtype(DType::F32).unwrap());
            // With more threads than pictures, windows are laid out.
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    assert_eq!(direct::pays(&conv.geometry(x.dims(), w.dims()).unwrap()), threads == 1);
                    let y = conv2d(&x, &w, &b, &conv).unwrap();
                    let g = (y.clone() - 0.5).unwrap();
                    let to_x = conv2d_input_gradient(x.dims(), &w, (&y, &g), None, &conv, &Prepared::default());
                    [y, to_x.unwrap().unwrap()]
                        .map(|t| to_vec::<f32>(&t).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>())
                })
            };
            assert_eq!(run(1), run(5));
        }
    }

    #[test]
    fn weights_that_are_kept_give_the_same_bytes() {
        // Few positions: kept weights are read in another form.
        for (groups, stride, kernel, pad) in [(1, 1, 1, 0), (1, 1, 3, 0), (1, 2, 3, 1), (2, 1, 1, 0)] {
            let padding = Padding::Explicit([pad; 4]);
            let conv = Conv2d { groups, stride, padding, activation: Activation::Relu, ..Conv2d::default() };
            let (x, w) = (random(&[1, 216, 7, 7], 1), random(&[216, 216 / groups, kernel, kernel], 2));
            let [x, w, b] = [x, w, random(&[216], 3)].map(|t| t.to_dtype(DType::F32).unwrap());
            let run = |prepared: Prepared| {
                let prepared = Arc::new(prepared);
                let y = conv2d_prepared(&x, &w, &b, None, &conv, &prepared).unwrap();
                let g = (y.clone() - 0.5).unwrap();
                let to_x = conv2d_input_gradient(x.dims(), &w, (&y, &g), None, &conv, &prepared).unwrap().unwrap();
                [y, to_x].map(|t| to_vec::<f32>(&t).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>())
            };
            assert_eq!(run(Prepared::default()), run(Prepared::kept()));
        }
    }

    #[test]
    fn an_empty_batch_has_an_empty_result() {
        for (groups, stride, kernel) in [(1, 1, 1), (1, 1, 3), (1, 2, 3), (8, 1, 3)] {
            let conv = Conv2d { groups, stride, padding: Padding::Same, ..Conv2d::default() };
            let x = Tensor::zeros((0, 8, 9, 9), DType::F32, &Device::Cpu).unwrap();
            let w = random(&[8, 8 / groups, kernel, kernel], 1).to_dtype(DType::F32).unwrap();
            let y = conv2d(&x, &w, &Tensor::zeros(8, DType::F32, &Device::Cpu).unwrap(), &conv).unwrap();
            assert_eq!(y.dim(0).unwrap(), 0);
            let to_x = conv2d_input_gradient(x.dims(), &w, (&y, &y), None, &conv, &Prepared::default()).unwrap();
            assert_eq!(to_x.unwrap().dims(), x.dims());
        }
    }

    #[test]
    fn weights_in_training_leave_no_form_behind() {
        let w = candle_core::Var::from_tensor(&random(&[4, 3, 3, 3], 1)).unwrap();
        let (x, prepared) = (random(&[1, 3, 5, 5], 2), Arc::default());
        let back = || {
            let conv = Conv2d::default();
            let y = conv2d(&x, &w, &random(&[4], 3), &conv).unwrap().detach();
            conv2d_input_gradient(x.dims(), &w, (&y, &y.ones_like().unwrap()), None, &conv, &prepared).unwrap().unwrap()
        };
        let before = back();
        w.set(&(w.as_tensor() * 2.0).unwrap()).unwrap();
        assert!(distance(&back(), &(before * 2.0).unwrap()) < 1e-12);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let (x, b) = (random(&[1, 3, 4, 4], 1), random(&[2], 2));
        assert!(conv2d(&x, &random(&[2, 4, 1, 1], 3), &b, &Conv2d::default()).is_err());
        assert!(conv2d(&x, &random(&[2, 3, 5, 5], 3), &b, &Conv2d::default()).is_err());
        let (w, conv, prepared) = (random(&[2, 3, 1, 1], 3), Conv2d::default(), Arc::default());
        let message = |r: Result<Tensor>| r.unwrap_err().to_string();
        assert!(message(conv2d(&x, &w, &random(&[3], 2), &conv)).contains("bias"));
        let residual = conv2d_prepared(&x, &w, &b, Some(&random(&[1, 2, 4, 3], 4)), &conv, &prepared);
        assert!(message(residual).contains("residual"));
        let (y, short) = (random(&[1, 2, 4, 4], 5), random(&[1, 2, 3, 4], 6));
        let back = |y: &Tensor, g: &Tensor, sum| conv2d_input_gradient(x.dims(), &w, (y, g), sum, &conv, &prepared);
        assert!(back(&y, &short, None).is_err() && back(&short, &y, None).is_err() && back(&y, &y, Some(&y)).is_err());
    }
}
