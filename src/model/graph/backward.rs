//! Gradients with respect to a network's input, without candle's graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};

use super::op::{planes, rows};
use super::{Graph, Op, Precision, Step};
use crate::error::{Error, Result};
use crate::ops::attention::attention_input_gradient;
use crate::ops::linear::{linear_input_gradient, linear_prepared};
use crate::ops::norm::layer_norm_input_gradient;
use crate::ops::pool::{global_mean_input_gradient, pool2d_input_gradient};
use crate::ops::{Activation, Prepared, conv2d_input_gradient};

impl Op {
    /// Gradients of the inputs from that of the result y; `sums` is what the inputs' other users have passed, and a part
    /// of the gradients. What has no short form is run again with candle's graph.
    pub(in crate::model) fn pull_back(
        &self,
        inputs: &[&Tensor],
        (y, gradient): (&Tensor, &Tensor),
        sums: &[Option<Tensor>],
        prepared: &Arc<Prepared>,
    ) -> candle_core::Result<Vec<Tensor>> {
        match (self, inputs, sums) {
            (Self::Conv2d(conv, w, _), [x], [sum]) => {
                let parts = (y, gradient);
                if let Some(to_x) = conv2d_input_gradient(x.dims(), w, parts, sum.as_ref(), conv, prepared)? {
                    return Ok(vec![to_x]);
                }
            }
            (Self::Linear(f, w, b), [x], [sum]) => {
                let gradient = match f.pull_back(y, gradient)? {
                    Some(gradient) => gradient,
                    None => f.pull_back_from(&linear_prepared(x, w, b, None, Activation::None, prepared)?, gradient)?,
                };
                return Ok(vec![linear_input_gradient(w, &gradient, sum.as_ref(), prepared)?]);
            }
            _ => {}
        }
        let parts = match self.short_pull_back(inputs, y, gradient)? {
            Some(parts) => parts,
            None => self.long_pull_back(inputs, gradient, prepared)?,
        };
        parts.into_iter().zip(sums).map(|(part, sum)| sum.as_ref().map_or(Ok(part.clone()), |s| s + part)).collect()
    }

    fn short_pull_back(
        &self,
        inputs: &[&Tensor],
        y: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Vec<Tensor>>> {
        let one = |x: Tensor| Some(vec![x]);
        Ok(match (self, inputs) {
            (Self::Add(f), [_, _]) => f.pull_back(y, gradient)?.map(|g| vec![g.clone(), g]),
            (Self::Activation(f), [x]) => {
                one(f.pull_back(y, gradient)?.map_or_else(|| f.pull_back_from(x, gradient), Ok)?)
            }
            (Self::Pool2d(pool), [x]) => one(pool2d_input_gradient(x, gradient, pool)?),
            (Self::GlobalMean, [x]) => one(global_mean_input_gradient(x.dims(), gradient)?),
            (Self::LayerNorm { weight, epsilon, .. }, [x]) => {
                layer_norm_input_gradient(x, weight, *epsilon, gradient)?.and_then(one)
            }
            (Self::Attention { heads }, [x]) => attention_input_gradient(x, gradient, *heads)?.and_then(one),
            (Self::Tokens { class, .. }, [x]) => {
                let before = class.dim(1)?;
                let patches = gradient.narrow(1, before, gradient.dim(1)? - before)?.transpose(1, 2)?;
                one(patches.contiguous()?.reshape(x.dims())?)
            }
            (Self::Token(i), [x]) => {
                let behind = x.dim(1)? - 1 - i;
                one(gradient.unsqueeze(1)?.pad_with_zeros(1, *i, behind)?)
            }
            (Self::Concat, _) => Some(parts(inputs, gradient)?),
            (Self::Flatten, [x]) => one(gradient.reshape(x.dims())?),
            (Self::ChannelNorm { weight, epsilon, .. }, [x]) => {
                match layer_norm_input_gradient(&rows(x)?, weight, *epsilon, &rows(gradient)?)? {
                    Some(to_rows) => one(planes(&to_rows, x.dims())?),
                    None => None,
                }
            }
            (Self::Softmax, [_]) => {
                let weighted = y.mul(gradient)?;
                one((&weighted - y.broadcast_mul(&weighted.sum_keepdim(y.rank() - 1)?)?)?)
            }
            (Self::Tensor(op), inputs) => op.pull_back(inputs, gradient)?,
            _ => None,
        })
    }

    fn long_pull_back(
        &self,
        inputs: &[&Tensor],
        gradient: &Tensor,
        prepared: &Arc<Prepared>,
    ) -> candle_core::Result<Vec<Tensor>> {
        let inputs = inputs.iter().map(|x| Var::from_tensor(&x.detach())).collect::<candle_core::Result<Vec<Var>>>()?;
        let y = self.run(&inputs.iter().map(Var::as_tensor).collect::<Vec<_>>(), prepared)?;
        let gradients = y.mul(&gradient.detach())?.sum_all()?.backward()?;
        let of = |x: &Var| gradients.get(x).map_or_else(|| x.zeros_like(), |g| Ok(g.detach()));
        inputs.iter().map(of).collect()
    }
}

/// The channels of a gradient that belong to each of the inputs, whose channels stood one after the other.
fn parts(inputs: &[&Tensor], gradient: &Tensor) -> candle_core::Result<Vec<Tensor>> {
    let mut first = 0;
    let part = |x: &&Tensor| {
        let channels = x.dim(1)?;
        first += channels;
        gradient.narrow(1, first - channels, channels)?.contiguous()
    };
    inputs.iter().map(part).collect()
}

impl Graph {
    /// Gradient with respect to x `[batch, channel, height, width]` of the sum of `<slope, z>`, where z is the activation
    /// of `node` and its `slope(first, z)` is held fixed. The batch is worked through a few pictures at a time: z are those
    /// of the pictures from `first` on. Cheaper than candle's graph of [`Graph::forward`]: only x has a gradient, and
    /// activations are dropped on the way back.
    ///
    /// # Errors
    /// When the input does not fit, `slope` fails, or the network is in bf16.
    pub fn pull_back(
        &self,
        node: usize,
        x: &Tensor,
        slope: impl FnMut(usize, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.pull_back_to(&[0], node, x, slope)?.pop().ok_or_else(|| self.unrelated(0, node))
    }

    /// The same gradient with respect to the activations of the nodes `taps`, in their order: one way back for all of
    /// them, and no further than the first. All paths from a tap to `node` count.
    ///
    /// # Errors
    /// Those of [`Graph::pull_back`], or when `node` does not depend on a tap.
    pub fn pull_back_to(
        &self,
        taps: &[usize],
        node: usize,
        x: &Tensor,
        mut slope: impl FnMut(usize, &Tensor) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        self.pull_back_between(taps, &[node], x, |first, z| Ok(vec![slope(first, &z[0])?]))
    }

    /// [`Graph::pull_back`] of a sum over several nodes: `slope(first, activations)` gives a slope for each of them, and
    /// there is one way back for all.
    ///
    /// # Errors
    /// Those of [`Graph::pull_back`].
    pub fn pull_back_sum(
        &self,
        nodes: &[usize],
        x: &Tensor,
        slope: impl FnMut(usize, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Tensor> {
        let last = nodes.last().copied().unwrap_or(0);
        self.pull_back_between(&[0], nodes, x, slope)?.pop().ok_or_else(|| self.unrelated(0, last))
    }

    /// From the activations of `ends` back to those of `taps`, a few pictures at a time.
    fn pull_back_between(
        &self,
        taps: &[usize],
        ends: &[usize],
        x: &Tensor,
        mut slope: impl FnMut(usize, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        if self.precision != Precision::F32 {
            return Err(Error::Failure("a network in bf16 has no gradients: take the one in f32".into()));
        }
        // All layers of a part are held at once: fewer pictures fill the same memory.
        let (x, share) = (x.detach(), (self.share / 4).max(rayon::current_num_threads()));
        let batch = x.dim(0)?;
        let share = batch.div_ceil(batch.div_ceil(share).max(1)).max(1);
        let parts = (0..batch).step_by(share).map(|first| {
            let part = x.narrow(0, first, share.min(batch - first))?.contiguous()?;
            self.pull_back_once(taps, ends, &part, |z| slope(first, z))
        });
        let mut parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        (0..taps.len()).map(|t| Ok(Tensor::cat(&parts.iter().map(|p| &p[t]).collect::<Vec<_>>(), 0)?)).collect()
    }

    fn pull_back_once(
        &self,
        taps: &[usize],
        ends: &[usize],
        x: &Tensor,
        slope: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        let last = ends.iter().copied().max().unwrap_or(0);
        if let Some(behind) = taps.iter().find(|t| **t > last) {
            return Err(self.unrelated(*behind, last));
        }
        // What is asked for is not run as a part of what follows.
        let kept = [taps, ends].concat();
        let first = taps.iter().copied().min().unwrap_or(last);
        let steps = self.steps(0, &kept)?;
        let mut values = self.values(0, x, &kept, true)?;
        let z = ends.iter().map(|end| values.get(end).cloned().ok_or_else(|| self.unreachable(0, *end)));
        let mut gradients: BTreeMap<usize, Tensor> = BTreeMap::new();
        for (end, slope) in ends.iter().zip(slope(&z.collect::<Result<Vec<_>>>()?)?) {
            let sum = gradients.remove(end).map_or_else(|| Ok(slope.clone()), |sum| sum + &slope)?;
            gradients.insert(*end, sum);
        }
        for step in steps.iter().rev().take_while(|step| step.node > first) {
            // A node's gradient is whole when its turn comes: every user of it stands behind it.
            let gradient = if taps.contains(&step.node) {
                gradients.get(&step.node).cloned()
            } else {
                gradients.remove(&step.node)
            };
            let (Some(gradient), Some(y)) = (gradient, values.remove(&step.node)) else { continue };
            let y = if self.redirect { self.redirected(step, y, &gradient)? } else { y };
            self.pull_back_step(step, &values, (&y, &gradient), &mut gradients)?;
        }
        taps.iter().map(|t| gradients.get(t).cloned().ok_or_else(|| self.unrelated(*t, last))).collect()
    }

    /// The result of a step with a one wherever a ReLU is shut though the gradient wants more of it: the way back takes the
    /// slope of a ReLU from its result alone.
    fn redirected(&self, step: &Step, y: Tensor, gradient: &Tensor) -> Result<Tensor> {
        let relu = match &self.nodes[step.node].op {
            Op::Conv2d(conv, ..) => conv.activation,
            Op::Linear(f, ..) | Op::Add(f) | Op::Activation(f) => *f,
            _ => Activation::None,
        };
        if !matches!(relu, Activation::Relu | Activation::Relu6) {
            return Ok(y);
        }
        let shut = y.le(0.0)?.mul(&gradient.gt(0.0)?)?.to_dtype(y.dtype())?;
        Ok((y + shut)?)
    }

    fn unrelated(&self, from: usize, to: usize) -> Error {
        let [from, to] = [from, to].map(|i| &self.nodes[i].name);
        let problem = format!("`{to}` does not depend on it");
        Error::data(format!("layer `{from}`"), problem, "take a layer before that one: see `cavern ls layers`")
    }

    /// Adds to the gradients of what a step read.
    fn pull_back_step(
        &self,
        step: &Step,
        values: &BTreeMap<usize, Tensor>,
        (y, gradient): (&Tensor, &Tensor),
        gradients: &mut BTreeMap<usize, Tensor>,
    ) -> Result<()> {
        let mut node = &self.nodes[step.node];
        let mut gradient = gradient.clone();
        if let (Some((product, residual)), Op::Add(f) | Op::Activation(f)) = (step.fused, &node.op) {
            gradient = f.pull_back(y, &gradient)?.ok_or_else(|| Error::Failure("the sum is not fused".into()))?;
            if let Some(residual) = residual {
                let sum = gradients.remove(&residual).map_or_else(|| Ok(gradient.clone()), |sum| sum + &gradient)?;
                gradients.insert(residual, sum);
            }
            node = &self.nodes[product];
        }
        let inputs = node.inputs.iter().filter_map(|j| values.get(j)).collect::<Vec<_>>();
        let sums: Vec<Option<Tensor>> = node.inputs.iter().map(|j| gradients.remove(j)).collect();
        let parts = node.op.pull_back(&inputs, (y, &gradient), &sums, &node.prepared)?;
        for (j, part) in node.inputs.iter().zip(parts) {
            let sum = gradients.remove(j).map_or_else(|| Ok(part.clone()), |sum| sum + &part)?;
            gradients.insert(*j, sum);
        }
        Ok(())
    }
}
