//! What a name in the file stands for.
//!
//! A network is read as a function of one picture, and runs with the batch as an axis in front of all. A value of ONNX
//! is an array, seen through a map of axes: ONNX's axis may be another axis of the array, or be of one place and no axis
//! of the array at all. So the batch of one that ONNX carries through a network, wherever it stands, takes no axis;
//! transposing costs nothing until an operation needs the numbers in order; and a channels-last network runs as
//! `[channel, height, width]`.

use candle_core::{DType, Result, Tensor, bail};

/// Where an array is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A constant, `[1, ...]`.
    Constant(Tensor),
    /// The result of a node.
    Node(usize),
}

/// An array and its shape behind the batch.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) source: Source,
    pub(super) shape: Vec<usize>,
}

/// An array seen through a map of axes.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) array: Array,
    /// The array's axis for each of ONNX's; axes of the array that are not named have one place.
    pub(super) axes: Vec<Option<usize>>,
    /// Whether no other node takes what the array's node gives.
    pub(super) sole: bool,
}

impl Array {
    pub(super) fn constant(tensor: &Tensor) -> Result<Self> {
        Ok(Self { shape: tensor.dims().to_vec(), source: Source::Constant(tensor.unsqueeze(0)?) })
    }

    pub(super) fn node(node: usize, shape: Vec<usize>) -> Self {
        Self { source: Source::Node(node), shape }
    }

    pub(super) fn is_constant(&self) -> bool {
        matches!(self.source, Source::Constant(_))
    }

    /// As ONNX's value with the same axes.
    pub(super) fn plain(self) -> Value {
        let axes = (0..self.shape.len()).map(Some).collect();
        self.seen(axes)
    }

    pub(super) fn seen(self, axes: Vec<Option<usize>>) -> Value {
        Value { array: self, axes, sole: true }
    }
}

impl Value {
    /// A constant with ONNX's axes.
    pub(super) fn constant(tensor: &Tensor) -> Result<Self> {
        Array::constant(tensor).map(Array::plain)
    }

    pub(super) fn rank(&self) -> usize {
        self.axes.len()
    }

    pub(super) fn dim(&self, axis: usize) -> usize {
        self.axes[axis].map_or(1, |a| self.array.shape[a])
    }

    /// ONNX's shape.
    pub(super) fn dims(&self) -> Vec<usize> {
        (0..self.rank()).map(|i| self.dim(i)).collect()
    }

    pub(super) fn is_constant(&self) -> bool {
        self.array.is_constant()
    }

    /// ONNX's axes that are axes of the array, in the array's order.
    pub(super) fn order(&self) -> Vec<usize> {
        let place = |a: usize| self.axes.iter().position(|x| *x == Some(a));
        (0..self.array.shape.len()).filter_map(place).collect()
    }

    /// With axes of one place in front.
    pub(super) fn of_rank(&self, rank: usize) -> Self {
        let mut axes = vec![None; rank.saturating_sub(self.rank())];
        axes.extend(&self.axes);
        Self { axes, ..self.clone() }
    }

    /// A constant with ONNX's axes; `None` of what a node gives.
    pub(super) fn tensor(&self) -> Result<Option<Tensor>> {
        let Source::Constant(tensor) = &self.array.source else { return Ok(None) };
        let named = self.axes.iter().flatten().map(|a| a + 1);
        let rest = (0..self.array.shape.len()).filter(|a| !self.axes.contains(&Some(*a))).map(|a| a + 1);
        let order: Vec<usize> = named.chain(rest).chain([0]).collect();
        Ok(Some(tensor.permute(order)?.contiguous()?.reshape(self.dims())?))
    }

    /// The same, where only a constant will do.
    pub(super) fn known(&self, what: &str) -> Result<Tensor> {
        match self.tensor()? {
            Some(tensor) => Ok(tensor),
            None => bail!("{what} depends on the input, and only a constant is supported"),
        }
    }

    /// The whole numbers of a constant.
    pub(super) fn integers(&self) -> Result<Vec<i64>> {
        let tensor = self.known("a shape, an axis or a number")?;
        if tensor.dtype() != DType::I64 {
            bail!("whole numbers are wanted, and these are not");
        }
        tensor.flatten_all()?.to_vec1()
    }

    /// The numbers of a constant.
    pub(super) fn numbers(&self) -> Result<Vec<f32>> {
        self.known("a number")?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
    }

    /// The number that a constant has everywhere.
    pub(super) fn scalar(&self) -> Option<f32> {
        if !self.is_constant() || self.array.shape.iter().product::<usize>() != 1 {
            return None;
        }
        self.numbers().ok()?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_constant_is_read_through_its_axes() {
        let tensor = Tensor::arange(0i64, 6, &Device::Cpu).unwrap().reshape((2, 3)).unwrap();
        let turned = Array::constant(&tensor).unwrap().seen(vec![Some(1), None, Some(0)]);
        assert_eq!(turned.dims(), [3, 1, 2]);
        assert_eq!(turned.order(), [2, 0]);
        assert_eq!(turned.integers().unwrap(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(turned.of_rank(4).dims(), [1, 3, 1, 2]);
    }
}
