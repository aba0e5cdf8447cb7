//! Operations of arrays in general: what files ask for beside the operations that have kernels. They run by candle's own
//! operations, those of them that have right gradients.

mod backward;
mod pointwise;
mod shape;

use candle_core::{Result, Tensor, bail};

pub use pointwise::{Binary, Unary};
pub use shape::LIMIT;
pub(in crate::model) use shape::broadcast;

/// An operation on arrays, with the arguments that are constants. Axes are counted behind the batch.
#[derive(Debug, Clone)]
pub struct TensorOp {
    /// What is done.
    pub kind: Kind,
    /// An argument each: a constant `[1, ...]`, or nothing where it is the next of the inputs.
    pub constants: Vec<Option<Tensor>>,
}

/// What is done with the arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Axes in another order: `result[i]` is what `argument[order[i]]` was.
    Permute(Vec<usize>),
    /// The same numbers, row-major, in another shape.
    Reshape(Vec<usize>),
    /// `length` places of an axis.
    Narrow {
        /// The axis.
        axis: usize,
        /// The first place.
        start: usize,
        /// How many.
        length: usize,
    },
    /// Places of an axis by their numbers, in any order and number.
    Select {
        /// The axis.
        axis: usize,
        /// The places.
        places: Vec<u32>,
    },
    /// Axes of one place repeated, to a shape of the same rank.
    Expand(Vec<usize>),
    /// A border along an axis.
    Pad {
        /// The axis.
        axis: usize,
        /// Places before and behind.
        border: [usize; 2],
        /// What stands there.
        value: f32,
    },
    /// `step - 1` zeros behind each place of an axis but the last.
    Spread {
        /// The axis.
        axis: usize,
        /// From place to place.
        step: usize,
    },
    /// The arguments one after the other along an axis.
    Concat(usize),
    /// Two arguments that broadcast, number by number.
    Binary(Binary),
    /// One argument, number by number.
    Unary(Unary),
    /// Where the first argument is not zero the second, elsewhere the third; they broadcast.
    Where,
    /// Products of matrices, the last two axes; the axes before them broadcast.
    MatMul,
    /// One number of every line along some axes, which go.
    Reduce(Reduction, Vec<usize>),
    /// The second argument, a matrix `[1, out, in]`, times every line along an axis.
    Along(usize),
    /// Logarithm of the softmax over the last axis.
    LogSoftmax,
}

/// What becomes of a line of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The largest; at a tie candle shares the gradient.
    Max,
    /// The smallest.
    Min,
    /// The sum of their sizes.
    L1,
    /// The root of the sum of their squares.
    L2,
    /// The sum of their squares.
    Squares,
    /// Their product; of constants alone.
    Product,
}

impl TensorOp {
    /// An operation whose arguments are all inputs.
    pub fn of_inputs(kind: Kind, arguments: usize) -> Self {
        Self { kind, constants: vec![None; arguments] }
    }

    /// Its kind, and which arguments are constants.
    pub(super) fn describe(&self) -> String {
        let places: Vec<usize> = (0..self.constants.len()).filter(|i| self.constants[*i].is_some()).collect();
        format!("tensor {:?} {places:?}", self.kind)
    }

    /// Its constants.
    pub(super) fn weights(&self) -> Vec<&Tensor> {
        self.constants.iter().flatten().collect()
    }

    /// The result's shape behind the batch, of arguments of such shapes.
    ///
    /// # Errors
    /// When they do not fit, or the result has more than [`LIMIT`] numbers.
    pub fn shape(&self, arguments: &[&[usize]]) -> Result<Vec<usize>> {
        shape::of(&self.kind, arguments)
    }

    /// Runs it on the inputs `[batch, ...]`.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn run(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let mut inputs = inputs.iter().copied();
        let next = |constant: &'_ Option<Tensor>| match constant {
            Some(constant) => Ok(constant.clone()),
            None => inputs.next().cloned().ok_or_else(|| candle_core::Error::Msg("an input is missing".into())),
        };
        let arguments: Vec<Tensor> = self.constants.iter().map(next).collect::<Result<_>>()?;
        if inputs.next().is_some() {
            bail!("{} has {} arguments, and more inputs are given", self.describe(), arguments.len());
        }
        self.kind.run(&arguments.iter().collect::<Vec<_>>())
    }
}

impl Kind {
    fn run(&self, arguments: &[&Tensor]) -> Result<Tensor> {
        let shapes: Vec<&[usize]> = arguments.iter().map(|a| a.dims().get(1..).unwrap_or_default()).collect();
        let shape = shape::of(self, &shapes)?;
        let batch = arguments.iter().map(|a| a.dims().first().copied().unwrap_or(1)).max().unwrap_or(1);
        let whole = [&[batch], shape.as_slice()].concat();
        match (self, arguments) {
            (Self::Permute(order), [x]) => {
                let order: Vec<usize> = std::iter::once(0).chain(order.iter().map(|i| i + 1)).collect();
                x.permute(order)?.contiguous()
            }
            (Self::Reshape(_), [x]) => x.contiguous()?.reshape(whole),
            (Self::Narrow { axis, start, length }, [x]) => x.narrow(axis + 1, *start, *length)?.contiguous(),
            (Self::Select { axis, places }, [x]) => {
                x.contiguous()?.index_select(&Tensor::new(places.as_slice(), x.device())?, axis + 1)
            }
            (Self::Expand(_), [x]) => x.broadcast_as(whole)?.contiguous(),
            (Self::Pad { axis, border, value }, [x]) => pad(x, axis + 1, *border, *value),
            (Self::Spread { axis, step }, [x]) => spread(x, axis + 1, *step),
            (Self::Concat(axis), parts) => concat(parts, axis + 1, batch),
            (Self::Binary(f), [a, b]) => f.run(a, b),
            (Self::Unary(f), [x]) => f.run(x),
            (Self::Where, [condition, a, b]) => {
                let wide = |x: &Tensor| x.broadcast_as(whole.as_slice())?.contiguous();
                wide(condition)?.ne(0.0)?.where_cond(&wide(a)?, &wide(b)?)
            }
            (Self::MatMul, [a, b]) => matmul(a, b, &whole),
            (Self::Reduce(f, axes), [x]) => {
                f.run(x, &axes.iter().map(|a| a + 1).collect::<Vec<_>>())?.contiguous()?.reshape(whole)
            }
            (Self::Along(axis), [x, matrix]) => along(x, axis + 1, &matrix.squeeze(0)?),
            (Self::LogSoftmax, [x]) => log_softmax(x),
            _ => bail!("{self:?} cannot run on {} arguments", arguments.len()),
        }
    }
}

impl Reduction {
    fn run(self, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
        match self {
            Self::Mean => x.mean_keepdim(axes),
            Self::Sum => x.sum_keepdim(axes),
            Self::Max => axes.iter().try_fold(x.clone(), |x, axis| x.max_keepdim(*axis)),
            Self::Min => axes.iter().try_fold(x.clone(), |x, axis| x.min_keepdim(*axis)),
            Self::L1 => Unary::Size.run(x)?.sum_keepdim(axes),
            Self::L2 => x.sqr()?.sum_keepdim(axes)?.sqrt(),
            Self::Squares => x.sqr()?.sum_keepdim(axes),
            Self::Product => bail!("products have no gradient"),
        }
    }
}

fn pad(x: &Tensor, axis: usize, [before, behind]: [usize; 2], value: f32) -> Result<Tensor> {
    if value == 0.0 {
        return x.contiguous()?.pad_with_zeros(axis, before, behind);
    }
    let border = |places: usize| {
        let mut shape = x.dims().to_vec();
        shape[axis] = places;
        Tensor::full(value, shape, x.device())?.to_dtype(x.dtype())
    };
    Tensor::cat(&[&border(before)?, x, &border(behind)?], axis)?.contiguous()
}

fn spread(x: &Tensor, axis: usize, step: usize) -> Result<Tensor> {
    let places = x.dim(axis)?;
    let wide = x.contiguous()?.unsqueeze(axis + 1)?.pad_with_zeros(axis + 1, 0, step - 1)?;
    let mut shape = x.dims().to_vec();
    shape[axis] = places * step;
    wide.reshape(shape)?.narrow(axis, 0, (places - 1) * step + 1)?.contiguous()
}

/// Constants have one batch for all.
fn concat(parts: &[&Tensor], axis: usize, batch: usize) -> Result<Tensor> {
    let wide = |x: &&Tensor| {
        let mut shape = x.dims().to_vec();
        shape[0] = batch;
        x.broadcast_as(shape)?.contiguous()
    };
    Tensor::cat(&parts.iter().map(wide).collect::<Result<Vec<_>>>()?, axis)?.contiguous()
}

fn matmul(a: &Tensor, b: &Tensor, whole: &[usize]) -> Result<Tensor> {
    let lead = &whole[..whole.len() - 2];
    let wide = |x: &Tensor| x.broadcast_as([lead, &x.dims()[lead.len()..]].concat())?.contiguous();
    wide(a)?.matmul(&wide(b)?)
}

fn along(x: &Tensor, axis: usize, matrix: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    let turned = x.transpose(axis, last)?.contiguous()?;
    let mut shape = turned.dims().to_vec();
    let rows = turned.reshape(((), shape[last]))?.matmul(&matrix.to_dtype(x.dtype())?.t()?)?;
    shape[last] = matrix.dim(0)?;
    rows.reshape(shape)?.transpose(axis, last)?.contiguous()
}

fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    let shifted = x.broadcast_sub(&x.max_keepdim(last)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(last)?.log()?)
}

#[cfg(test)]
mod tests;
