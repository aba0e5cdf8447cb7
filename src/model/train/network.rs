//! A network in training: the nodes of its graph, with every batch norm beside its convolution instead of inside it; one
//! pass forwards that remembers, and one back to the gradients of all parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::{Parameters, Parts};
use crate::error::{Error, Result};
use crate::model::graph::{Graph, Op, Step};
use crate::model::zoo::{Draft, Fold};
use crate::ops::batch_norm::{Moments, batch_norm, batch_norm_gradient};
use crate::ops::linear::{linear_input_gradient, linear_prepared, linear_weight_gradient};
use crate::ops::{Activation, Conv2d, Prepared, conv2d_input_gradient, conv2d_prepared, conv2d_weight_gradient};

/// Share of a batch's moments in the running averages.
const MOMENTUM: f64 = 0.1;

/// The network.
pub(super) struct Network {
    pub(super) graph: Graph,
    layers: BTreeMap<usize, Layer>,
    steps: Vec<Step>,
}

/// A node with parameters.
struct Layer {
    product: Product,
    /// The non-linearity of the node by itself.
    activation: Activation,
    /// Name of its weights, and their shape here: a network may hold them in another. A norm by itself has none.
    weight: Option<(String, Vec<usize>)>,
    shift: Shift,
}

/// What a layer computes from its weights.
#[derive(Clone, Copy)]
enum Product {
    /// A convolution without its non-linearity.
    Conv(Conv2d),
    Linear,
    /// The input itself.
    Nothing,
}

/// What follows.
enum Shift {
    /// The bias of this name.
    Bias(String),
    /// The batch norm of this name, and what it adds to the variance.
    Norm(String, f64),
}

/// What the pass forwards remembers.
pub(super) struct Tape {
    /// Activations by node.
    values: BTreeMap<usize, Tensor>,
    /// What went into a norm, or into a non-linearity that cannot be undone, by the layer's node.
    sums: BTreeMap<usize, Tensor>,
    moments: BTreeMap<usize, Moments>,
}

impl Network {
    /// The training form of a network.
    ///
    /// # Errors
    /// When a layer has parameters that are not known how to train.
    pub(super) fn new(draft: &Draft) -> Result<Self> {
        let graph = draft.graph.clone();
        let last = graph.layers().len();
        let mut folded: Vec<(&Fold, Tensor)> =
            draft.folds.iter().map(|fold| Ok((fold, folded(draft, fold)?))).collect::<Result<_>>()?;
        let mut layers = BTreeMap::new();
        for node in 1..=last {
            if let Some(layer) = layer(&graph, node, draft, &mut folded)? {
                layers.insert(node, layer);
            }
        }
        let steps = graph.steps(0, &[last])?;
        let network = Self { graph, layers, steps };
        network.check(draft)?;
        Ok(network)
    }

    /// Refuses a network some of whose tensors no layer trains.
    fn check(&self, draft: &Draft) -> Result<()> {
        let trained = |name: &str| {
            self.layers.values().any(|layer| {
                let shift = match &layer.shift {
                    Shift::Bias(bias) => bias == name,
                    Shift::Norm(norm, _) => name.strip_prefix(norm.as_str()).is_some_and(|rest| rest.starts_with('.')),
                };
                shift || layer.weight.as_ref().is_some_and(|(weight, _)| weight == name)
            })
        };
        let Some(name) = draft.tensors.keys().find(|name| !trained(name)) else { return Ok(()) };
        let problem = format!("`{name}` of `{}` belongs to no layer that can be trained here", self.graph.name());
        let hint = "networks of convolutions, batch norms and linear layers can be trained: see `cavern ls models`";
        Err(Error::key("model.name", problem, hint))
    }

    /// The logits of a batch x, normalised by its own statistics, and what the way back needs.
    pub(super) fn forward(&self, parameters: &Parameters, x: &Tensor) -> Result<(Tensor, Tape)> {
        let mut tape =
            Tape { values: BTreeMap::from([(0, x.clone())]), sums: BTreeMap::new(), moments: BTreeMap::new() };
        for step in &self.steps {
            let y = self.run(step, parameters, &mut tape)?;
            tape.values.insert(step.node, y);
        }
        let logits = tape.value(self.steps.last().map_or(0, |step| step.node))?.clone();
        Ok((logits, tape))
    }

    fn run(&self, step: &Step, parameters: &Parameters, tape: &mut Tape) -> Result<Tensor> {
        let Some((layer, node, residual, activation)) = self.layer_of(step) else {
            let inputs: Vec<&Tensor> =
                self.graph.inputs(step.node).iter().map(|j| tape.value(*j)).collect::<Result<_>>()?;
            return self.graph.run_node(step.node, &inputs);
        };
        let x = tape.value(self.graph.inputs(node)[0])?;
        let residual = residual.map(|r| tape.value(r)).transpose()?;
        let weight = layer.weight(parameters)?;
        let weight = weight.as_ref();
        match &layer.shift {
            Shift::Norm(name, epsilon) => {
                let z = layer.product.run(x, weight, None, None, Activation::None)?;
                let (y, moments) = batch_norm(&z, &parameters.affine(name, *epsilon, activation)?, residual)?;
                tape.sums.insert(node, z);
                tape.moments.insert(node, moments);
                Ok(y)
            }
            Shift::Bias(name) => {
                let bias = Some(parameters.tensor(name)?);
                if activation.fuses() {
                    return Ok(layer.product.run(x, weight, bias, residual, activation)?);
                }
                let z = layer.product.run(x, weight, bias, residual, Activation::None)?;
                let y = activation.apply(&z)?;
                tape.sums.insert(node, z);
                Ok(y)
            }
        }
    }

    /// The layer that a step runs, its node, the residual, and the non-linearity at the end.
    fn layer_of(&self, step: &Step) -> Option<(&Layer, usize, Option<usize>, Activation)> {
        match (step.fused, self.graph.op(step.node)) {
            (Some((node, residual)), Op::Add(f) | Op::Activation(f)) => {
                Some((self.layers.get(&node)?, node, residual, *f))
            }
            _ => self.layers.get(&step.node).map(|layer| (layer, step.node, None, layer.activation)),
        }
    }

    /// Gradients of every parameter from that of the logits.
    pub(super) fn backward(&self, parameters: &Parameters, mut tape: Tape, gradient: Tensor) -> Result<Parts> {
        let mut parts = Parts::new();
        let last = self.steps.last().map_or(0, |step| step.node);
        let mut gradients = BTreeMap::from([(last, gradient)]);
        for step in self.steps.iter().rev() {
            let (Some(gradient), Some(y)) = (gradients.remove(&step.node), tape.values.remove(&step.node)) else {
                continue;
            };
            if self.layer_of(step).is_some() {
                self.layer_back(step, parameters, &mut tape, (&y, gradient), &mut gradients, &mut parts)?;
                continue;
            }
            let nodes = self.graph.inputs(step.node);
            let inputs: Vec<&Tensor> = nodes.iter().map(|j| tape.value(*j)).collect::<Result<_>>()?;
            let passed = self.graph.pull_back_node(step.node, &inputs, &y, &gradient)?;
            for (node, part) in nodes.iter().zip(passed) {
                add(&mut gradients, *node, part)?;
            }
        }
        Ok(parts)
    }

    fn layer_back(
        &self,
        step: &Step,
        parameters: &Parameters,
        tape: &mut Tape,
        (y, gradient): (&Tensor, Tensor),
        gradients: &mut BTreeMap<usize, Tensor>,
        parts: &mut Parts,
    ) -> Result<()> {
        let Some((layer, node, residual, activation)) = self.layer_of(step) else { return Ok(()) };
        let z = tape.sums.remove(&node);
        let to_sum = match (&layer.shift, &z) {
            (Shift::Norm(name, epsilon), Some(z)) => {
                let affine = parameters.affine(name, *epsilon, activation)?;
                let moments = tape.moments.get(&node).ok_or_else(|| forgotten(node))?;
                let back = batch_norm_gradient(z, &affine, moments, (y, &gradient), residual.is_some())?;
                for (part, values) in [("weight", back.weight), ("bias", back.bias)] {
                    let values = Tensor::new(values, z.device())?.to_dtype(z.dtype())?;
                    parts.insert(format!("{name}.{part}"), values);
                }
                if let (Some(residual), Some(passed)) = (residual, back.residual) {
                    add(gradients, residual, passed)?;
                }
                back.x
            }
            (_, z) => {
                let passed = match (activation.pull_back(y, &gradient)?, z) {
                    (Some(passed), _) => passed,
                    (None, Some(z)) => activation.pull_back_from(z, &gradient)?,
                    (None, None) => return Err(forgotten(node)),
                };
                if let Some(residual) = residual {
                    add(gradients, residual, passed.clone())?;
                }
                passed
            }
        };
        let input = self.graph.inputs(node)[0];
        let (x, weight) = (tape.value(input)?, layer.weight(parameters)?);
        if let (Some((name, _)), Some(weight)) = (&layer.weight, &weight) {
            let bias = if let Shift::Bias(name) = &layer.shift { Some(name) } else { None };
            let (to_weight, to_bias) = layer.product.to_weights(x, weight, bias.is_some(), &to_sum)?;
            parts.insert(name.clone(), to_weight.reshape(parameters.tensor(name)?.dims())?);
            parts.extend(bias.cloned().zip(to_bias));
        }
        if input != 0 {
            let sum = gradients.remove(&input);
            gradients.insert(input, layer.product.to_input(x, weight.as_ref(), &to_sum, sum.as_ref())?);
        }
        Ok(())
    }

    /// Moves the running averages of every norm towards a batch's moments.
    pub(super) fn average(&self, parameters: &mut Parameters, moments: &BTreeMap<usize, Moments>) -> Result<()> {
        for (node, moments) in moments {
            let Some(Layer { shift: Shift::Norm(name, _), .. }) = self.layers.get(node) else { continue };
            let unbiased = moments.count as f64 / (moments.count.max(2) - 1) as f64;
            let variance: Vec<f64> = moments.variance.iter().map(|v| v * unbiased).collect();
            for (part, batch) in [("running_mean", &moments.mean), ("running_var", &variance)] {
                parameters.update(&format!("{name}.{part}"), |i, old| old + MOMENTUM * (batch[i] - old))?;
            }
        }
        Ok(())
    }
}

impl Tape {
    fn value(&self, node: usize) -> Result<&Tensor> {
        self.values.get(&node).ok_or_else(|| forgotten(node))
    }

    /// The moments of every norm's batch, by node.
    pub(super) fn moments(&self) -> BTreeMap<usize, Moments> {
        self.moments.clone()
    }
}

impl Layer {
    fn weight(&self, parameters: &Parameters) -> Result<Option<Tensor>> {
        let weight = self.weight.as_ref();
        weight.map(|(name, shape)| Ok(parameters.tensor(name)?.reshape(shape.as_slice())?)).transpose()
    }
}

impl Product {
    /// A layer without weights is its input.
    fn run(
        self,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        residual: Option<&Tensor>,
        activation: Activation,
    ) -> candle_core::Result<Tensor> {
        let Some(weight) = weight else { return Ok(x.clone()) };
        let none = Tensor::zeros(weight.dim(0)?, x.dtype(), x.device())?;
        let bias = bias.unwrap_or(&none);
        match self {
            Self::Conv(conv) => {
                conv2d_prepared(x, weight, bias, residual, &Conv2d { activation, ..conv }, &Arc::default())
            }
            Self::Linear => linear_prepared(x, weight, bias, residual, activation, &Prepared::default()),
            Self::Nothing => Ok(x.clone()),
        }
    }

    fn to_weights(
        self,
        x: &Tensor,
        weight: &Tensor,
        bias: bool,
        gradient: &Tensor,
    ) -> candle_core::Result<(Tensor, Option<Tensor>)> {
        match self {
            Self::Conv(conv) => conv2d_weight_gradient(x, weight.dims(), bias, gradient, &conv),
            Self::Linear | Self::Nothing => {
                linear_weight_gradient(x, gradient).map(|(to_weight, to_bias)| (to_weight, Some(to_bias)))
            }
        }
    }

    fn to_input(self, x: &Tensor, weight: Option<&Tensor>, gradient: &Tensor, sum: Option<&Tensor>) -> Result<Tensor> {
        let prepared = Prepared::default();
        let Some(weight) = weight else { return Ok(sum.map_or_else(|| Ok(gradient.clone()), |sum| sum + gradient)?) };
        match self {
            Self::Nothing => Ok(gradient.clone()),
            Self::Conv(conv) => conv2d_input_gradient(x.dims(), weight, (gradient, gradient), sum, &conv, &prepared)?
                .ok_or_else(|| Error::Failure("networks are trained on the CPU".into())),
            Self::Linear => Ok(linear_input_gradient(weight, gradient, sum, &prepared)?),
        }
    }
}

fn forgotten(node: usize) -> Error {
    Error::Failure(format!("node {node} was not remembered"))
}

fn add(gradients: &mut BTreeMap<usize, Tensor>, node: usize, part: Tensor) -> Result<()> {
    let sum = match gradients.remove(&node) {
        Some(sum) => (sum + part)?,
        None => part,
    };
    gradients.insert(node, sum);
    Ok(())
}

/// The weights that a graph holds for a convolution and its norm.
fn folded(draft: &Draft, fold: &Fold) -> Result<Tensor> {
    let tensor = |name: String| {
        draft.tensors.get(&name).cloned().ok_or_else(|| Error::Failure(format!("`{name}` was never drawn")))
    };
    let part = |part: &str| tensor(format!("{}.{part}", fold.norm));
    let norm = crate::ops::norm::BatchNorm {
        weight: part("weight")?,
        bias: part("bias")?,
        mean: part("running_mean")?,
        variance: part("running_var")?,
        epsilon: fold.epsilon,
    };
    let weight = match &fold.conv {
        Some(conv) => tensor(format!("{conv}.weight"))?,
        None => norm.weight.ones_like()?,
    };
    // One row an output channel, whatever dimensions there are.
    Ok(norm.fold(&weight.reshape((weight.dim(0)?, (), 1, 1))?)?.0)
}

/// What a node's parameters are called: those whose values, random and so unlike any others, it holds. `None` where it
/// has none, or constants. Norms that are found are taken off the list: those without a convolution are alike.
fn layer(graph: &Graph, node: usize, draft: &Draft, folded: &mut Vec<(&Fold, Tensor)>) -> Result<Option<Layer>> {
    let (weight, bias, product, activation) = match graph.op(node) {
        Op::Conv2d(conv, weight, bias) => {
            let plain = Conv2d { activation: Activation::None, ..*conv };
            (weight, bias, Product::Conv(plain), conv.activation)
        }
        Op::Linear(f, weight, bias) => (weight, bias, Product::Linear, *f),
        _ => return Ok(None),
    };
    let shape = weight.dims().to_vec();
    let named = |tensor: &Tensor| draft.tensors.iter().find(|(_, t)| t.id() == tensor.id()).map(|(name, _)| name);
    if let (Some(weight), Some(bias)) = (named(weight), named(bias)) {
        let (weight, shift) = (Some((weight.clone(), shape)), Shift::Bias(bias.clone()));
        return Ok(Some(Layer { product, activation, weight, shift }));
    }
    for i in 0..folded.len() {
        if activation.fuses() && same(&folded[i].1, weight)? {
            let (fold, _) = folded.remove(i);
            let shift = Shift::Norm(fold.norm.clone(), fold.epsilon);
            let weight = fold.conv.as_ref().map(|conv| (format!("{conv}.weight"), shape));
            let product = if weight.is_some() { product } else { Product::Nothing };
            return Ok(Some(Layer { product, activation, weight, shift }));
        }
    }
    Ok(None)
}

fn same(a: &Tensor, b: &Tensor) -> Result<bool> {
    let values = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    Ok(a.elem_count() == b.elem_count() && values(a)? == values(b)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::dataset::Preprocess;
    use crate::dataset::preprocess::Filter;
    use crate::model::graph::GraphBuilder;
    use crate::ops::Padding;
    use crate::ops::check::random;
    use crate::ops::norm::BatchNorm;

    /// Collects what a network is made of.
    #[derive(Default)]
    struct Maker {
        tensors: BTreeMap<String, Tensor>,
        folds: Vec<Fold>,
    }

    impl Maker {
        fn tensor(&mut self, name: String, shape: &[usize]) -> Tensor {
            let seed = self.tensors.len() as u64 + 1;
            let values = random(shape, seed).to_dtype(DType::F32).unwrap();
            self.tensors.entry(name).or_insert(values).clone()
        }

        fn normed(&mut self, name: &str, shape: &[usize], conv: Conv2d) -> Op {
            // A file may have the weights in another shape.
            let weight = self.tensor(format!("{name}.weight"), &[shape[0], shape[1], 9]).reshape(shape).unwrap();
            self.norm(&format!("{name}_norm"), Some(name), &weight, conv)
        }

        fn norm(&mut self, norm: &str, conv: Option<&str>, weight: &Tensor, geometry: Conv2d) -> Op {
            let channels = weight.dims()[..1].to_vec();
            let mut part = |part: &str| self.tensor(format!("{norm}.{part}"), &channels);
            let (scale, bias, mean) = (part("weight"), part("bias"), part("running_mean"));
            let variance = part("running_var").abs().unwrap();
            self.tensors.insert(format!("{norm}.running_var"), variance.clone());
            self.folds.push(Fold { conv: conv.map(str::to_owned), norm: norm.to_owned(), epsilon: 1e-3 });
            let norm = BatchNorm { weight: scale, bias, mean, variance, epsilon: 1e-3 };
            let (weight, bias) = norm.fold(weight).unwrap();
            Op::Conv2d(geometry, weight, bias)
        }

        fn affine(&mut self, name: &str, shape: &[usize]) -> (Tensor, Tensor) {
            (self.tensor(format!("{name}.weight"), shape), self.tensor(format!("{name}.bias"), &shape[..1]))
        }
    }

    /// A stem, a norm by itself, a residual block, a strided convolution with a bias and GELU, logits.
    fn draft() -> Draft {
        let (mut maker, mut g) = (Maker::default(), GraphBuilder::new([2, 6, 6]));
        let conv = |activation| Conv2d { activation, padding: Padding::Same, ..Conv2d::default() };
        let a = g.add("a", maker.normed("a", &[4, 2, 3, 3], conv(Activation::Relu)), &[0]);
        let b = g.add("b", maker.normed("b", &[4, 4, 3, 3], conv(Activation::Relu6)), &[a]);
        let c = g.add("c", maker.normed("c", &[4, 4, 3, 3], conv(Activation::None)), &[b]);
        // A norm without a convolution, as some networks have on a shortcut.
        let ones = Tensor::ones((4, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let short = g.add("short", maker.norm("short", None, &ones, Conv2d { groups: 4, ..Conv2d::default() }), &[a]);
        let sum = g.add("sum", Op::Add(Activation::Relu), &[c, short]);
        let (weight, bias) = maker.affine("d", &[5, 4, 3, 3]);
        let d = g.add("d", Op::Conv2d(Conv2d { stride: 2, ..conv(Activation::Gelu) }, weight, bias), &[sum]);
        let mean = g.add("mean", Op::GlobalMean, &[d]);
        let (weight, bias) = maker.affine("e", &[3, 5]);
        g.add("logits", Op::Linear(Activation::None, weight, bias), &[mean]);
        let preprocess = Preprocess { size: 6, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        let graph = g.finish("small", preprocess, Vec::new(), &Device::Cpu).unwrap();
        Draft { graph, tensors: maker.tensors, folds: maker.folds }
    }

    fn double(draft: &Draft) -> Parameters {
        let wide = |(name, t): (&String, &Tensor)| (name.clone(), t.to_dtype(DType::F64).unwrap());
        Parameters(draft.tensors.iter().map(wide).collect())
    }

    #[test]
    fn gradients_of_all_parameters_are_those_of_central_differences() {
        let draft = draft();
        let (network, parameters, x) = (Network::new(&draft).unwrap(), double(&draft), random(&[3, 2, 6, 6], 50));
        let (logits, tape) = network.forward(&parameters, &x).unwrap();
        let slope = random(logits.dims(), 51);
        let parts = network.backward(&parameters, tape, slope.clone()).unwrap();
        // Everything but four norms' running averages.
        assert_eq!(parts.len(), draft.tensors.len() - 8);
        for (name, part) in parts {
            let got = part.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (i, got) in got.into_iter().enumerate() {
                let at = |delta: f64| {
                    let mut moved = parameters.clone();
                    moved.update(&name, |j, old| if i == j { old + delta } else { old }).unwrap();
                    let logits = network.forward(&moved, &x).unwrap().0;
                    logits.mul(&slope).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
                };
                let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((got - wanted).abs() < 1e-6 * (1.0 + wanted.abs()), "{name} {i}: {got} {wanted}");
            }
        }
    }

    #[test]
    fn running_averages_move_by_a_tenth_towards_the_unbiased_moments() {
        let draft = draft();
        let (network, mut parameters, x) = (Network::new(&draft).unwrap(), double(&draft), random(&[3, 2, 6, 6], 50));
        let before = parameters.clone();
        let (_, tape) = network.forward(&parameters, &x).unwrap();
        let moments = tape.moments();
        network.average(&mut parameters, &moments).unwrap();
        let value = |p: &Parameters, name: &str| p.tensor(name).unwrap().to_vec1::<f64>().unwrap()[2];
        for (part, wanted) in
            [("running_mean", moments[&1].mean[2]), ("running_var", moments[&1].variance[2] * 108.0 / 107.0)]
        {
            let name = format!("a_norm.{part}");
            let (old, new) = (value(&before, &name), value(&parameters, &name));
            assert!((new - (0.9 * old + 0.1 * wanted)).abs() < 1e-12, "{name}: {new}");
        }
    }

    #[test]
    fn tensors_that_no_layer_trains_are_refused() {
        let mut draft = draft();
        draft.tensors.insert("token".into(), random(&[4], 1));
        let message = Network::new(&draft).err().unwrap().to_string();
        assert!(message.contains("`token`"), "{message}");
    }
}
