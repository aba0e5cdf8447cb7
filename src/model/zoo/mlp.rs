//! A multilayer perceptron: `fc1`, `fc2` and so on with ReLUs between them, on all values of the input.

use super::parts::linear;
use super::plan::{Plan, Published};
use crate::error::Result;
use crate::model::graph::{Graph, Op};
use crate::ops::Activation;

/// Widths of the hidden layers where no file says otherwise.
const HIDDEN: [usize; 2] = [256, 256];

/// Layers: `flatten`, `fc1` and so on (after their ReLUs), `logits`. A file has as many as it has; the last one's rows are
/// the classes.
pub(super) fn assemble(plan: &Plan) -> Result<Graph> {
    let (source, mut graph) = (plan.source, plan.graph());
    let rows = |i: usize| source.shape_of(&format!("fc{i}.weight")).and_then(|s| s.first().copied());
    let found: Vec<usize> = (1..).map_while(rows).collect();
    let hidden = if found.is_empty() { &HIDDEN[..] } else { &found[..found.len() - 1] };
    let mut width = plan.input.iter().product();
    let mut node = graph.add("flatten", Op::Flatten, &[0]);
    for (i, out) in hidden.iter().enumerate() {
        let name = format!("fc{}", i + 1);
        let op = linear(source, &name, [*out, width], Activation::Relu)?;
        node = graph.add(name, op, &[node]);
        width = *out;
    }
    let last = format!("fc{}", hidden.len() + 1);
    let classes = plan.classes(&last, 10);
    graph.add("logits", linear(source, &last, [classes.len(), width], Activation::None)?, &[node]);
    plan.finish(graph, &Published::SMALL, classes)
}

#[cfg(test)]
mod tests {
    use super::super::golden::{agrees_at, agrees_with};

    const DEEP: [(&str, &[usize]); 4] =
        [("fc1.weight", &[48, 36]), ("fc2.weight", &[32, 48]), ("fc3.weight", &[24, 32]), ("fc4.weight", &[5, 24])];

    #[test]
    fn perceptrons_agree_with_pytorch() {
        agrees_at("mlp", [1, 28, 28], include_bytes!("../../../tests/golden/zoo_mlp.npz"));
        agrees_with("mlp", [1, 6, 6], &DEEP, include_bytes!("../../../tests/golden/zoo_mlp_deep.npz"));
    }
}
