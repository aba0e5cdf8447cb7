//! Where a network's tensors come from: a file, random numbers, or nowhere.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, RngExt};

use crate::error::Result;
use crate::model::weights::Weights;
use crate::seed::Seed;

/// Tensors by name.
pub(super) trait Source {
    /// The tensor with this name, in this shape.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor>;

    /// The shape that a file has under this name.
    fn shape_of(&self, _name: &str) -> Option<&[usize]> {
        None
    }

    /// Whether a network has a part that not all of its files have: what the file says, or `otherwise` without one.
    fn has(&self, _name: &str, otherwise: bool) -> bool {
        otherwise
    }

    /// Is told of a batch norm, what it adds to the variance, and the convolution that it is folded into: that of this name,
    /// or one of ones.
    fn folds(&self, _conv: Option<&str>, _norm: &str, _epsilon: f64) {}
}

/// A batch norm that is folded into a convolution: see [`Source::folds`].
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model) struct Fold {
    pub(in crate::model) conv: Option<String>,
    pub(in crate::model) norm: String,
    pub(in crate::model) epsilon: f64,
}

impl Source for Weights {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Weights::take(self, name, shape)
    }

    fn shape_of(&self, name: &str) -> Option<&[usize]> {
        Weights::shape_of(self, name)
    }

    fn has(&self, name: &str, _otherwise: bool) -> bool {
        Weights::shape_of(self, name).is_some()
    }
}

/// Tensors that a file holds under other names.
pub(super) struct Renamed<'a>(pub(super) &'a dyn Source, pub(super) fn(&str) -> String);

impl Source for Renamed<'_> {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.0.take(&(self.1)(name), shape)
    }

    fn shape_of(&self, name: &str) -> Option<&[usize]> {
        self.0.shape_of(&(self.1)(name))
    }

    fn has(&self, name: &str, otherwise: bool) -> bool {
        self.0.has(&(self.1)(name), otherwise)
    }
}

/// Zeros: for the shapes of a network's layers.
pub(super) struct Blank;

impl Source for Blank {
    fn take(&self, _name: &str, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
    }
}

/// Tensors drawn when they are asked for, each from a random stream of its own.
pub(super) struct Random {
    seed: Seed,
    drawn: RefCell<BTreeMap<String, Tensor>>,
    folds: RefCell<Vec<Fold>>,
}

impl Random {
    pub(super) fn new(seed: Seed) -> Self {
        Self { seed, drawn: RefCell::default(), folds: RefCell::default() }
    }

    /// What has been drawn.
    pub(super) fn into_drawn(self) -> BTreeMap<String, Tensor> {
        self.into_parts().0
    }

    /// The same, and what has been folded, in that order.
    pub(super) fn into_parts(self) -> (BTreeMap<String, Tensor>, Vec<Fold>) {
        (self.drawn.into_inner(), self.folds.into_inner())
    }
}

impl Source for Random {
    /// He's normal initialisation for matrices and kernels; ones for scales and variances, zeros for the rest.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let count = shape.iter().product();
        let values = if shape.len() > 1 {
            let deviation = (2.0 / shape[1..].iter().product::<usize>().max(1) as f64).sqrt();
            let mut rng = self.seed.stream(&format!("weights/{name}"));
            (0..count).map(|_| (normal(&mut rng) * deviation) as f32).collect()
        } else if ["weight", "running_var", "gamma"].iter().any(|end| name.ends_with(end)) {
            vec![1.0; count]
        } else {
            vec![0.0; count]
        };
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        self.drawn.borrow_mut().insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    fn folds(&self, conv: Option<&str>, norm: &str, epsilon: f64) {
        let fold = Fold { conv: conv.map(str::to_owned), norm: norm.to_owned(), epsilon };
        self.folds.borrow_mut().push(fold);
    }
}

/// A standard normal number, by Box and Muller's transform.
fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
