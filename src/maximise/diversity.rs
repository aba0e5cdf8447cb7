//! How alike pictures of one objective are to a network, which `maximise.diversity` takes off the objective: cosines between
//! Gram matrices of activations (Olah, Mordvintsev and Schubert 2017; `diversity` in Lucid and Lucent).

use candle_core::{D, Result, Tensor};

use crate::model::graph::Layout;

/// Likeness of every picture of a group with the others, and its slope.
pub(super) struct Likeness {
    /// By picture, the mean cosine of its Gram matrix with those of the others, in \[0, 1\] where activations are not negative.
    #[cfg(test)]
    pub(super) values: Tensor,
    /// Gradient of the sum of these values, shaped as the activations.
    pub(super) slope: Tensor,
}

impl Likeness {
    /// Of activations of one layer, a picture each, two at least. With `G = z z^T` over positions, `u = G / |G|` (0 where G is)
    /// and n pictures: picture i has the value `mean over j != i of <u_i, u_j>`. Lucent's `diversity` is `-(n - 1)` times the
    /// mean of these values.
    pub(super) fn of(z: &Tensor, layout: Layout) -> Result<Self> {
        let maps = maps(z, layout)?;
        let others = (z.dim(0)? - 1) as f64;
        let gram = maps.matmul(&maps.transpose(1, 2)?.contiguous()?)?;
        let norm = inner(&gram, &gram)?.sqrt()?.clamp(f64::from(f32::MIN_POSITIVE), f64::INFINITY)?;
        let unit = gram.broadcast_div(&norm)?;
        let mean = (unit.sum_keepdim(0)?.broadcast_sub(&unit)? / others)?;
        let values = inner(&unit, &mean)?;
        // Every cosine stands in two pictures' values, and the matrix is symmetric: hence the four.
        let of_gram = ((mean - unit.broadcast_mul(&values)?)?.broadcast_div(&norm)? * 4.0)?;
        let slope = back(&of_gram.matmul(&maps)?, z, layout)?;
        Ok(Self {
            #[cfg(test)]
            values: values.flatten_all()?,
            slope,
        })
    }
}

/// Whether a layer has positions, over which a Gram matrix is taken.
pub(super) fn applies(layout: Layout) -> bool {
    let [_, height, width] = layout.map_shape();
    height * width > 1
}

/// `[picture, 1, 1]` inner products of two matrices each.
fn inner(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    (a * b)?.sum_keepdim((D::Minus2, D::Minus1))
}

/// `[picture, channel, position]`, without tokens that stand for no patch.
fn maps(z: &Tensor, layout: Layout) -> Result<Tensor> {
    let ([channels, height, width], pictures) = (layout.map_shape(), z.dim(0)?);
    match layout {
        Layout::Tokens { before, .. } => z.narrow(1, before, height * width)?.transpose(1, 2)?.contiguous(),
        Layout::Map(_) | Layout::Vector(_) => z.contiguous()?.reshape((pictures, channels, height * width)),
    }
}

/// The gradient of [`maps`]' argument.
fn back(slope: &Tensor, z: &Tensor, layout: Layout) -> Result<Tensor> {
    match layout {
        Layout::Tokens { before, .. } => slope.transpose(1, 2)?.contiguous()?.pad_with_zeros(1, before, 0),
        Layout::Map(_) | Layout::Vector(_) => slope.reshape(z.dims()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use serde::Deserialize;

    /// Made by `tests/golden/diversity.py`.
    const GOLDEN: &str = include_str!("../../tests/golden/diversity.json");

    #[derive(Deserialize)]
    struct Golden {
        shape: [usize; 4],
        z: Vec<f64>,
        value: f64,
        gradient: Vec<f64>,
    }

    fn close(got: &Tensor, wanted: &[f64]) {
        let got = got.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(got.len(), wanted.len());
        assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} {wanted:?}");
    }

    #[test]
    fn value_and_gradient_are_lucents() {
        let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
        let [n, c, height, width] = golden.shape;
        let factor = -((n - 1) as f64) / n as f64;
        let z = Tensor::from_vec(golden.z, (n, c, height, width), &Device::Cpu).unwrap();
        let likeness = Likeness::of(&z, Layout::Map([c, height, width])).unwrap();
        close(&(likeness.values.sum_all().unwrap() * factor).unwrap(), &[golden.value]);
        close(&(&likeness.slope * factor).unwrap(), &golden.gradient);
        // The same as tokens, after one that stands for no patch.
        let tokens = z.flatten(2, 3).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
        let tokens = tokens.pad_with_same(1, 1, 0).unwrap();
        let layout = Layout::Tokens { before: 1, grid: [height, width], channels: c };
        let likeness = Likeness::of(&tokens, layout).unwrap();
        let patches = likeness.slope.narrow(1, 1, height * width).unwrap().transpose(1, 2).unwrap();
        close(&(patches * factor).unwrap(), &golden.gradient);
        close(&likeness.slope.narrow(1, 0, 1).unwrap(), &vec![0.0; n * c]);
    }

    #[test]
    fn equal_pictures_are_alike_and_dead_ones_have_no_slope() {
        let z = Tensor::new(&[[[[1f64, 2.0]], [[0.5, 0.0]]]; 3], &Device::Cpu).unwrap();
        let layout = Layout::Map([2, 1, 2]);
        let likeness = Likeness::of(&z, layout).unwrap();
        close(&likeness.values, &[1.0; 3]);
        close(&likeness.slope, &[0.0; 12]);
        let likeness = Likeness::of(&z.zeros_like().unwrap(), layout).unwrap();
        close(&likeness.slope, &[0.0; 12]);
        assert!(applies(layout) && !applies(Layout::Vector(4)) && !applies(Layout::Map([4, 1, 1])));
    }
}
