//! Convolutions, and transposed ones as convolutions of an input with zeros between its places.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::super::build::Build;
use super::super::call::Call;
use super::super::value::{Array, Value};
use super::Table;
use super::arithmetic::one;
use super::window::{Window, counts, every, plane, unlifted};
use crate::model::graph::tensor::Kind;
use crate::model::graph::{Op, TensorOp};
use crate::ops::{Conv2d, Padding};

pub(super) const OPERATORS: Table = &[("Conv", conv), ("ConvTranspose", transposed)];

/// Weights `[out, in, height, width]`, from those of one or two axes, and the size of their windows.
fn weights(call: &Call<'_>) -> Result<(Tensor, Vec<usize>)> {
    let w = call.input(1)?.known("the kernel of a convolution")?.to_dtype(DType::F32)?;
    let kernel = w.dims().get(2..).unwrap_or_default().to_vec();
    match *w.dims() {
        [out, inputs, length] => Ok((w.reshape((out, inputs, 1, length))?, kernel)),
        [_, _, _, _] => Ok((w, kernel)),
        ref shape => bail!("a kernel of {shape:?}: windows of one or two axes are supported"),
    }
}

fn bias(call: &Call<'_>, out: usize) -> Result<Tensor> {
    let bias = match call.optional(2) {
        Some(bias) => bias.known("the bias of a convolution")?.to_dtype(DType::F32)?,
        None => Tensor::zeros(out, DType::F32, &Device::Cpu)?,
    };
    if bias.dims() != [out] {
        bail!("a bias of {:?} for {out} channels", bias.dims());
    }
    Ok(bias)
}

fn groups(call: &Call<'_>) -> Result<usize> {
    match usize::try_from(call.int("group", 1)?) {
        Ok(groups) if groups > 0 => Ok(groups),
        _ => bail!("group = {}", call.int("group", 1)?),
    }
}

fn conv(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (x, (w, kernel)) = (call.input(0)?, weights(call)?);
    if x.rank() != kernel.len() + 2 {
        bail!("a kernel of {:?} on {:?}", w.dims(), x.dims());
    }
    let x = plane(build, x)?;
    let window = Window::read(call, &kernel, &x.shape)?;
    let bias = bias(call, w.dim(0)?)?;
    let array = convolve(build, &x, w, bias, groups(call)?, &window)?;
    one(Ok(unlifted(array, window.lifted)))
}

/// A convolution of a plane; what the kernels here have no setting for is done around them.
fn convolve(
    build: &mut Build,
    x: &Array,
    mut w: Tensor,
    bias: Tensor,
    groups: usize,
    window: &Window,
) -> Result<Array> {
    let (out, inputs) = (w.dim(0)?, w.dim(1)?);
    if inputs.checked_mul(groups) != Some(x.shape[0]) || out % groups != 0 {
        bail!("a kernel of {:?} in {groups} groups does not fit {} channels", w.dims(), x.shape[0]);
    }
    let mut dilation = window.dilation[1];
    if window.dilation[0] != dilation {
        build.spend(out * inputs * window.span(0) * window.span(1))?;
        for (axis, step) in [1, 2].into_iter().zip(window.dilation) {
            w = TensorOp::of_inputs(Kind::Spread { axis, step }, 1).run(&[&w])?;
        }
        dilation = 1;
    }
    let (stride, kept) = window.one_stride();
    let settings = Conv2d { stride, dilation, groups, padding: Padding::Explicit(window.pads), ..Conv2d::default() };
    let [rows, columns] = Window { stride: [stride; 2], ..window.clone() }.output(&x.shape)?;
    let array = build.add(Op::Conv2d(settings, w, bias), &[x], vec![out, rows, columns])?;
    every(build, array, kept)
}

fn transposed(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (x, (w, kernel)) = (call.input(0)?, weights(call)?);
    if x.rank() != kernel.len() + 2 || call.has("output_shape") || call.text("auto_pad", "NOTSET")? != "NOTSET" {
        bail!("a kernel of {:?} on {:?}: output_shape and auto_pad are not supported", w.dims(), x.dims());
    }
    let mut x = plane(build, x)?;
    let window = Window::read(call, &kernel, &x.shape)?;
    let (groups, [inputs, part, height, width]) = (groups(call)?, <[usize; 4]>::from(w.dims4()?));
    if inputs != x.shape[0] || inputs % groups != 0 {
        bail!("a kernel of {:?} in {groups} groups does not fit {} channels", w.dims(), x.shape[0]);
    }
    let extra = match call.ints("output_padding")? {
        Some(extra) => counts("output_padding", &extra)?,
        None => vec![0; kernel.len()],
    };
    let extra = match extra[..] {
        [columns] if window.lifted => [0, columns],
        [rows, columns] if !window.lifted => [rows, columns],
        _ => bail!("output_padding = {extra:?}"),
    };
    let mut pads = [0; 4];
    for axis in 0..2 {
        x = build.apply(Kind::Spread { axis: axis + 1, step: window.stride[axis] }, &[&x])?;
        let (reach, cut) = (window.span(axis) - 1, &window.pads[2 * axis..2 * axis + 2]);
        // A border of less than nothing is cut off.
        let wanted = [reach as i64 - cut[0] as i64, reach as i64 + extra[axis] as i64 - cut[1] as i64];
        let cut = wanted.map(|border| border.min(0).unsigned_abs() as usize);
        let Some(length) = x.shape[axis + 1].checked_sub(cut[0] + cut[1]) else {
            bail!("nothing is left of {:?}", x.shape)
        };
        if length != x.shape[axis + 1] {
            x = build.apply(Kind::Narrow { axis: axis + 1, start: cut[0], length }, &[&x])?;
        }
        pads[2 * axis] = wanted[0].max(0) as usize;
        pads[2 * axis + 1] = wanted[1].max(0) as usize;
    }
    let turned = w.reshape((groups, inputs / groups, part, height, width))?.transpose(1, 2)?.contiguous()?;
    let turned = turned.reshape((groups * part, inputs / groups, height, width))?;
    let turned = backwards(&backwards(&turned, 2)?, 3)?;
    let window = Window { stride: [1; 2], pads, ..window };
    let array = convolve(build, &x, turned, bias(call, groups * part)?, groups, &window)?;
    one(Ok(unlifted(array, window.lifted)))
}

fn backwards(x: &Tensor, axis: usize) -> Result<Tensor> {
    let places: Vec<u32> = (0..x.dim(axis)? as u32).rev().collect();
    x.index_select(&Tensor::new(places, x.device())?, axis)
}
