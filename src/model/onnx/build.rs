//! The network as it grows: operations become nodes, or constants where all their arguments are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Result, Tensor, bail};

use super::integer;
use super::value::{Array, Source, Value};
use crate::model::graph::tensor::{Kind, LIMIT, Unary};
use crate::model::graph::{Op, TensorOp};
use crate::ops::Activation;

/// Numbers of all layers for one picture at most: 4 GiB of f32.
const TOTAL: usize = 1 << 30;

/// A node to be.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: Option<String>,
    pub(super) op: Op,
    pub(super) inputs: Vec<usize>,
    pub(super) shape: Vec<usize>,
}

/// What a name of the file has become, if no node of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alias {
    /// The numbers of this node.
    Same(usize),
    /// A step on the way to this node's numbers.
    Part(usize),
}

/// Nodes, and names for them.
#[derive(Debug)]
pub(super) struct Build {
    /// The first is the input.
    pub(super) drafts: Vec<Draft>,
    pub(super) aliases: BTreeMap<String, Alias>,
    names: BTreeSet<String>,
    /// Nodes that only look at others, by what they look at and how.
    views: BTreeMap<(usize, String), usize>,
    /// Numbers that constants may still be made of.
    budget: usize,
    total: usize,
    /// Where files of numbers lie.
    folder: PathBuf,
}

impl Build {
    /// A network with this input; computed constants have at most `budget` numbers in all.
    pub(super) fn new(input: [usize; 3], budget: usize, folder: &Path) -> Self {
        let shape = input.to_vec();
        let first = Draft { name: Some("input".into()), op: Op::Input, inputs: Vec::new(), shape };
        let names = BTreeSet::from(["input".to_owned()]);
        Self {
            drafts: vec![first],
            aliases: BTreeMap::new(),
            names,
            views: BTreeMap::new(),
            budget,
            total: 0,
            folder: folder.to_path_buf(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// An operation on arrays.
    pub(super) fn apply(&mut self, kind: Kind, arguments: &[&Array]) -> Result<Array> {
        if arguments.iter().all(|a| a.is_constant()) {
            return self.compute(&kind, arguments);
        }
        let looks = matches!(kind, Kind::Permute(_) | Kind::Reshape(_));
        if looks
            && let [Array { source: Source::Node(node), .. }] = arguments
            && let Some(known) = self.views.get(&(*node, format!("{kind:?}")))
        {
            return Ok(Array::node(*known, self.drafts[*known].shape.clone()));
        }
        let floats = |a: &&Array| match &a.source {
            Source::Constant(tensor) => tensor.to_dtype(DType::F32).map(Some),
            Source::Node(_) => Ok(None),
        };
        let constants = arguments.iter().map(floats).collect::<Result<_>>()?;
        let op = TensorOp { kind, constants };
        let shape = op.shape(&arguments.iter().map(|a| a.shape.as_slice()).collect::<Vec<_>>())?;
        let inputs = arguments.iter().filter_map(|a| node(a)).collect::<Vec<_>>();
        let key = looks.then(|| (inputs[0], format!("{:?}", op.kind)));
        let made = self.draft(Op::Tensor(op), inputs, shape)?;
        if let (Some(key), Source::Node(node)) = (key, &made.source) {
            self.views.insert(key, *node);
        }
        Ok(made)
    }

    /// The same of constants: now.
    fn compute(&mut self, kind: &Kind, arguments: &[&Array]) -> Result<Array> {
        let shapes: Vec<&[usize]> = arguments.iter().map(|a| a.shape.as_slice()).collect();
        let op = TensorOp::of_inputs(kind.clone(), arguments.len());
        let shape = op.shape(&shapes)?;
        self.spend(shape.iter().product())?;
        let tensors: Vec<&Tensor> = arguments.iter().filter_map(|a| constant(a)).collect();
        let tensor = match integer::run(kind, &tensors, &shape)? {
            Some(tensor) => tensor,
            None => op.run(&tensors)?,
        };
        Ok(Array { source: Source::Constant(tensor), shape })
    }

    /// Numbers that the file brings make room for some that follow from them.
    pub(super) fn earn(&mut self, numbers: usize) {
        self.budget = self.budget.saturating_add(numbers.saturating_mul(4));
    }

    /// Counts numbers of computed constants.
    pub(super) fn spend(&mut self, numbers: usize) -> Result<()> {
        match self.budget.checked_sub(numbers) {
            Some(left) => self.budget = left,
            None => bail!("the constants that follow from this file are out of proportion to it"),
        }
        Ok(())
    }

    /// An operation with a kernel, whose result has this shape behind the batch.
    pub(super) fn add(&mut self, op: Op, arguments: &[&Array], shape: Vec<usize>) -> Result<Array> {
        if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_none_or(|n| n > LIMIT) {
            bail!("a result of {shape:?} has more than {LIMIT} numbers a picture");
        }
        if arguments.iter().any(|a| !a.is_constant()) {
            // Of kernels only sums have two arguments, and constants go to `apply`.
            let inputs = arguments.iter().filter_map(|a| node(a)).collect::<Vec<_>>();
            return self.draft(op, inputs, shape);
        }
        self.spend(shape.iter().product())?;
        let floats = |t: &Tensor| t.to_dtype(DType::F32);
        let tensors = arguments.iter().filter_map(|a| constant(a)).map(floats).collect::<Result<Vec<_>>>()?;
        let tensor = op.run(&tensors.iter().collect::<Vec<_>>(), &Arc::default())?;
        Ok(Array { source: Source::Constant(tensor), shape })
    }

    fn draft(&mut self, op: Op, inputs: Vec<usize>, shape: Vec<usize>) -> Result<Array> {
        if shape.contains(&0) {
            bail!("nothing is left: {shape:?}");
        }
        self.total = self.total.saturating_add(shape.iter().product());
        if self.total > TOTAL {
            bail!("the layers up to here have more than {TOTAL} numbers a picture");
        }
        self.drafts.push(Draft { name: None, op, inputs, shape: shape.clone() });
        Ok(Array::node(self.drafts.len() - 1, shape))
    }

    /// The array whose axes are these of ONNX's, in this order; the others have to be of one place.
    pub(super) fn arrange(&mut self, value: &Value, order: &[usize]) -> Result<Array> {
        let (dims, held) = (value.dims(), &value.array.shape);
        let shape: Vec<usize> = order.iter().map(|i| dims[*i]).collect();
        if shape.iter().product::<usize>() != held.iter().product::<usize>() {
            bail!("{dims:?} has more than one place along an axis other than {order:?}: the batch has to be of one");
        }
        let mut turned: Vec<usize> = order.iter().filter_map(|i| value.axes[*i]).collect();
        let rest: Vec<usize> = (0..held.len()).filter(|a| !turned.contains(a)).collect();
        turned.extend(rest);
        let mut array = value.array.clone();
        // Axes of one place may stand anywhere.
        if !turned.iter().filter(|a| held[**a] != 1).is_sorted() {
            array = self.apply(Kind::Permute(turned), &[&array])?;
        }
        self.reshape(&array, shape)
    }

    pub(super) fn reshape(&mut self, array: &Array, shape: Vec<usize>) -> Result<Array> {
        if array.shape == shape {
            return Ok(array.clone());
        }
        self.apply(Kind::Reshape(shape), &[array])
    }

    /// Number by number, whatever the order of the axes.
    pub(super) fn each(&mut self, value: &Value, f: Unary) -> Result<Value> {
        let array = match f {
            Unary::Relu | Unary::Clip(0.0, f32::MAX) => self.bend(&value.array, Activation::Relu)?,
            Unary::Clip(0.0, 6.0) => self.bend(&value.array, Activation::Relu6)?,
            _ => self.apply(Kind::Unary(f), &[&value.array])?,
        };
        Ok(array.seen(value.axes.clone()))
    }

    /// A non-linearity that has a kernel.
    pub(super) fn bend(&mut self, array: &Array, f: Activation) -> Result<Array> {
        self.add(Op::Activation(f), &[array], array.shape.clone())
    }

    /// Several values with the same axes in the same order, and that order: of ONNX's axes at the largest rank.
    pub(super) fn align(&mut self, values: &[&Value]) -> Result<(Vec<Array>, Vec<usize>, usize)> {
        self.align_with(values, &[])
    }

    /// The same, where some axes are wanted in any case.
    pub(super) fn align_with(
        &mut self,
        values: &[&Value],
        wanted: &[usize],
    ) -> Result<(Vec<Array>, Vec<usize>, usize)> {
        let rank = values.iter().map(|v| v.rank()).max().unwrap_or(0);
        let values: Vec<Value> = values.iter().map(|v| v.of_rank(rank)).collect();
        let order = common_order(&values, rank, wanted);
        let arrays = values.iter().map(|v| self.arrange(v, &order)).collect::<Result<_>>()?;
        Ok((arrays, order, rank))
    }

    /// Gives a node its name; one that has a name already gets another.
    pub(super) fn name(&mut self, array: &Array, name: &str) {
        let Source::Node(node) = array.source else { return };
        if self.drafts[node].name.is_some() {
            self.alias(name, Alias::Same(node));
        } else {
            let name = self.unused(name);
            self.drafts[node].name = Some(name);
        }
    }

    pub(super) fn alias(&mut self, name: &str, alias: Alias) {
        if !name.is_empty() && self.names.insert(name.to_owned()) {
            self.aliases.insert(name.to_owned(), alias);
        }
    }

    /// Names the nodes from `first` on that have none: helpers of `of`.
    pub(super) fn name_helpers(&mut self, first: usize, of: &str) {
        for node in first..self.drafts.len() {
            if self.drafts[node].name.is_none() {
                let part = match &self.drafts[node].op {
                    Op::Tensor(TensorOp { kind: Kind::Permute(_), .. }) => "permute",
                    Op::Tensor(TensorOp { kind: Kind::Reshape(_), .. }) => "reshape",
                    Op::Tensor(TensorOp { kind: Kind::Pad { .. }, .. }) => "pad",
                    _ => "step",
                };
                let name = self.unused(&format!("{of}.{part}"));
                self.drafts[node].name = Some(name);
            }
        }
    }

    /// The name, with a number behind where it is taken.
    fn unused(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 1;
        while free.is_empty() || !self.names.insert(free.clone()) {
            number += 1;
            free = format!("{name}.{number}");
        }
        free
    }

    /// A node takes up the one that follows it: its name, and the other names for it, become names of a part.
    pub(super) fn absorb(&mut self, node: usize) {
        for alias in self.aliases.values_mut() {
            if *alias == Alias::Same(node) {
                *alias = Alias::Part(node);
            }
        }
        if let Some(name) = self.drafts[node].name.take() {
            self.aliases.insert(name, Alias::Part(node));
        }
    }
}

fn node(array: &Array) -> Option<usize> {
    match array.source {
        Source::Node(node) => Some(node),
        Source::Constant(_) => None,
    }
}

fn constant(array: &Array) -> Option<&Tensor> {
    match &array.source {
        Source::Constant(tensor) => Some(tensor),
        Source::Node(_) => None,
    }
}

/// The order of the value with the most axes, a node's before a constant's, one in ONNX's order before others; and the
/// axes it lacks where they belong.
fn common_order(values: &[Value], rank: usize, wanted: &[usize]) -> Vec<usize> {
    let orders = values.iter().map(|v| (!v.is_constant(), v.order()));
    let best = orders.max_by_key(|(is_node, order)| (*is_node, order.len(), order.is_sorted()));
    let mut order = best.map(|(_, order)| order).unwrap_or_default();
    for axis in 0..rank {
        let needed = wanted.contains(&axis) || values.iter().any(|v| v.dim(axis) != 1);
        if needed && !order.contains(&axis) {
            let place = order.iter().position(|other| *other > axis).unwrap_or(order.len());
            order.insert(place, axis);
        }
    }
    order
}

/// ONNX's axes of an array whose axes were arranged in this order.
pub(super) fn axes_of(order: &[usize], rank: usize) -> Vec<Option<usize>> {
    (0..rank).map(|axis| order.iter().position(|other| *other == axis)).collect()
}
