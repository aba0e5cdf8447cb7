//! The result of a convolution.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use candle_core::Result;
use rayon::prelude::*;

use super::finish::{Finish, ToPlanes};
use super::source::{Planes, Source};
use super::windows::Windows;
use super::winograd::Fast;
use super::{Geometry, depthwise};
use crate::ops::blocked::{Left, Shared, product};
use crate::ops::prepared::Prepared;
use crate::ops::value::Value;
use crate::ops::written;

/// `finish(x * w)`.
pub(super) fn forward<V: Fast>(
    g: &Geometry,
    x: &[V],
    w: &[V],
    finish: &Finish<'_, V>,
    prepared: &Prepared,
) -> Result<Vec<V>> {
    written(g.shape().iter().product(), |y| {
        let source = Source { values: x, mask: None };
        if g.is_depthwise() {
            depthwise_planes(g, x, w, finish, y);
            return Ok(());
        }
        if V::winograd(g, source, &|| Cow::Borrowed(w), finish, &prepared.winograd_forward, y)? {
            return Ok(());
        }
        if V::direct(g, source, &|| Cow::Borrowed(w), finish, y) {
            return Ok(());
        }
        // Numbers that are their own operands need no other form.
        if V::DEPTH == 1 {
            products(g, source, &V::operands(w, g.depth()), finish, y);
        } else {
            let form = prepared.forward.get(|| V::operands(w, g.depth()).into_owned())?;
            products(g, source, form, finish, y);
        }
        Ok(())
    })
}

/// One product for every group of channels.
pub(super) fn products<V: Value>(
    g: &Geometry,
    source: Source<'_, V>,
    w: &[V::Operand],
    finish: &Finish<'_, V>,
    y: &mut [MaybeUninit<V>],
) {
    let y = Shared::new(y);
    for (group, w) in w.chunks_exact(w.len() / g.groups).enumerate() {
        let left = Left::new(w, w.len() / g.out);
        let sink = ToPlanes { y: &y, finish: *finish, channels: (group * g.out, g.groups * g.out), size: g.size() };
        let first = group * g.channels;
        let columns = g.batch * g.size();
        if g.is_pointwise() {
            let channels = (g.channels, first, g.all_channels);
            product(&left, columns, &Planes { source, channels, size: g.size() }, &sink);
        } else {
            product(&left, columns, &Windows { source, geometry: g, first }, &sink);
        }
    }
}

/// Every plane by itself.
fn depthwise_planes<V: Value>(g: &Geometry, x: &[V], w: &[V], finish: &Finish<'_, V>, y: &mut [MaybeUninit<V>]) {
    let plane = depthwise::Plane::of(g);
    let (size, taps) = (g.size(), g.taps());
    y.par_chunks_exact_mut(size).zip(x.par_chunks_exact(g.input_size())).enumerate().for_each_init(
        || depthwise::Scratch::forward(&plane),
        |scratch, (i, (y, x))| {
            let channel = i % g.groups;
            depthwise::forward(&plane, x, &w[channel * taps..][..taps], scratch, y, (finish, channel, i * size));
        },
    );
}
