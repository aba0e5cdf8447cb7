//! Two-dimensional convolution with groups, stride, dilation and padding, its bias and non-linearity fused in.
//!
//! On the CPU: a 1x1 convolution is one matrix product an image without copies, a depthwise one a direct kernel, any
//! other a matrix product over tiles of unfolded windows. Elsewhere: candle's own convolution on a padded input.

#![expect(clippy::inline_always, reason = "kernels take the instruction set of the function they are inlined into")]

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::depthwise::{self, Plane};
use super::product::{Matrix, multiply, multiply_new};
use super::vector::{Kernel, dispatch};
use super::{Activation, Real, composed, to_vec, unsupported, values};

/// Unfolded values of one tile: half a megabyte of f32, which a core's own cache holds.
const TILE: usize = 128 << 10;
/// Tasks that there are at least, by cutting channels where there are fewer images than this.
const PIECES: usize = 4;
/// Fewest channels of such a piece.
const LEAST_CHANNELS: usize = 8;
/// Planes of up to this many values are never cut.
const SMALL: usize = 288;
/// Tiles are a multiple of what the matrix product computes together.
const VECTORS: usize = 48;

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
struct Sizes {
    batch: usize,
    /// Channels, height and width that come in and go out.
    input: [usize; 3],
    output: [usize; 3],
    kernel: (usize, usize),
    /// Above, below, left, right.
    pad: [usize; 4],
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

    fn sizes(&self, x: &[usize], w: &[usize]) -> Result<Sizes> {
        let (&[batch, channels, height, width], &[out, per_group, kh, kw]) = (x, w) else {
            candle_core::bail!(
                "conv2d: wanted x [batch, channel, height, width] and w [out, in, kh, kw], got {x:?}, {w:?}"
            )
        };
        if per_group * self.groups != channels || out % self.groups != 0 {
            candle_core::bail!("conv2d: {channels} channels in {} groups do not fit weights {w:?}", self.groups)
        }
        let pad = self.pads((height, width), (kh, kw));
        let span = |size: usize, pad: usize, kernel: usize| (size + pad).checked_sub((kernel - 1) * self.dilation + 1);
        let (Some(rows), Some(columns)) = (span(height, pad[0] + pad[1], kh), span(width, pad[2] + pad[3], kw)) else {
            candle_core::bail!("conv2d: a {kh}x{kw} kernel does not fit an input of {height}x{width}")
        };
        let output = [out, rows / self.stride + 1, columns / self.stride + 1];
        Ok(Sizes { batch, input: [channels, height, width], output, kernel: (kh, kw), pad })
    }
}

/// `activation(x * w + bias)`: x `[batch, in, height, width]`, w `[out, in / groups, kh, kw]`, bias `[out]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn conv2d(x: &Tensor, w: &Tensor, bias: &Tensor, geometry: &Conv2d) -> Result<Tensor> {
    let sizes = geometry.sizes(x.dims(), w.dims())?;
    if composed::wanted(x) {
        return composed::conv::conv2d(x, w, bias, geometry, sizes.pad);
    }
    x.contiguous()?.apply_op3(&w.contiguous()?, &bias.contiguous()?, *geometry)
}

/// Gradient of a convolution's input, from its result y and the gradient of that, without candle's graph: one pass
/// less over memory for each operand. On the CPU; `None` elsewhere.
pub(crate) fn conv2d_input_gradient(
    input: &[usize],
    w: &Tensor,
    y: &Tensor,
    gradient: &Tensor,
    geometry: &Conv2d,
) -> Result<Option<Tensor>> {
    let sizes = geometry.sizes(input, w.dims())?;
    match (y.device().is_cpu(), y.dtype()) {
        (true, DType::F32) => to_input::<f32>(geometry, &sizes, input, w, y, gradient).map(Some),
        (true, DType::F64) => to_input::<f64>(geometry, &sizes, input, w, y, gradient).map(Some),
        _ => Ok(None),
    }
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
        let sizes = self.sizes(lx.dims(), lw.dims())?;
        let [out, height, width] = sizes.output;
        let op = self.name();
        let storage = match x {
            CpuStorage::F32(_) => CpuStorage::F32(forward::<f32>(
                self,
                &sizes,
                values(x, lx, op)?,
                values(w, lw, op)?,
                values(b, lb, op)?,
            )),
            CpuStorage::F64(_) => CpuStorage::F64(forward::<f64>(
                self,
                &sizes,
                values(x, lx, op)?,
                values(w, lw, op)?,
                values(b, lb, op)?,
            )),
            other => return Err(unsupported(op, candle_core::backend::BackendStorage::dtype(other))),
        };
        Ok((storage, (sizes.batch, out, height, width).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = self.sizes(x.dims(), w.dims())?;
        match x.dtype() {
            DType::F32 => gradients::<f32>(self, &sizes, [x, w, b], y, gradient),
            DType::F64 => gradients::<f64>(self, &sizes, [x, w, b], y, gradient),
            other => Err(unsupported(self.name(), other)),
        }
    }
}

/// Memory for `len` values that `write` has to write in full.
fn written<T: Real>(len: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and every kernel of this file writes all of what it is given: products
    // and depthwise results cover each plane, folded gradients start from written zeros. Zeroing first costs a tenth of
    // the forward pass.
    unsafe { values.set_len(len) };
    values
}

/// Channels of one task: all of a group, or a share of them where there are few images, so that every core has work.
/// The results do not depend on it.
fn share(s: &Sizes, groups: usize, channels: usize) -> usize {
    let pieces = PIECES.div_ceil((s.batch * groups).max(1)).min(channels / LEAST_CHANNELS);
    channels.div_ceil(pieces.max(1))
}

fn forward<T: Real>(conv: &Conv2d, s: &Sizes, x: &[T], w: &[T], bias: &[T]) -> Vec<T> {
    let size = s.output[1] * s.output[2];
    written(s.batch * s.output[0] * size, |y| {
        if is_depthwise(conv, s) {
            forward_depthwise(conv, s, x, w, bias, y);
        } else {
            let (m, group) = (s.output[0] / conv.groups, s.input.iter().product::<usize>() / conv.groups);
            let share = share(s, conv.groups, m);
            y.par_chunks_exact_mut(m * size).zip(x.par_chunks_exact(group)).enumerate().for_each(|(i, (y, x))| {
                y.par_chunks_mut(share * size).enumerate().for_each(|(piece, y)| {
                    let first = i % conv.groups * m + piece * share;
                    convolve(conv, s, x, w, bias, first, y);
                });
            });
        }
    })
}

fn forward_depthwise<T: Real>(conv: &Conv2d, s: &Sizes, x: &[T], w: &[T], bias: &[T], y: &mut [MaybeUninit<T>]) {
    let (plane, taps) = (plane(conv, s), s.kernel.0 * s.kernel.1);
    let planes = y.par_chunks_exact_mut(s.output[1] * s.output[2]).zip(x.par_chunks_exact(s.input[1] * s.input[2]));
    planes.enumerate().for_each_init(
        || depthwise::Scratch::forward(&plane),
        |scratch, (i, (y, x))| {
            let c = i % s.output[0];
            let (kernel, bias) = (&w[c * taps..(c + 1) * taps], bias[c]);
            match conv.activation {
                Activation::None => depthwise::forward(&plane, x, kernel, scratch, y, |v| v + bias),
                Activation::Relu => depthwise::forward(&plane, x, kernel, scratch, y, |v| relu(v + bias)),
                Activation::Relu6 => depthwise::forward(&plane, x, kernel, scratch, y, |v| relu6(v + bias)),
            }
        },
    );
}

#[inline(always)]
fn relu<T: Real>(x: T) -> T {
    if x > T::zero() { x } else { T::zero() }
}

#[inline(always)]
fn relu6<T: Real>(x: T) -> T {
    let (x, six) = (relu(x), T::of(6.0));
    if x < six { x } else { six }
}

/// Adds a bias and applies the non-linearity.
struct Finish<'a, T>(&'a mut [T], T, Activation);

impl<T: Real> Kernel for Finish<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self(y, bias, activation) = self;
        match activation {
            Activation::None => y.iter_mut().for_each(|v| *v += bias),
            Activation::Relu => y.iter_mut().for_each(|v| *v = relu(*v + bias)),
            Activation::Relu6 => y.iter_mut().for_each(|v| *v = relu6(*v + bias)),
        }
    }
}

fn is_depthwise(conv: &Conv2d, s: &Sizes) -> bool {
    conv.groups > 1 && conv.groups == s.input[0] && conv.groups == s.output[0]
}

fn is_pointwise(conv: &Conv2d, s: &Sizes) -> bool {
    s.kernel == (1, 1) && conv.stride == 1 && s.pad == [0; 4]
}

fn plane(conv: &Conv2d, s: &Sizes) -> Plane {
    Plane {
        input: (s.input[1], s.input[2]),
        output: (s.output[1], s.output[2]),
        kernel: s.kernel,
        stride: conv.stride,
        dilation: conv.dilation,
        top: s.pad[0],
        left: s.pad[2],
    }
}

/// Output channels from `first` on of one image (or one of its groups), as many as `y` has planes for; x are the
/// channels they see. The result of a tile is finished while it is in the cache.
fn convolve<T: Real>(conv: &Conv2d, s: &Sizes, x: &[T], w: &[T], bias: &[T], first: usize, y: &mut [MaybeUninit<T>]) {
    let (size, width) = (s.output[1] * s.output[2], s.output[2]);
    let (m, k) = (y.len() / size, s.input[0] / conv.groups * s.kernel.0 * s.kernel.1);
    let (weights, pointwise) = (Matrix::new(&w[first * k..(first + m) * k], m, k), is_pointwise(conv, s));
    let tile = if pointwise { columns(m + k, size) } else { width * (TILE / (k * width)).clamp(1, s.output[1]) };
    let mut windows = Vec::new();
    for start in (0..size).step_by(tile) {
        let n = tile.min(size - start);
        if pointwise {
            let right = Matrix { values: &x[start..], rows: k, columns: n, row_stride: size, column_stride: 1 };
            multiply_new(&weights, &right, &mut y[start..], size);
        } else {
            unfold(conv, s, x, (start / width, (start + n) / width), &mut windows);
            multiply_new(&weights, &Matrix::new(&windows, k, n), &mut y[start..], size);
        }
        for (row, bias) in y.chunks_exact_mut(size).zip(&bias[first..]) {
            // SAFETY: the product has just written these values of every row.
            let row = unsafe { row[start..start + n].assume_init_mut() };
            dispatch(Finish(row, *bias, conv.activation));
        }
    }
}

/// Columns of one tile of a matrix product that reads and writes `rows` rows: a whole plane where it is small.
fn columns(rows: usize, size: usize) -> usize {
    if size <= SMALL { size } else { (TILE / rows / VECTORS * VECTORS).clamp(SMALL, size) }
}

/// Windows of output rows `start..end` as columns: `[channel * kh * kw, rows * width]`.
fn unfold<T: Real>(conv: &Conv2d, s: &Sizes, x: &[T], rows: (usize, usize), out: &mut Vec<T>) {
    let n = (rows.1 - rows.0) * s.output[2];
    out.clear();
    out.resize(x.len() / (s.input[1] * s.input[2]) * s.kernel.0 * s.kernel.1 * n, T::zero());
    for_each_tap(conv, s, x.len() / (s.input[1] * s.input[2]), rows, |to, from, count| {
        let out = &mut out[to..to + count];
        match conv.stride {
            1 => out.copy_from_slice(&x[from..from + count]),
            step => out.iter_mut().zip(x[from..].iter().step_by(step)).for_each(|(o, x)| *o = *x),
        }
    });
}

/// The transpose of [`unfold`]: adds columns back to the input they came from.
fn fold<T: Real>(conv: &Conv2d, s: &Sizes, columns: &[T], rows: (usize, usize), x: &mut [T]) {
    for_each_tap(conv, s, x.len() / (s.input[1] * s.input[2]), rows, |from, to, count| {
        let columns = &columns[from..from + count];
        match conv.stride {
            1 => x[to..to + count].iter_mut().zip(columns).for_each(|(x, c)| *x += *c),
            step => x[to..].iter_mut().step_by(step).zip(columns).for_each(|(x, c)| *x += *c),
        }
    });
}

/// For every run of values that one tap reads along one output row: `visit(index in columns, index in x, count)`.
fn for_each_tap(
    conv: &Conv2d,
    s: &Sizes,
    channels: usize,
    (start, end): (usize, usize),
    mut visit: impl FnMut(usize, usize, usize),
) {
    let [_, height, width] = s.input;
    let out_width = s.output[2];
    let n = (end - start) * out_width;
    for c in 0..channels {
        for i in 0..s.kernel.0 {
            for j in 0..s.kernel.1 {
                let row = ((c * s.kernel.0 + i) * s.kernel.1 + j) * n;
                // Columns of the output whose tap lies inside the input.
                let offset = j * conv.dilation;
                let low = s.pad[2].saturating_sub(offset).div_ceil(conv.stride);
                let Some(reach) = (width + s.pad[2]).checked_sub(offset + 1) else { continue };
                let high = (reach / conv.stride + 1).min(out_width);
                if low >= high {
                    continue;
                }
                for y in start..end {
                    let Some(line) = (y * conv.stride + i * conv.dilation).checked_sub(s.pad[0]) else { continue };
                    if line < height {
                        let from = (c * height + line) * width + low * conv.stride + offset - s.pad[2];
                        visit(row + (y - start) * out_width + low, from, high - low);
                    }
                }
            }
        }
    }
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

fn gradients<T: Real>(
    conv: &Conv2d,
    s: &Sizes,
    [x, w, b]: [&Tensor; 3],
    y: &Tensor,
    gradient: &Tensor,
) -> Result<Gradients> {
    // Only what is trained or optimised needs a gradient; candle drops the rest after it was computed.
    let to_x = x.track_op().then(|| to_input::<T>(conv, s, x.dims(), w, y, gradient));
    if !w.track_op() && !b.track_op() {
        return Ok((to_x.transpose()?, None, None));
    }
    let mut g: Vec<T> = to_vec(gradient)?;
    mask(&mut g, &to_vec::<T>(y)?, conv.activation);
    let to_w = w.track_op().then(|| -> Result<Tensor> {
        Tensor::from_vec(weight_gradient(conv, s, &to_vec::<T>(x)?, &g), w.dims(), w.device())
    });
    let to_b = b.track_op().then(|| Tensor::from_vec(bias_gradient(s, &g), b.dims(), b.device()));
    Ok((to_x.transpose()?, to_w.transpose()?, to_b.transpose()?))
}

fn to_input<T: Real>(
    conv: &Conv2d,
    s: &Sizes,
    input: &[usize],
    w: &Tensor,
    y: &Tensor,
    gradient: &Tensor,
) -> Result<Tensor> {
    let [w, y, gradient] = [w.contiguous()?, y.contiguous()?, gradient.contiguous()?];
    let (w, y, gradient) = (w.storage_and_layout(), y.storage_and_layout(), gradient.storage_and_layout());
    let [w, y, gradient] = [&w, &y, &gradient].map(|(storage, layout)| match &**storage {
        Storage::Cpu(storage) => values::<T>(storage, layout, "cavern-conv2d"),
        _ => candle_core::bail!("cavern-conv2d: the tensor is not on the CPU"),
    });
    Tensor::from_vec(input_gradient(conv, s, w?, y?, gradient?), input, &Device::Cpu)
}

/// Passes the gradient where the non-linearity was in its linear range.
fn mask<T: Real>(g: &mut [T], y: &[T], activation: Activation) {
    dispatch(Mask(g, y, activation));
}

#[inline(always)]
fn past_relu<T: Real>(g: T, y: T) -> T {
    if y > T::zero() { g } else { T::zero() }
}

#[inline(always)]
fn past_relu6<T: Real>(g: T, y: T) -> T {
    if y > T::zero() && y < T::of(6.0) { g } else { T::zero() }
}

/// A gradient and the result it belongs to.
struct Mask<'a, T>(&'a mut [T], &'a [T], Activation);

impl<T: Real> Kernel for Mask<'_, T> {
    #[inline(always)]
    fn run(self) {
        let pairs = self.0.iter_mut().zip(self.1);
        match self.2 {
            Activation::None => {}
            Activation::Relu => pairs.for_each(|(g, y)| *g = past_relu(*g, *y)),
            Activation::Relu6 => pairs.for_each(|(g, y)| *g = past_relu6(*g, *y)),
        }
    }
}

fn bias_gradient<T: Real>(s: &Sizes, g: &[T]) -> Vec<T> {
    let [out, height, width] = s.output;
    let mut sums = vec![T::zero(); out];
    for (i, plane) in g.chunks_exact(height * width).enumerate() {
        sums[i % out] += plane.iter().copied().sum();
    }
    sums
}

fn input_gradient<T: Real>(conv: &Conv2d, s: &Sizes, w: &[T], y: &[T], g: &[T]) -> Vec<T> {
    let (size, out) = (s.input[1] * s.input[2], s.output.iter().product::<usize>() / conv.groups);
    written(s.batch * s.input[0] * size, |x| {
        if is_depthwise(conv, s) {
            input_gradient_depthwise(conv, s, w, y, g, x);
        } else {
            let (m, channels) = (s.output[0] / conv.groups, s.input[0] / conv.groups);
            let (k, share) = (channels * s.kernel.0 * s.kernel.1, share(s, conv.groups, channels));
            let images =
                x.par_chunks_exact_mut(channels * size).zip(y.par_chunks_exact(out)).zip(g.par_chunks_exact(out));
            images.enumerate().for_each(|(i, ((x, y), g))| {
                let w = &w[i % conv.groups * m * k..][..m * k];
                x.par_chunks_mut(share * size).enumerate().for_each(|(piece, x)| {
                    transpose(conv, s, w, (y, g), piece * share, x);
                });
            });
        }
    })
}

fn input_gradient_depthwise<T: Real>(conv: &Conv2d, s: &Sizes, w: &[T], y: &[T], g: &[T], x: &mut [MaybeUninit<T>]) {
    let (plane, taps, size) = (plane(conv, s), s.kernel.0 * s.kernel.1, s.output[1] * s.output[2]);
    let results = g.par_chunks_exact(size).zip(y.par_chunks_exact(size));
    x.par_chunks_exact_mut(s.input[1] * s.input[2]).zip(results).enumerate().for_each_init(
        || depthwise::Scratch::backward(&plane),
        |scratch, (i, (x, result))| {
            let kernel = &w[i % s.output[0] * taps..][..taps];
            match conv.activation {
                Activation::None => depthwise::backward(&plane, result, kernel, scratch, x, |g, _| g),
                Activation::Relu => depthwise::backward(&plane, result, kernel, scratch, x, past_relu),
                Activation::Relu6 => depthwise::backward(&plane, result, kernel, scratch, x, past_relu6),
            }
        },
    );
}

/// Gradient of input channels from `first` on of one image (or group): windows `w^T g`, folded back; a 1x1 convolution
/// needs no folding. `result` is the image's output and its gradient.
fn transpose<T: Real>(conv: &Conv2d, s: &Sizes, w: &[T], (y, g): (&[T], &[T]), first: usize, x: &mut [MaybeUninit<T>]) {
    let (size, width, taps) = (s.output[1] * s.output[2], s.output[2], s.kernel.0 * s.kernel.1);
    let m = g.len() / size;
    let (all, plane) = (w.len() / m, s.input[1] * s.input[2]);
    let k = x.len() / plane * taps;
    let left =
        Matrix { values: &w[first * taps..], rows: m, columns: k, row_stride: all, column_stride: 1 }.transposed();
    let pointwise = is_pointwise(conv, s);
    let tile = if pointwise { columns(m + k, size) } else { width * (TILE / (k * width)).clamp(1, s.output[1]) };
    let (mut masked, mut windows) = (vec![T::zero(); m * tile], vec![T::zero(); if pointwise { 0 } else { k * tile }]);
    if !pointwise {
        x.fill(MaybeUninit::new(T::zero()));
    }
    for start in (0..size).step_by(tile) {
        let n = tile.min(size - start);
        let right = if conv.activation == Activation::None {
            Matrix { values: &g[start..], rows: m, columns: n, row_stride: size, column_stride: 1 }
        } else {
            for (row, (g, y)) in masked.chunks_exact_mut(n).zip(g.chunks_exact(size).zip(y.chunks_exact(size))) {
                row.copy_from_slice(&g[start..start + n]);
                dispatch(Mask(row, &y[start..start + n], conv.activation));
            }
            Matrix::new(&masked[..m * n], m, n)
        };
        if pointwise {
            multiply_new(&left, &right, &mut x[start..], size);
        } else {
            multiply(&left, &right, &mut windows[..k * n], n);
            // SAFETY: all of it was written with zeros above.
            let x = unsafe { x.assume_init_mut() };
            fold(conv, s, &windows[..k * n], (start / width, (start + n) / width), x);
        }
    }
}

fn weight_gradient<T: Real>(conv: &Conv2d, s: &Sizes, x: &[T], g: &[T]) -> Vec<T> {
    let image = s.input.iter().product::<usize>();
    let [out, height, width] = s.output;
    let size = out * s.input[0] / conv.groups * s.kernel.0 * s.kernel.1;
    // One partial sum an image, added in the images' order: the same bytes for any number of threads.
    let parts: Vec<Vec<T>> = x
        .par_chunks_exact(image)
        .zip(g.par_chunks_exact(out * height * width))
        .map(|(x, g)| image_weight_gradient(conv, s, x, g, size))
        .collect();
    let mut total = vec![T::zero(); size];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
    total
}

fn image_weight_gradient<T: Real>(conv: &Conv2d, s: &Sizes, x: &[T], g: &[T], size: usize) -> Vec<T> {
    let [out, height, width] = s.output;
    let plane_size = s.input[1] * s.input[2];
    let mut w = vec![T::zero(); size];
    if is_depthwise(conv, s) {
        let plane = plane(conv, s);
        let mut scratch = depthwise::Scratch::forward(&plane);
        let taps = s.kernel.0 * s.kernel.1;
        for ((x, g), w) in x.chunks_exact(plane_size).zip(g.chunks_exact(height * width)).zip(w.chunks_exact_mut(taps))
        {
            depthwise::backward_kernel(&plane, x, g, &mut scratch, w);
        }
        return w;
    }
    let (m, per_group) = (out / conv.groups, s.input[0] / conv.groups);
    let k = per_group * s.kernel.0 * s.kernel.1;
    let mut windows = Vec::new();
    for (group, w) in w.chunks_exact_mut(m * k).enumerate() {
        let x = &x[group * per_group * plane_size..][..per_group * plane_size];
        unfold(conv, s, x, (0, height), &mut windows);
        let g = Matrix::new(&g[group * m * height * width..][..m * height * width], m, height * width);
        multiply(&g, &Matrix::new(&windows, k, height * width).transposed(), w, k);
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use proptest::prelude::*;

    /// Straight from the definition.
    fn naive(x: &Tensor, w: &Tensor, b: &Tensor, conv: &Conv2d) -> Tensor {
        let s = conv.sizes(x.dims(), w.dims()).unwrap();
        let (x, w, b): (Vec<f64>, Vec<f64>, Vec<f64>) = (to_vec(x).unwrap(), to_vec(w).unwrap(), to_vec(b).unwrap());
        let [channels, height, width] = s.input;
        let [out, rows, columns] = s.output;
        let per_group = channels / conv.groups;
        let mut y = Vec::new();
        for (n, o, r, c) in (0..s.batch).flat_map(|n| {
            (0..out).flat_map(move |o| (0..rows).flat_map(move |r| (0..columns).map(move |c| (n, o, r, c))))
        }) {
            let mut sum = b[o];
            for k in 0..per_group {
                for i in 0..s.kernel.0 {
                    for j in 0..s.kernel.1 {
                        let line = (r * conv.stride + i * conv.dilation).wrapping_sub(s.pad[0]);
                        let column = (c * conv.stride + j * conv.dilation).wrapping_sub(s.pad[2]);
                        if line < height && column < width {
                            let channel = o / (out / conv.groups) * per_group + k;
                            let weight = w[((o * per_group + k) * s.kernel.0 + i) * s.kernel.1 + j];
                            sum += weight * x[((n * channels + channel) * height + line) * width + column];
                        }
                    }
                }
            }
            y.push(match conv.activation {
                Activation::None => sum,
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
        let sizes = conv.sizes(x.dims(), w.dims()).unwrap();
        let other = composed::conv::conv2d(&x, &w, &b, &conv, sizes.pad).unwrap();
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
    fn shapes_that_do_not_fit_are_errors() {
        let (x, b) = (random(&[1, 3, 4, 4], 1), random(&[2], 2));
        assert!(conv2d(&x, &random(&[2, 4, 1, 1], 3), &b, &Conv2d::default()).is_err());
        assert!(conv2d(&x, &random(&[2, 3, 5, 5], 3), &b, &Conv2d::default()).is_err());
    }
}
