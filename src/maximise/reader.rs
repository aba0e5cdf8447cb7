//! What a network says of pictures that are ready: objectives' scores, and the mean of every channel of some layers.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::colour::Colour;
use super::objective::Objective;
use super::transform::{Drawn, Frame, Transforms, add_noise, sample};
use super::view::View;
use crate::error::Result;
use crate::model::graph::Graph;
use crate::seed::Seed;

/// Standard deviation of the noise of shaken copies, in levels of \[0, 1\].
const NOISE: f64 = 0.05;
/// Level of the border of shaken copies, in \[0, 1\].
const GREY: f64 = 0.5;

/// A network that looks at pictures, some at once.
pub struct Reader<'a> {
    graph: &'a Graph,
    device: &'a Device,
    batch: usize,
    objectives: Vec<Objective>,
    layers: Vec<usize>,
    /// The nodes of both, each once.
    nodes: Vec<usize>,
}

/// What is seen of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// By objective, its score.
    pub scores: Vec<f64>,
    /// By layer, the mean of every channel over positions; tokens that stand for no patch are left out.
    pub means: Vec<Vec<f64>>,
}

impl<'a> Reader<'a> {
    /// A network, where it runs, how many pictures it takes at once, and the objectives and layers (nodes) that are read.
    pub fn new(
        graph: &'a Graph,
        device: &'a Device,
        batch: usize,
        objectives: Vec<Objective>,
        layers: Vec<usize>,
    ) -> Self {
        let mut nodes: Vec<usize> =
            objectives.iter().flat_map(Objective::nodes).chain(layers.iter().copied()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        Self { graph, device, batch: batch.max(1), objectives, layers, nodes }
    }

    /// The network.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// What is seen of every picture; `inputs` are normalised, `[picture, channel, height, width]`.
    ///
    /// # Errors
    /// When the inputs do not fit, or the network fails.
    pub fn see(&self, inputs: &[f32]) -> Result<Vec<Seen>> {
        let [channels, height, width] = self.graph.input_shape();
        let size = (channels * height * width).max(1);
        let mut out = Vec::with_capacity(inputs.len() / size);
        for inputs in inputs.chunks(self.batch * size) {
            let x = Tensor::from_slice(inputs, (inputs.len() / size, channels, height, width), self.device)?;
            let z = self.activations(&x, &self.nodes)?;
            out.par_extend((0..inputs.len() / size).into_par_iter().map(|i| self.of_picture(&z, i)));
        }
        Ok(out)
    }

    /// The scores of an objective, by its number, on `copies` of a picture that are shaken as by Lucid (what is bound to
    /// positions: within a cell) and have noise of 0.05 levels (our definition). Copy i draws from the stream `NAME i`.
    ///
    /// # Errors
    /// When the input does not fit, or the network fails.
    pub fn shaken(&self, objective: usize, input: &[f32], copies: usize, seed: Seed, name: &str) -> Result<Vec<f64>> {
        let objective = &self.objectives[objective];
        let nodes = objective.nodes();
        let columns = nodes.iter().map(|n| View::of(self.graph.layout(*n)).grid[1]).max().unwrap_or(1);
        let [channels, height, width] = self.graph.input_shape();
        let frame = Frame { size: [height, width], cell: width / columns.max(1) };
        let transforms = Transforms::LUCID.bound(objective.is_bound_to_positions());
        let colour = Colour::plain(channels).input(self.graph.preprocess());
        let (border, black) = (colour.grey(GREY), colour.grey(0.0));
        let levels: Vec<f64> = colour.grey(1.0).iter().zip(black).map(|(white, black)| white - black).collect();
        let picture = Tensor::from_slice(input, (1, channels, height, width), self.device)?;
        let mut out = Vec::with_capacity(copies);
        for first in (0..copies).step_by(self.batch) {
            let names: Vec<String> = (first..copies.min(first + self.batch)).map(|i| format!("{name} {i}")).collect();
            let draw = |name: &String| Drawn { noise: NOISE, ..transforms.draw(frame, seed, name) };
            let drawn: Vec<Drawn> = names.iter().map(draw).collect();
            let x = picture.broadcast_as((names.len(), channels, height, width))?.contiguous()?;
            let x = sample(&x, &drawn.iter().map(|d| d.map).collect::<Vec<_>>(), &border)?;
            let x = add_noise(&x, &drawn, &levels, seed, &names)?;
            let z = self.activations(&x, &nodes)?;
            out.extend((0..names.len()).map(|i| self.score(objective, &nodes, &z, i)));
        }
        Ok(out)
    }

    /// The activations of some nodes, all pictures' one after the other.
    fn activations(&self, x: &Tensor, nodes: &[usize]) -> Result<Vec<Vec<f32>>> {
        let taps = if nodes.is_empty() { Vec::new() } else { self.graph.forward(x, nodes)? };
        taps.iter().map(|z| Ok(z.flatten_all()?.to_vec1::<f32>()?)).collect()
    }

    fn of_picture(&self, z: &[Vec<f32>], picture: usize) -> Seen {
        let means = |node: &usize| {
            let at = self.nodes.iter().position(|n| n == node).unwrap_or_default();
            let view = View::of(self.graph.layout(*node));
            let z = &z[at][picture * view.values..(picture + 1) * view.values];
            let sum = |c: usize| (0..view.positions()).map(|p| f64::from(z[view.at(c, p)])).sum::<f64>();
            (0..view.channels).map(|c| sum(c) / view.positions().max(1) as f64).collect()
        };
        Seen {
            scores: self.objectives.iter().map(|o| self.score(o, &self.nodes, z, picture)).collect(),
            means: self.layers.iter().map(means).collect(),
        }
    }

    /// The score of a picture from the activations of `nodes`.
    fn score(&self, objective: &Objective, nodes: &[usize], z: &[Vec<f32>], picture: usize) -> f64 {
        let of_node = |(node, z): (&usize, &Vec<f32>)| {
            let view = View::of(self.graph.layout(*node));
            objective.score(*node, &view, &z[picture * view.values..(picture + 1) * view.values])
        };
        nodes.iter().zip(z).map(of_node).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Network;
    use crate::maximise::unit;
    use crate::model::zoo;

    /// Five pictures of noise for the embedded network.
    fn inputs(graph: &Graph) -> Vec<f32> {
        let size = graph.input_shape().iter().product::<usize>();
        (0..5 * size).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect()
    }

    #[test]
    fn scores_and_means_are_those_of_the_activations() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let objectives = ["conv4:3", "logits:2 - conv6:5"].map(|text| unit::parse(&graph, text).unwrap());
        let (conv4, conv6) = (graph.layer("conv4").unwrap(), graph.layer("conv6").unwrap());
        let reader = Reader::new(&graph, &Device::Cpu, 2, objectives.to_vec(), vec![conv6, conv4]);
        let x = inputs(&graph);
        let seen = reader.see(&x).unwrap();
        let network = Network::new(&graph, &Device::Cpu, 8);
        let [four, six, logits] = [conv4, conv6, graph.logits()].map(|n| network.activations(&x, n).unwrap());
        for (i, seen) in seen.iter().enumerate() {
            let mean = |z: &[f32], node: usize, c: usize| {
                let [channels, height, width] = network.map_shape(node);
                let first = (i * channels + c) * height * width;
                z[first..first + height * width].iter().map(|v| f64::from(*v)).sum::<f64>() / (height * width) as f64
            };
            assert!((seen.means[0][5] - mean(&six, conv6, 5)).abs() < 1e-4);
            assert!((seen.scores[0] - mean(&four, conv4, 3)).abs() < 1e-4);
            let logit = mean(&logits, graph.logits(), 2);
            assert!((seen.scores[1] - (logit - mean(&six, conv6, 5))).abs() < 1e-3);
        }
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn copies_depend_on_their_names_and_not_on_the_batch() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let objective = unit::parse(&graph, "conv4:3").unwrap();
        let x = inputs(&graph);
        let picture = &x[..graph.input_shape().iter().product()];
        let shaken = |batch: usize, name: &str| {
            let reader = Reader::new(&graph, &Device::Cpu, batch, vec![objective.clone()], Vec::new());
            reader.shaken(0, picture, 5, Seed(1), name).unwrap()
        };
        let copies = shaken(2, "a");
        assert_eq!(copies, shaken(8, "a"));
        assert_ne!(copies, shaken(8, "b"));
        assert!(copies.len() == 5 && copies[0] != copies[1]);
    }
}
