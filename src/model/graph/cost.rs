//! What a network costs.

use super::{Graph, Op};

impl Graph {
    /// Products of a layer for one picture, each added to a sum: of convolutions, linear layers and attention; 0 elsewhere.
    pub fn multiply_adds(&self, node: usize) -> usize {
        let results: usize = self.shape(node).iter().product();
        match self.op(node) {
            // A result is a sum over one row of the weights.
            Op::Conv2d(_, weight, _) | Op::Linear(_, weight, _) => {
                results * weight.elem_count() / weight.dims()[0].max(1)
            }
            // Every token asks every token, and sums what they say.
            Op::Attention { .. } => 2 * results * self.shape(node)[0],
            _ => 0,
        }
    }

    /// The same of a layer and all before it: what it costs to see a picture as far as there.
    pub fn multiply_adds_to(&self, node: usize) -> usize {
        (1..=node).map(|node| self.multiply_adds(node)).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::zoo;
    use crate::seed::Seed;

    #[test]
    fn multiply_adds_are_those_of_the_literature() {
        // Sums over convolutions and linear layers, as in the papers' tables.
        for (model, wanted) in [("resnet18", 1.814e9), ("resnet50", 4.089e9), ("efficientnet_lite0", 0.385e9)] {
            let graph = zoo::random(model, Seed(0)).unwrap();
            let got = graph.multiply_adds_to(graph.layers().len());
            assert!((got as f64 / wanted - 1.0).abs() < 0.02, "{model}: {got}");
        }
    }
}
