//! Pictures on their way into a network and back: one part of a batch, on a thread of its own.
//!
//! Nothing of one picture depends on another's, and what is done to a picture outside of the network is many small operations
//! that one thread runs one after the other. On the CPU, then, each picture of a batch is a part.

use candle_core::{Tensor, Var};

use super::painter::Painter;
use super::penalty::Penalties;
use super::transform::Drawn;
use crate::error::Result;
use crate::seed::Seed;

/// What is remembered of some pictures until the network has answered. Dropped at the end of a step, with its graph.
pub(super) struct Painted {
    numbers: Var,
    plain: Tensor,
    /// The network's input, unshaken, as it follows from the numbers, and cut off from them.
    picture: Tensor,
    unshaken: Var,
    /// What the network sees: shaken copies.
    input: Tensor,
}

/// Gradients of the objectives.
pub(super) struct Gradients {
    /// At the network's unshaken inputs.
    pub(super) picture: Vec<f32>,
    /// At the numbers, penalties taken off.
    pub(super) numbers: Vec<f32>,
}

impl Painted {
    /// Paints `count` pictures from their numbers, and shakes their copies as was drawn.
    pub(super) fn new(
        painter: &Painter,
        numbers: &[f32],
        count: usize,
        (drawn, names): (&[Drawn], &[String]),
        seed: Seed,
    ) -> Result<Self> {
        let numbers = Var::from_tensor(&painter.tensor(numbers, count)?)?;
        let plain = painter.plain(&numbers)?;
        let picture = painter.unshaken(&plain)?;
        let unshaken = Var::from_tensor(&picture.detach())?;
        let input = painter.shaken(&unshaken, drawn, names, seed)?;
        Ok(Self { numbers, plain, picture, unshaken, input })
    }

    /// What the network sees, without a way back.
    pub(super) fn input(&self) -> Tensor {
        self.input.detach()
    }

    /// The way back from the objectives' gradient at the input; `origin` is what the pictures began as. The gradient of
    /// `<slope, input>`, slope held fixed, is that of the objectives: first to the pictures, then on to what they are made of.
    pub(super) fn gradients(
        self,
        painter: &Painter,
        slope: &Tensor,
        penalties: &Penalties,
        origin: &Tensor,
    ) -> Result<Gradients> {
        let to_picture = (&self.input * slope)?.sum_all()?.backward()?.remove(&self.unshaken);
        let to_picture = to_picture.map_or_else(|| self.unshaken.zeros_like(), Ok)?;
        let mut goal = (&self.picture * &to_picture)?.sum_all()?;
        if penalties.any() {
            goal = (goal - penalties.of(&painter.picture(&self.plain)?, origin)?)?;
        }
        let numbers = match goal.backward()?.get(&self.numbers) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0.0; self.numbers.elem_count()],
        };
        Ok(Gradients { picture: to_picture.flatten_all()?.to_vec1::<f32>()?, numbers })
    }
}
