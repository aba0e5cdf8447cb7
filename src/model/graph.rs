//! One model form: a list of named nodes in the order they run, and one executor for it.

mod backward;
mod cost;
mod layout;
pub(in crate::model) mod op;
mod precision;
mod receptive;
pub mod tensor;

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::dataset::preprocess::Preprocess;
use crate::error::{Error, Result};
use crate::ops::{Activation, Conv2d, Prepared, memory};
use crate::store::digest::{Digest, DigestBuilder};

pub use layout::Layout;
pub use op::Op;
pub use precision::Precision;
use precision::{Numbers, widened};
pub use tensor::TensorOp;

/// Values of one layer that a forward pass holds at most, where that is enough for every core: 16 MB of f32, so that much
/// of a layer is still in the last cache when the next one reads it.
const SHARE: usize = 4 << 20;

#[derive(Debug, Clone)]
struct Node {
    name: String,
    op: Op,
    inputs: Vec<usize>,
    shape: Vec<usize>,
    prepared: Arc<Prepared>,
    numbers: Numbers,
}

impl Node {
    fn new(name: String, op: Op, inputs: Vec<usize>) -> Self {
        Self { name, op, inputs, shape: Vec::new(), prepared: Arc::default(), numbers: Numbers::default() }
    }

    fn run(&self, inputs: &[&Tensor]) -> candle_core::Result<Tensor> {
        let taken = self.taken(inputs)?;
        self.given(&self.op.run(&taken.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &self.prepared)?)
    }
}

/// A layer's name and the shape of its activation, without the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The name.
    pub name: String,
    /// `[channel, height, width]`, `[token, channel]` or `[channel]`.
    pub shape: Vec<usize>,
}

/// A node to run; `fused` is a convolution or linear layer that is run with it, and the residual where it is a sum.
pub(super) struct Step {
    pub(super) node: usize,
    pub(super) fused: Option<(usize, Option<usize>)>,
}

/// A network: named nodes, its preprocessing, its class names.
#[derive(Debug, Clone)]
pub struct Graph {
    name: String,
    nodes: Vec<Node>,
    preprocess: Preprocess,
    classes: Vec<String>,
    digest: Digest,
    /// Pictures whose largest layer has [`SHARE`] values.
    share: usize,
    precision: Precision,
    /// See [`Graph::redirecting`].
    redirect: bool,
    aliases: BTreeMap<String, Alias>,
}

/// A second name: of a layer itself, or of a step that was taken up by it.
#[derive(Debug, Clone, Copy)]
enum Alias {
    Same(usize),
    Part(usize),
}

/// Builds a [`Graph`] node by node.
#[derive(Debug)]
pub struct GraphBuilder {
    nodes: Vec<Node>,
    aliases: BTreeMap<String, Alias>,
}

impl GraphBuilder {
    /// A graph with an input `[channel, height, width]`.
    pub fn new(input: [usize; 3]) -> Self {
        let shape = input.to_vec();
        let input = Node { shape, ..Node::new("input".into(), Op::Input, Vec::new()) };
        Self { nodes: vec![input], aliases: BTreeMap::new() }
    }

    /// Adds a node and returns its number.
    pub fn add(&mut self, name: impl Into<String>, op: Op, inputs: &[usize]) -> usize {
        self.nodes.push(Node::new(name.into(), op, inputs.to_vec()));
        self.nodes.len() - 1
    }

    /// Gives a node a second name.
    pub fn alias(&mut self, name: impl Into<String>, node: usize) {
        self.aliases.insert(name.into(), Alias::Same(node));
    }

    /// A name for a step on the way to a node's activation, whose own is not kept: whoever asks for it is told so.
    pub fn part(&mut self, name: impl Into<String>, node: usize) {
        self.aliases.insert(name.into(), Alias::Part(node));
    }

    /// Infers the shapes by running one empty picture, and hashes the whole.
    ///
    /// # Errors
    /// When the nodes do not fit each other.
    pub fn finish(
        mut self,
        name: &str,
        preprocess: Preprocess,
        classes: Vec<String>,
        device: &Device,
    ) -> Result<Graph> {
        memory::keep();
        let input = [&[1], self.nodes[0].shape.as_slice()].concat();
        let mut values = BTreeMap::from([(0, Tensor::zeros(input, DType::F32, device)?)]);
        for i in 1..self.nodes.len() {
            let node = &self.nodes[i];
            let inputs: Vec<&Tensor> = node.inputs.iter().filter_map(|j| values.get(j)).collect();
            let value = node.op.run(&inputs, &node.prepared).map_err(|e| {
                let hint = "the weights may belong to another model: see `cavern ls models`";
                Error::data(format!("layer `{}` of {name}", node.name), e.to_string(), hint)
            })?;
            let value = value.detach();
            self.nodes[i].shape = value.dims()[1..].to_vec();
            values.insert(i, value);
            // What no later node takes is dropped: a large picture's layers do not all fit.
            values.retain(|j, _| self.nodes[i + 1..].iter().any(|n| n.inputs.contains(j)));
        }
        // Not before: one picture has few positions, and would leave forms that larger batches do not use.
        self.nodes.iter_mut().filter_map(|n| Arc::get_mut(&mut n.prepared)).for_each(|p| p.kept = true);
        let digest = self.digest(name)?;
        let largest = self.nodes.iter().map(|n| n.shape.iter().product::<usize>()).max().unwrap_or(1);
        let share = SHARE / largest.max(1);
        let precision = Precision::F32;
        let (name, aliases) = (name.to_owned(), self.aliases);
        Ok(Graph { name, nodes: self.nodes, preprocess, classes, digest, share, precision, redirect: false, aliases })
    }

    fn digest(&self, name: &str) -> Result<Digest> {
        let mut digest = DigestBuilder::new("graph v1").field("name", name);
        for node in &self.nodes {
            digest = digest.field("node", &node.name).field("op", node.op.describe()).json("inputs", &node.inputs)?;
            for weight in node.op.weights() {
                let values = weight.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
                let mut bytes = vec![0; 4 * values.len()];
                bytes.chunks_exact_mut(4).zip(&values).for_each(|(to, v)| to.copy_from_slice(&v.to_le_bytes()));
                digest = digest.json("shape", &weight.dims())?.field("values", bytes);
            }
        }
        Ok(digest.finish())
    }
}

impl Graph {
    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape of one input: `[channel, height, width]`.
    pub fn input_shape(&self) -> [usize; 3] {
        let shape = &self.nodes[0].shape;
        [shape[0], shape[1], shape[2]]
    }

    /// How pictures become input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The same network, whose gradients pass a shut ReLU where they would open it: a way for activation maximisation out of
    /// regions where a unit is dead (Lucid, `redirected_relu_grad`).
    #[must_use]
    pub fn redirecting(&self) -> Self {
        Self { redirect: true, ..self.clone() }
    }

    /// From now on takes pictures whole, stretched to the input, instead of cropping them.
    pub fn stretch(&mut self) {
        self.preprocess.crop = None;
    }

    /// From now on pictures become input in this way.
    pub fn prepare(&mut self, preprocess: Preprocess) {
        self.preprocess = preprocess;
    }

    /// Names the classes of its logits, the values of its last layer.
    ///
    /// # Errors
    /// When there are more or fewer names than logits.
    pub fn name_classes(&mut self, names: Vec<String>) -> Result<()> {
        let logits = self.nodes.last().map_or(0, |n| n.shape.iter().product());
        if names.len() != logits {
            let problem = format!("there are {} names for {logits} logits", names.len());
            return Err(Error::data("the labels", problem, format!("give {logits} names, one a line")));
        }
        self.classes = names;
        Ok(())
    }

    /// Names of the classes of its logits; empty where they are not known.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The node of the class logits: `logits` in the zoo's networks, otherwise the last node, or the one before a softmax.
    pub fn logits(&self) -> usize {
        let last = self.layers().len();
        let before = if matches!(self.op(last), Op::Softmax) { self.inputs(last)[0] } else { last };
        self.layer("logits").unwrap_or(before)
    }

    /// Digest of the architecture and the weights.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many numbers its weights are, norms folded into their convolutions.
    pub fn parameters(&self) -> usize {
        self.nodes.iter().flat_map(|node| node.op.weights()).map(Tensor::elem_count).sum()
    }

    /// The network up to a node, to go on from there.
    pub(super) fn up_to(&self, node: usize) -> GraphBuilder {
        let within = |alias: &Alias| matches!(alias, Alias::Same(n) | Alias::Part(n) if *n <= node);
        let aliases = self.aliases.iter().filter(|(_, alias)| within(alias));
        GraphBuilder {
            nodes: self.nodes[..=node].to_vec(),
            aliases: aliases.map(|(name, alias)| (name.clone(), *alias)).collect(),
        }
    }

    /// Every layer, in the order they run.
    pub fn layers(&self) -> Vec<LayerInfo> {
        let info = |n: &Node| LayerInfo { name: n.name.clone(), shape: n.shape.clone() };
        self.nodes[1..].iter().map(info).collect()
    }

    /// A node's name.
    pub fn layer_name(&self, node: usize) -> &str {
        &self.nodes[node].name
    }

    /// Shape of a node's activation, without the batch.
    pub fn shape(&self, node: usize) -> &[usize] {
        &self.nodes[node].shape
    }

    /// What a node computes.
    pub fn op(&self, node: usize) -> &Op {
        &self.nodes[node].op
    }

    /// The nodes whose activations a node takes, in its order.
    pub fn inputs(&self, node: usize) -> &[usize] {
        &self.nodes[node].inputs
    }

    /// One node by itself: its activation from those of its inputs.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn run_node(&self, node: usize, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok(self.nodes[node].run(inputs)?)
    }

    /// One node backwards: the gradients of its inputs from that of its activation y.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn pull_back_node(
        &self,
        node: usize,
        inputs: &[&Tensor],
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<Vec<Tensor>> {
        let sums = vec![None; inputs.len()];
        Ok(self.nodes[node].op.pull_back(inputs, (y, gradient), &sums, &self.nodes[node].prepared)?)
    }

    /// The node with this name.
    ///
    /// # Errors
    /// When there is none: the message has the nearest names.
    pub fn layer(&self, name: &str) -> Result<usize> {
        let found = self.nodes.iter().skip(1).position(|n| n.name == name).map(|i| i + 1);
        match (found, self.aliases.get(name)) {
            (None, Some(Alias::Same(node))) if *node > 0 => return Ok(*node),
            (None, Some(Alias::Part(node))) => {
                let hint = format!("take `{}`", self.nodes[*node].name);
                return Err(Error::data(format!("layer `{name}`"), "is a part of the layer after it", hint));
            }
            _ => {}
        }
        found.ok_or_else(|| Error::unknown("layer", name, self.nodes[1..].iter().map(|n| n.name.as_str())))
    }

    /// The nodes whose name matches a glob (`*` any text, `?` any character), in the order they run.
    ///
    /// # Errors
    /// When none does: the message has the nearest names.
    pub fn select(&self, pattern: &str) -> Result<Vec<usize>> {
        let matches: Vec<usize> = (1..self.nodes.len()).filter(|i| glob(pattern, &self.nodes[*i].name)).collect();
        if matches.is_empty() { self.layer(pattern).map(|node| vec![node]) } else { Ok(matches) }
    }

    /// Activations at the nodes `taps`, in their order, for x `[batch, channel, height, width]`, normalised. Runs to the
    /// deepest tap and no further; values are dropped after their last use.
    ///
    /// # Errors
    /// When the input does not fit.
    pub fn forward(&self, x: &Tensor, taps: &[usize]) -> Result<Vec<Tensor>> {
        self.forward_from(0, x, taps)
    }

    /// The same, on from the activation of a node.
    ///
    /// # Errors
    /// When the activation does not fit, or a tap needs more than that node.
    pub fn forward_from(&self, node: usize, activation: &Tensor, taps: &[usize]) -> Result<Vec<Tensor>> {
        let wanted = &self.nodes[node].shape;
        if activation.rank() == 0 || &activation.dims()[1..] != wanted.as_slice() {
            let problem = format!("the activation is {:?}, wanted [batch, {wanted:?}]", activation.dims());
            return Err(Error::data(format!("layer `{}`", self.nodes[node].name), problem, "see `cavern ls layers`"));
        }
        let share = self.together();
        let batch = activation.dim(0)?;
        if activation.track_op() || batch <= share {
            return self.forward_once(node, activation, taps);
        }
        // Parts of about one size: a small rest would leave cores without work.
        let share = batch.div_ceil(batch.div_ceil(share));
        let parts = (0..batch).step_by(share).map(|first| {
            let part = activation.narrow(0, first, share.min(batch - first))?.contiguous()?;
            self.forward_once(node, &part, taps)
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        (0..taps.len()).map(|t| Ok(Tensor::cat(&parts.iter().map(|p| &p[t]).collect::<Vec<_>>(), 0)?)).collect()
    }

    /// Pictures that are run together: few enough that their memory is used again by the next layer and the next pictures,
    /// where that of a large batch would go back to the system each time; enough for every core. No result depends on it.
    fn together(&self) -> usize {
        self.share.max(rayon::current_num_threads())
    }

    fn forward_once(&self, node: usize, activation: &Tensor, taps: &[usize]) -> Result<Vec<Tensor>> {
        let values = self.values(node, activation, taps, false)?;
        taps.iter().map(|t| Ok(widened(values.get(t).ok_or_else(|| self.unreachable(node, *t))?)?)).collect()
    }

    /// The values of the nodes on the way from `node` to the taps: all of them, or those that stay wanted to the end.
    fn values(&self, node: usize, activation: &Tensor, taps: &[usize], all: bool) -> Result<BTreeMap<usize, Tensor>> {
        let steps = self.steps(node, taps)?;
        let mut last_use: BTreeMap<usize, usize> = BTreeMap::new();
        for step in &steps {
            last_use.extend(self.reads(step).map(|j| (j, step.node)));
        }
        let mut values: BTreeMap<usize, Tensor> = BTreeMap::from([(node, activation.clone())]);
        for step in &steps {
            let value = self.run(step, &values)?;
            values.insert(step.node, value);
            for j in self.reads(step) {
                if !all && last_use.get(&j) == Some(&step.node) && !taps.contains(&j) {
                    values.remove(&j);
                }
            }
        }
        Ok(values)
    }

    /// What a step reads.
    fn reads(&self, step: &Step) -> impl Iterator<Item = usize> + use<'_> {
        let (first, second) = match step.fused {
            Some((product, residual)) => (&self.nodes[product].inputs, residual),
            None => (&self.nodes[step.node].inputs, None),
        };
        first.iter().copied().chain(second)
    }

    fn run(&self, step: &Step, values: &BTreeMap<usize, Tensor>) -> Result<Tensor> {
        let inputs = self.reads(step).filter_map(|j| values.get(&j)).collect::<Vec<_>>();
        let node = &self.nodes[step.node];
        let (Some((product, _)), Op::Add(f) | Op::Activation(f)) = (step.fused, &node.op) else {
            return Ok(node.run(&inputs)?);
        };
        let product = &self.nodes[product];
        let [x, residual @ ..] = &product.taken(&inputs)?[..] else {
            return Err(Error::Failure("a product has an input".into()));
        };
        let residual = residual.first().map(AsRef::as_ref);
        Ok(node.given(&product.op.run_with(x, residual, *f, &product.prepared)?)?)
    }

    /// The nodes to run from `start` to the taps, in order. A convolution or linear layer whose result goes into one sum, or
    /// one non-linearity, and is not asked for is run with that.
    pub(super) fn steps(&self, start: usize, taps: &[usize]) -> Result<Vec<Step>> {
        let needed = self.needed(start, taps)?;
        let mut users: BTreeMap<usize, usize> = BTreeMap::new();
        for j in needed.iter().flat_map(|i| &self.nodes[*i].inputs) {
            *users.entry(*j).or_default() += 1;
        }
        let fuses = |i: usize| {
            let alone = |j: &usize| {
                let plain = match &self.nodes[*j].op {
                    Op::Conv2d(Conv2d { activation, .. }, ..) | Op::Linear(activation, ..) => {
                        *activation == Activation::None
                    }
                    _ => false,
                };
                plain && users.get(j) == Some(&1) && !taps.contains(j) && *j != start
            };
            match (&self.nodes[i].op, self.nodes[i].inputs.as_slice()) {
                (Op::Add(f), [a, b]) if f.fuses() => {
                    [(*a, Some(*b)), (*b, Some(*a))].into_iter().find(|(product, _)| alone(product))
                }
                (Op::Activation(f), [a]) if f.fuses() && alone(a) => Some((*a, None)),
                _ => None,
            }
        };
        let mut steps: Vec<Step> = needed.into_iter().map(|node| Step { node, fused: fuses(node) }).collect();
        let fused: Vec<usize> = steps.iter().filter_map(|s| s.fused.map(|(product, _)| product)).collect();
        steps.retain(|s| !fused.contains(&s.node));
        Ok(steps)
    }

    /// The nodes that have to run to get from `start` to the taps, in order.
    fn needed(&self, start: usize, taps: &[usize]) -> Result<Vec<usize>> {
        let mut stack: Vec<usize> = taps.iter().copied().filter(|t| *t != start).collect();
        let mut needed = std::collections::BTreeSet::new();
        while let Some(i) = stack.pop() {
            if i < start || self.nodes[i].inputs.is_empty() {
                return Err(self.unreachable(start, i));
            }
            if needed.insert(i) {
                stack.extend(self.nodes[i].inputs.iter().filter(|j| **j != start));
            }
        }
        Ok(needed.into_iter().collect())
    }

    fn unreachable(&self, start: usize, node: usize) -> Error {
        let (from, to) = (&self.nodes[start].name, &self.nodes[node].name);
        let problem = format!("`{to}` is needed and does not follow from `{from}` alone");
        Error::data(format!("layer `{from}`"), problem, "start from a layer that every path runs through")
    }
}

/// Whether a name matches a pattern of literal characters, `*` and `?`.
fn glob(pattern: &str, name: &str) -> bool {
    fn matches(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
            ['?', rest @ ..] => !name.is_empty() && matches(rest, &name[1..]),
            [c, rest @ ..] => name.first() == Some(c) && matches(rest, &name[1..]),
        }
    }
    let chars = |s: &str| s.chars().collect::<Vec<_>>();
    matches(&chars(pattern), &chars(name))
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::dataset::preprocess::{Filter, Preprocess};
    use crate::ops::Padding;
    use crate::ops::check::random;
    use crate::ops::pool::{Pool2d, Reduce};

    /// a -> b -> (b + a) -> pool, by hand.
    pub(super) fn small() -> Graph {
        let single = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F32).unwrap();
        let mut g = GraphBuilder::new([2, 6, 6]);
        let conv = Conv2d { activation: Activation::Relu, ..Conv2d::default() };
        let a = g.add("stem", Op::Conv2d(conv, single(&[3, 2, 1, 1], 1), single(&[3], 2)), &[0]);
        let b = g.add("blocks.0.conv", Op::Conv2d(conv, single(&[3, 3, 1, 1], 3), single(&[3], 4)), &[a]);
        let c = g.add("blocks.0", Op::Add(Activation::None), &[b, a]);
        let pool = Pool2d { reduce: Reduce::Max, kernel: [2, 2], stride: 2, padding: 0, ceil: false };
        let d = g.add("pool", Op::Pool2d(pool), &[c]);
        g.add("mean", Op::GlobalMean, &[d]);
        let preprocess = Preprocess { size: 6, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        g.finish("small", preprocess, Vec::new(), &Device::Cpu).unwrap()
    }

    #[test]
    fn layers_have_names_shapes_and_globs() {
        let g = small();
        assert_eq!(g.layers()[3], LayerInfo { name: "pool".into(), shape: vec![3, 3, 3] });
        assert_eq!(g.select("blocks.*").unwrap(), [2, 3]);
        assert_eq!(g.select("blocks.?").unwrap(), [3]);
        let message = g.layer("block.0").unwrap_err().to_string();
        assert!(message.contains("`blocks.0`"), "{message}");
        assert!(g.select("nothing*").is_err());
    }

    #[test]
    fn going_on_from_a_layer_is_going_through() {
        let g = small();
        let x = random(&[2, 2, 6, 6], 9).to_dtype(DType::F32).unwrap();
        let out = g.forward(&x, &[3, 5, 1]).unwrap();
        let on = g.forward_from(3, &out[0], &[5, 3]).unwrap();
        assert_eq!(on[0].to_vec2::<f32>().unwrap(), out[1].to_vec2::<f32>().unwrap());
        assert_eq!(out[2].dims(), [2, 3, 6, 6]);
        assert!(g.forward_from(2, &out[2], &[5]).unwrap_err().to_string().contains("stem"));
        assert!(g.forward_from(3, &x, &[5]).is_err());
    }

    #[test]
    fn a_batch_in_parts_is_the_same_batch() {
        let whole = small();
        let parts = Graph { share: 1, ..whole.clone() };
        let x = random(&[7, 2, 6, 6], 9).to_dtype(DType::F32).unwrap();
        let bytes = |t: &Tensor| crate::ops::to_vec::<f32>(t).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let [whole, parts] = [&whole, &parts].map(|g| {
            let slope = |_: usize, z: &Tensor| Ok(z.sqr()?);
            let run = || (g.forward(&x, &[3, 5]).unwrap(), g.pull_back(4, &x, slope).unwrap());
            let (taps, gradient) = pool.install(run);
            [bytes(&taps[0]), bytes(&taps[1]), bytes(&gradient)]
        });
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_sum_that_is_run_with_its_convolution_is_the_same_sum() {
        let single = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F32).unwrap();
        let mut g = GraphBuilder::new([3, 9, 9]);
        let conv = Conv2d { padding: Padding::Same, ..Conv2d::default() };
        let a = g.add("a", Op::Conv2d(conv, single(&[8, 3, 3, 3], 1), single(&[8], 2)), &[0]);
        let b = g.add("b", Op::Conv2d(conv, single(&[8, 8, 3, 3], 3), single(&[8], 4)), &[a]);
        let c = g.add("c", Op::Add(Activation::Relu), &[b, a]);
        let preprocess = Preprocess { size: 9, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        let g = g.finish("sum", preprocess, Vec::new(), &Device::Cpu).unwrap();
        assert_eq!(g.steps(0, &[c]).unwrap().iter().filter(|s| s.fused.is_some()).count(), 1);
        let x = single(&[2, 3, 9, 9], 5);
        let [fused, apart] = [vec![c], vec![c, b]].map(|taps| g.forward(&x, &taps).unwrap().remove(0));
        assert_eq!(crate::ops::to_vec::<f32>(&fused).unwrap(), crate::ops::to_vec::<f32>(&apart).unwrap());
    }

    #[test]
    fn a_non_linearity_is_run_with_its_convolution_unless_that_is_asked_for() {
        let single = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F32).unwrap();
        let mut g = GraphBuilder::new([3, 9, 9]);
        let conv = Op::Conv2d(Conv2d::default(), single(&[8, 3, 3, 3], 1), single(&[8], 2));
        let a = g.add("conv", conv, &[0]);
        let b = g.add("relu", Op::Activation(Activation::Relu), &[a]);
        g.alias("also relu", b);
        g.part("product", a);
        let preprocess = Preprocess { size: 9, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        let g = g.finish("bent", preprocess, Vec::new(), &Device::Cpu).unwrap();
        assert_eq!([g.steps(0, &[b]).unwrap().len(), g.steps(0, &[b, a]).unwrap().len()], [1, 2]);
        let x = single(&[2, 3, 9, 9], 5);
        let [fused, apart] = [vec![b], vec![b, a]].map(|taps| g.forward(&x, &taps).unwrap().remove(0));
        assert_eq!(crate::ops::to_vec::<f32>(&fused).unwrap(), crate::ops::to_vec::<f32>(&apart).unwrap());
        pulled_back(&g, b);
        assert_eq!(g.layer("also relu").unwrap(), b);
        assert!(g.layer("product").unwrap_err().to_string().contains("take `conv`"));
    }

    #[test]
    fn pulling_back_is_candles_gradient() {
        let (small, attentive, joined) = (small(), attentive(), joined());
        [0, 1, 3, 4, 5].into_iter().for_each(|node| pulled_back(&small, node));
        (1..=9).for_each(|node| pulled_back(&attentive, node));
        (1..=5).for_each(|node| pulled_back(&joined, node));
    }

    #[test]
    fn pulling_back_to_layers_on_the_way_is_candles_gradient_of_them() {
        for (g, node, taps) in [(small(), 5, vec![3, 4]), (attentive(), 9, vec![9]), (joined(), 5, vec![3, 4])] {
            let x = random(&[&[5], g.shape(0)].concat(), 9).to_dtype(DType::F32).unwrap();
            let slope = random(&[&[5], g.shape(node)].concat(), 11).to_dtype(DType::F32).unwrap();
            let part = |first: usize, z: &Tensor| Ok(slope.narrow(0, first, z.dim(0).unwrap()).unwrap());
            let got = g.pull_back_to(&taps, node, &x, part).unwrap();
            for (tap, got) in taps.iter().zip(&got) {
                let at = Var::from_tensor(&g.forward(&x, &[*tap]).unwrap()[0]).unwrap();
                let z = if *tap == node {
                    at.as_tensor().clone()
                } else {
                    g.forward_from(*tap, &at, &[node]).unwrap().remove(0)
                };
                let wanted = (z * &slope).unwrap().sum_all().unwrap().backward().unwrap();
                let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
                let off = crate::ops::check::distance(&double(got), &double(wanted.get(&at).unwrap()));
                assert!(off < 1e-5, "{} tap {tap}: {off}", g.name);
            }
        }
        // A branch beside others: the sum passes its gradient on as it is.
        let g = small();
        let x = random(&[2, 2, 6, 6], 9).to_dtype(DType::F32).unwrap();
        let ones = |_: usize, z: &Tensor| Ok(z.ones_like()?);
        let [branch, stem, again] = &g.pull_back_to(&[2, 1, 3], 3, &x, ones).unwrap()[..] else { panic!("three") };
        let values = |t: &Tensor| crate::ops::to_vec::<f32>(t).unwrap();
        assert!(values(branch).iter().chain(&values(again)).all(|v| *v == 1.0));
        assert!(values(stem).iter().any(|v| *v != 1.0), "two paths lead from the stem");
        assert!(g.pull_back_to(&[4], 3, &x, ones).unwrap_err().to_string().contains("does not depend"));
    }

    /// Branches side by side, a norm over channels, a vector of everything.
    pub(super) fn joined() -> Graph {
        let single = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F32).unwrap();
        let mut g = GraphBuilder::new([2, 3, 4]);
        let a = g.add("a", Op::Conv2d(Conv2d::default(), single(&[3, 2, 1, 1], 1), single(&[3], 2)), &[0]);
        let b = g.add("b", Op::Conv2d(Conv2d::default(), single(&[1, 3, 1, 1], 3), single(&[1], 4)), &[a]);
        let c = g.add("c", Op::Concat, &[a, 0, b]);
        let d = g.add("norm", Op::ChannelNorm { weight: single(&[6], 5), bias: single(&[6], 6), epsilon: 1e-6 }, &[c]);
        g.add("vector", Op::Flatten, &[d]);
        let preprocess = Preprocess { size: 3, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        g.finish("joined", preprocess, Vec::new(), &Device::Cpu).unwrap()
    }

    #[test]
    fn branches_stand_one_after_the_other() {
        let g = joined();
        assert_eq!(g.shape(g.layer("c").unwrap()), [6, 3, 4]);
        assert_eq!(g.shape(g.layer("vector").unwrap()), [72]);
        let x = random(&[2, 2, 3, 4], 20).to_dtype(DType::F32).unwrap();
        let y = g.forward(&x, &[1, 3]).unwrap();
        let bytes = |t: &Tensor| crate::ops::to_vec::<f32>(t).unwrap();
        assert_eq!(bytes(&y[1].narrow(1, 0, 3).unwrap()), bytes(&y[0]));
        assert_eq!(bytes(&y[1].narrow(1, 3, 2).unwrap()), bytes(&x));
    }

    fn pulled_back(g: &Graph, node: usize) {
        let shape = [&[5], g.shape(0)].concat();
        let x = Var::from_tensor(&random(&shape, 9).to_dtype(DType::F32).unwrap()).unwrap();
        let z = if node == 0 { x.as_tensor().clone() } else { g.forward(&x, &[node]).unwrap().remove(0) };
        let slope = random(z.dims(), 11).to_dtype(DType::F32).unwrap();
        let wanted = (z * &slope).unwrap().sum_all().unwrap().backward().unwrap();
        let wanted = wanted.get(&x).unwrap();
        let part = |first: usize, z: &Tensor| Ok(slope.narrow(0, first, z.dim(0).unwrap()).unwrap());
        let got = g.pull_back(node, &x, part).unwrap();
        let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let off = crate::ops::check::distance(&double(&got), &double(wanted));
        assert!(off < 1e-5, "{} node {node}: {off}", g.name);
    }

    /// Every operation on tokens, and sums and linear layers with a non-linearity.
    pub(super) fn attentive() -> Graph {
        let single = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F32).unwrap();
        let mut g = GraphBuilder::new([4, 2, 3]);
        let tokens = Op::Tokens { class: single(&[1, 1, 4], 1), position: single(&[1, 7, 4], 2) };
        let a = g.add("tokens", tokens, &[0]);
        let b = g.add("norm", Op::LayerNorm { weight: single(&[4], 3), bias: single(&[4], 4), epsilon: 1e-6 }, &[a]);
        let linear = |f, shape: [usize; 2], seed| Op::Linear(f, single(&shape, seed), single(&shape[..1], seed + 1));
        let c = g.add("qkv", linear(Activation::None, [12, 4], 5), &[b]);
        let d = g.add("heads", Op::Attention { heads: 2 }, &[c]);
        let e = g.add("gelu", linear(Activation::Gelu, [4, 4], 7), &[d]);
        let f = g.add("relu", linear(Activation::Relu, [4, 4], 9), &[e]);
        let s = g.add("sum", Op::Add(Activation::Relu), &[f, b]);
        let t = g.add("bent sum", Op::Add(Activation::Gelu), &[s, a]);
        g.add("token", Op::Token(3), &[t]);
        let preprocess = Preprocess { size: 3, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        g.finish("attentive", preprocess, Vec::new(), &Device::Cpu).unwrap()
    }

    #[test]
    fn tokens_are_the_class_then_positions_row_by_row() {
        let g = attentive();
        let x = random(&[2, 4, 2, 3], 20).to_dtype(DType::F32).unwrap();
        let at = |t: &Tensor, i: [usize; 3]| {
            crate::ops::to_vec::<f32>(&t.get(i[0]).unwrap().get(i[1]).unwrap()).unwrap()[i[2]]
        };
        let Op::Tokens { class, position } = &g.nodes[1].op else { panic!("the first layer") };
        let y = g.forward(&x, &[1, 8, 9]).unwrap();
        assert_eq!(y[0].dims(), [2, 7, 4]);
        for (b, c) in (0..8).map(|i| (i / 4, i % 4)) {
            assert_eq!(at(&y[0], [b, 0, c]), at(class, [0, 0, c]) + at(position, [0, 0, c]));
            let pixel = at(&x.get(b).unwrap(), [c, 1, 2]);
            assert_eq!(at(&y[0], [b, 6, c]), pixel + at(position, [0, 6, c]));
            assert_eq!(y[2].get(b).unwrap().to_vec1::<f32>().unwrap()[c], at(&y[1], [b, 3, c]));
        }
    }

    #[test]
    fn an_activation_gets_its_gradient() {
        let g = small();
        let x = random(&[1, 2, 6, 6], 9).to_dtype(DType::F32).unwrap();
        let at = g.forward(&x, &[3]).unwrap().remove(0);
        let at = Var::from_tensor(&at).unwrap();
        let y = g.forward_from(3, &at, &[5]).unwrap().remove(0);
        let grads = y.sum_all().unwrap().backward().unwrap();
        let total = grads.get(&at).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((total - 3.0).abs() < 1e-5, "every channel's mean passes one: {total}");
    }
}
