//! The result of a convolution.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use candle_core::Result;
use rayon::prelude::*;

use super::finish::{Finish, ToPlanes};
use super::source::{Planes, Source};
use super::windows::Windows;
use super::winograd::Fast;
use super::{Geometry, depthwise};
use crate::ops::across;
use crate::ops::blocked::{Columns, Left, Panels, Shared, product};
use crate::ops::prepared::Prepared;
use crate::ops::tile::Operand;
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
        if prepared.kept && across::pays(g.out, g.batch * g.size()) {
            let panels = prepared.forward_across.get(|| weights_across(g, &V::operands(w, g.depth())))?;
            products(g, source, Weights::Across(panels), finish, y);
        } else if V::DEPTH == 1 {
            // Numbers that are their own operands need no other form.
            products(g, source, Weights::Rows(&V::operands(w, g.depth())), finish, y);
        } else {
            let form = prepared.forward.get(|| V::operands(w, g.depth()).into_owned())?;
            products(g, source, Weights::Rows(form), finish, y);
        }
        Ok(())
    })
}

/// The weights of all groups as products read them.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a, O> {
    /// `[out, depth]`.
    Rows(&'a [O]),
    /// The form of [`weights_across`].
    Across(&'a [O]),
}

/// The weights `[out, depth]` of all groups, the rows in the lanes.
pub(super) fn weights_across<O: Operand>(g: &Geometry, w: &[O]) -> Vec<O> {
    let groups = w.chunks_exact(w.len() / g.groups);
    groups.flat_map(|w| across::panels(&Left::new(w, w.len() / g.out))).collect()
}

/// One product for every group of channels.
pub(super) fn products<V: Value>(
    g: &Geometry,
    source: Source<'_, V>,
    weights: Weights<'_, V::Operand>,
    finish: &Finish<'_, V>,
    y: &mut [MaybeUninit<V>],
) {
    let y = Shared::new(y);
    let count = g.batch * g.size();
    for group in 0..g.groups {
        let sink = ToPlanes { y: &y, finish: *finish, channels: (group * g.out, g.groups * g.out), size: g.size() };
        let columns = Positions::new(g, source, group * g.channels);
        match weights {
            Weights::Rows(w) => {
                let w = part(w, g.groups, group);
                product(&Left::new(w, w.len() / g.out), count, &columns, &sink);
            }
            Weights::Across(w) => across::product(part(w, g.groups, group), g.out, count, &columns, &sink),
        }
    }
}

fn part<O>(w: &[O], groups: usize, group: usize) -> &[O] {
    let len = w.len() / groups;
    &w[group * len..][..len]
}

/// The columns of a convolution: planes as they lie, or windows of them.
enum Positions<'a, V> {
    Planes(Planes<'a, V>),
    Windows(Windows<'a, V>),
}

impl<'a, V> Positions<'a, V> {
    /// Those of a group, whose channels start at `first`.
    fn new(g: &'a Geometry, source: Source<'a, V>, first: usize) -> Self {
        if g.is_pointwise() {
            Self::Planes(Planes { source, channels: (g.channels, first, g.all_channels), size: g.size() })
        } else {
            Self::Windows(Windows { source, geometry: g, first })
        }
    }
}

impl<V: Value> Columns<V> for Positions<'_, V> {
    fn pack(&self, columns: Range<usize>, panels: &mut Panels<V>) {
        match self {
            Self::Planes(planes) => planes.pack(columns, panels),
            Self::Windows(windows) => windows.pack(columns, panels),
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
