//! A network in training: the nodes of its graph, with every batch norm beside its convolution instead of inside it; one
//! pass forwards that remembers, and one back to the gradients of all parameters.

mod names;
mod product;
mod remade;

use std::collections::BTreeMap;

use candle_core::Tensor;

use self::names::{folded, layer};
use self::product::{Layer, Shift};
use self::remade::Remade;

use super::{Parameters, Parts};
use crate::error::{Error, Result};
use crate::model::graph::{Graph, Op, Step};
use crate::model::zoo::{Draft, Fold};
use crate::ops::Activation;
use crate::ops::batch_norm::{Moments, batch_norm, batch_norm_gradient};

/// Share of a batch's moments in the running averages.
const MOMENTUM: f64 = 0.1;

/// The network.
pub(super) struct Network {
    pub(super) graph: Graph,
    layers: BTreeMap<usize, Layer>,
    remade: BTreeMap<usize, Remade>,
    steps: Vec<Step>,
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
        let (mut layers, mut remade) = (BTreeMap::new(), BTreeMap::new());
        for node in 1..=last {
            remade.extend(Remade::of(&graph, node, draft).map(|found| (node, found)));
            if let Some(layer) = layer(&graph, node, draft, &mut folded)? {
                layers.insert(node, layer);
            }
        }
        let steps = graph.steps(0, &[last])?;
        let network = Self { graph, layers, remade, steps };
        network.check(draft)?;
        Ok(network)
    }

    /// Refuses a network some of whose tensors no layer trains.
    fn check(&self, draft: &Draft) -> Result<()> {
        let trained = |name: &String| {
            let remade = self.remade.values().any(|node| node.names.contains(name));
            remade
                || self.layers.values().any(|layer| {
                    let shift = match &layer.shift {
                        Shift::Bias(bias) => bias == name,
                        Shift::Norm(norm, _) => {
                            name.strip_prefix(norm.as_str()).is_some_and(|rest| rest.starts_with('.'))
                        }
                    };
                    shift || layer.weight.as_ref().is_some_and(|(weight, _)| weight == name)
                })
        };
        let Some(name) = draft.tensors.keys().find(|name| !trained(name)) else { return Ok(()) };
        let problem = format!("`{name}` of `{}` belongs to no layer that can be trained here", self.graph.name());
        let hint = "networks of convolutions, linear layers, attention and norms can be trained; LayerScale, registers and \
                    embeddings of another size cannot: see `cavern ls models`";
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
        if let Some(node) = self.remade.get(&step.node) {
            return node.run(parameters, tape.value(self.graph.inputs(step.node)[0])?);
        }
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
                let y = activation.apply_to_constant(&z)?;
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
            if let Some(remade) = self.remade.get(&step.node) {
                let x = tape.value(nodes[0])?;
                parts.extend(remade.names.iter().cloned().zip(remade.to_parameters(x, &gradient)?));
                let sum = gradients.remove(&nodes[0]);
                gradients.insert(nodes[0], remade.to_input(parameters, x, (&y, &gradient), sum)?);
                continue;
            }
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

#[cfg(test)]
mod tests;
