//! The gradients of a convolution's weights and bias, for training: products of the gradient with unfolded windows.

use rayon::prelude::*;

use super::windows::spread;
use super::{Geometry, depthwise};
use crate::ops::Real;
use crate::ops::product::{Matrix, multiply};

/// `[out]`.
pub(super) fn bias_gradient<T: Real>(g: &Geometry, gradient: &[T]) -> Vec<T> {
    let out = g.groups * g.out;
    let mut sums = vec![T::zero(); out];
    for (i, plane) in gradient.chunks_exact(g.size()).enumerate() {
        sums[i % out] += plane.iter().copied().sum();
    }
    sums
}

/// `[out, in / groups, kh, kw]`.
pub(super) fn weight_gradient<T: Real>(g: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    // One partial sum an image, added in the images' order: the same bytes for any number of threads.
    let images = x.par_chunks_exact(g.all_channels * g.input_size());
    let images = images.zip(gradient.par_chunks_exact(g.groups * g.out * g.size()));
    let parts: Vec<Vec<T>> = images.map(|(x, gradient)| image_gradient(g, x, gradient)).collect();
    let mut total = vec![T::zero(); g.groups * g.out * g.depth()];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
    total
}

fn image_gradient<T: Real>(g: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    let (size, depth) = (g.size(), g.depth());
    let mut w = vec![T::zero(); g.groups * g.out * depth];
    if g.is_depthwise() {
        let plane = depthwise::Plane::of(g);
        let mut scratch = depthwise::Scratch::forward(&plane);
        let planes = x.chunks_exact(g.input_size()).zip(gradient.chunks_exact(size));
        for ((x, gradient), w) in planes.zip(w.chunks_exact_mut(depth)) {
            depthwise::backward_kernel(&plane, x, gradient, &mut scratch, w);
        }
        return w;
    }
    let mut windows = Vec::new();
    for (group, w) in w.chunks_exact_mut(g.out * depth).enumerate() {
        unfold(g, &x[group * g.channels * g.input_size()..][..g.channels * g.input_size()], &mut windows);
        let gradient = Matrix::new(&gradient[group * g.out * size..][..g.out * size], g.out, size);
        multiply(&gradient, &Matrix::new(&windows, depth, size).transposed(), w, depth);
    }
    w
}

/// The windows of one image's channels as columns: `[channel * kh * kw, rows * width]`.
fn unfold<T: Real>(g: &Geometry, x: &[T], out: &mut Vec<T>) {
    let (width, rows) = (g.output.1, g.output.0);
    out.clear();
    out.resize(g.depth() * g.size(), T::zero());
    let mut padded = vec![T::zero(); g.stride * width + g.kernel.1 * g.dilation];
    for (k, out) in out.chunks_exact_mut(g.size()).enumerate() {
        let (channel, i, j) = (k / g.taps(), k % g.taps() / g.kernel.1, k % g.kernel.1);
        for (y, out) in (0..rows).zip(out.chunks_exact_mut(width)) {
            let row = (y * g.stride + i * g.dilation).wrapping_sub(g.top);
            if row < g.input.0 {
                let line = &x[(channel * g.input.0 + row) * g.input.1..][..g.input.1];
                spread(line, 1, (g.left, 0), &mut padded);
                let taps = padded[j * g.dilation..].iter().step_by(g.stride);
                out.iter_mut().zip(taps).for_each(|(o, x)| *o = *x);
            }
        }
    }
}
