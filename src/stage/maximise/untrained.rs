//! The control without anything learnt: the study's network with random weights.

use crate::error::{Error, Result};
use crate::maximise::MaximiseOptions;
use crate::model::{Graph, zoo};
use crate::stage::Context;

/// The network with random weights, where the study wants pictures of it.
///
/// # Errors
/// When the network is none of the zoo as it is there, or runs on a GPU.
pub(super) fn network(context: &Context, options: &MaximiseOptions) -> Result<Option<Graph>> {
    if !options.untrained {
        return Ok(None);
    }
    let refused = |problem: &str| {
        Error::key(
            "maximise.untrained",
            problem,
            "leave it out, or study a network of `cavern ls models` as it is there",
        )
    };
    let (own, model) = (context.network()?, &context.study.model);
    if !context.device.is_cpu() {
        return Err(refused("networks with random weights are made on the CPU alone, and the study runs on a GPU"));
    }
    if zoo::info(&model.name).is_err() || model.head.is_some() {
        return Err(refused("only networks of the zoo without a head of one's own can be made with random weights"));
    }
    let classes = Some(own.shape(own.logits()).iter().product());
    let choices = zoo::Options { classes, ..model.recipe().choices() };
    let mut graph = zoo::random_with(&model.name, &choices, context.seed)?;
    if graph.layers() != own.layers() || graph.input_shape() != own.input_shape() {
        return Err(refused("the weights file has other layers than the zoo's network by default"));
    }
    graph.prepare(own.preprocess().clone());
    Ok(Some(graph))
}
