//! What is asked about: a linear probe's score as a function of the network's input.

use crate::activation::Network;
use crate::error::Result;
use crate::localise::weights;
use crate::probe::Cav;

/// A probe at its layer, behind the network.
pub struct Score<'a> {
    /// The network.
    pub network: Network<'a>,
    /// The probe's layer.
    pub node: usize,
    /// Its weights on the layer's map.
    pub weights: Vec<f32>,
    /// Its offset.
    pub bias: f64,
}

impl<'a> Score<'a> {
    /// The score of a probe whose layer is `node`.
    pub fn new(network: Network<'a>, node: usize, cav: &Cav) -> Self {
        Self { network, node, weights: weights(cav), bias: cav.bias }
    }

    /// The scores of `count` inputs that `make` writes by their number.
    ///
    /// # Errors
    /// When the network fails.
    pub fn of(&self, count: usize, make: impl FnMut(usize, &mut [f32])) -> Result<Vec<f64>> {
        let scores = self.network.scores(self.node, &self.weights, count, make)?;
        Ok(scores.into_iter().map(|s| s + self.bias).collect())
    }

    /// Its gradients with respect to the maps of `tap` (0: the input), one after the other.
    ///
    /// # Errors
    /// When the score does not depend on that layer.
    pub fn gradients(&self, inputs: &[f32], tap: usize) -> Result<Vec<f32>> {
        Ok(self.network.gradients(inputs, self.node, &[tap], |_| &self.weights)?.pop().unwrap_or_default())
    }

    /// Height and width of the input.
    pub fn size(&self) -> (usize, usize) {
        let [_, height, width] = self.network.graph().input_shape();
        (height, width)
    }
}
