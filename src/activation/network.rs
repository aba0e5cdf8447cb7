//! A network in plain numbers: activations, scores and gradients of inputs that are ready, for those who know nothing of
//! tensors. Everything is worked through in batches, and maps are `[channel, height, width]` whatever the layer's layout.

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::model::Graph;

/// A network, where it runs, and how many pictures it takes at once.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    graph: &'a Graph,
    device: &'a Device,
    batch: usize,
}

/// Activations of some inputs at one layer, to go on from.
pub struct Held<'a> {
    network: Network<'a>,
    node: usize,
    z: Tensor,
}

impl<'a> Network<'a> {
    /// A network that takes `batch` pictures at once.
    pub fn new(graph: &'a Graph, device: &'a Device, batch: usize) -> Self {
        Self { graph, device, batch: batch.max(1) }
    }

    /// Where it runs.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// The network itself.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// Pictures it takes at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Values of one input.
    pub fn input_len(&self) -> usize {
        self.graph.input_shape().iter().product()
    }

    /// `[channel, height, width]` of a node's map.
    pub fn map_shape(&self, node: usize) -> [usize; 3] {
        self.graph.layout(node).map_shape()
    }

    /// The node of the class logits: see [`Graph::logits`].
    pub fn logits(&self) -> usize {
        self.graph.logits()
    }

    fn tensor(&self, inputs: &[f32]) -> Result<Tensor> {
        let [channel, height, width] = self.graph.input_shape();
        let count = inputs.len() / self.input_len().max(1);
        Ok(Tensor::from_slice(inputs, (count, channel, height, width), self.device)?)
    }

    fn values(&self, node: usize, z: &Tensor) -> Result<Vec<f32>> {
        Ok(self.graph.layout(node).to_map(z)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?)
    }

    /// The maps of a node, one after the other, for inputs one after the other.
    ///
    /// # Errors
    /// When the inputs do not fit.
    pub fn activations(&self, inputs: &[f32], node: usize) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        for inputs in inputs.chunks(self.batch * self.input_len().max(1)) {
            out.extend(self.values(node, &self.forward(inputs, node)?)?);
        }
        Ok(out)
    }

    fn forward(&self, inputs: &[f32], node: usize) -> Result<Tensor> {
        let x = self.tensor(inputs)?;
        let found = self.graph.forward(&x, &[node])?.pop();
        found.ok_or_else(|| Error::Failure("the network gave no activation".into()))
    }

    /// `<weights, z>` of the maps z of a node, for `count` inputs that `make` writes by their number; only a batch of them
    /// is in memory.
    ///
    /// # Errors
    /// When the weights do not fit the node.
    pub fn scores(
        &self,
        node: usize,
        weights: &[f32],
        count: usize,
        mut make: impl FnMut(usize, &mut [f32]),
    ) -> Result<Vec<f64>> {
        let mut out = Vec::with_capacity(count);
        let size = self.input_len();
        let mut inputs = vec![0.0; self.batch.min(count) * size];
        for first in (0..count).step_by(self.batch) {
            let part = &mut inputs[..self.batch.min(count - first) * size];
            part.chunks_exact_mut(size).enumerate().for_each(|(i, slot)| make(first + i, slot));
            let maps = self.values(node, &self.forward(part, node)?)?;
            out.extend(maps.chunks_exact(weights.len().max(1)).map(|z| dot(z, weights)));
        }
        Ok(out)
    }

    /// Gradients of `<slope(i), z>`, z the map of `node` for input i, with respect to the maps of the nodes `taps` (0 is the
    /// input): for each tap the maps of all inputs, one after the other.
    ///
    /// # Errors
    /// When the inputs or slopes do not fit, or `node` does not depend on a tap.
    pub fn gradients<'s>(
        &self,
        inputs: &[f32],
        node: usize,
        taps: &[usize],
        slope: impl Fn(usize) -> &'s [f32],
    ) -> Result<Vec<Vec<f32>>> {
        let mut out = vec![Vec::new(); taps.len()];
        let layout = self.graph.layout(node);
        let [channel, height, width] = layout.map_shape();
        for (batch, inputs) in inputs.chunks(self.batch * self.input_len().max(1)).enumerate() {
            let found = self.graph.pull_back_to(taps, node, &self.tensor(inputs)?, |first, z| {
                let (count, start) = (z.dim(0)?, batch * self.batch + first);
                let slopes: Vec<f32> = (start..start + count).flat_map(|i| slope(i).iter().copied()).collect();
                let slopes = Tensor::from_vec(slopes, (count, channel, height, width), self.device)?;
                Ok(layout.from_map(&slopes)?.reshape(z.dims())?)
            })?;
            for ((out, gradient), tap) in out.iter_mut().zip(&found).zip(taps) {
                out.extend(self.values(*tap, gradient)?);
            }
        }
        Ok(out)
    }

    /// Holds the activations of all inputs at a node.
    ///
    /// # Errors
    /// When the inputs do not fit.
    pub fn hold(&self, inputs: &[f32], node: usize) -> Result<Held<'a>> {
        Ok(Held { network: *self, node, z: self.forward(inputs, node)? })
    }
}

impl Held<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.z.dims().first().copied().unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their maps, one after the other.
    ///
    /// # Errors
    /// When the device fails.
    pub fn maps(&self) -> Result<Vec<f32>> {
        self.network.values(self.node, &self.z)
    }

    /// The maps of a later node after `step`, one map, has been added to every activation held.
    ///
    /// # Errors
    /// When the step does not fit, or the later node does not follow from this one alone.
    pub fn moved(&self, step: &[f32], later: usize) -> Result<Vec<f32>> {
        let layout = self.network.graph.layout(self.node);
        let [channel, height, width] = layout.map_shape();
        let step = Tensor::from_slice(step, (1, channel, height, width), self.network.device)?;
        let mut shape = self.z.dims().to_vec();
        shape[0] = 1;
        let moved = self.z.broadcast_add(&layout.from_map(&step)?.reshape(shape)?)?;
        let found = self.network.graph.forward_from(self.node, &moved, &[later])?.pop();
        self.network.values(later, &found.ok_or_else(|| Error::Failure("the network gave no activation".into()))?)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo;

    /// 3 pictures of noise, more than a batch, for the embedded network.
    fn inputs(graph: &Graph) -> Vec<f32> {
        let size = graph.input_shape().iter().product::<usize>();
        (0..3 * size).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect()
    }

    #[test]
    fn a_gradient_is_the_slope_of_the_score() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let network = Network::new(&graph, &Device::Cpu, 2);
        let x = inputs(&graph);
        let (conv3, conv5) = (graph.layer("conv3").unwrap(), graph.layer("conv5").unwrap());
        let width = network.map_shape(conv5).iter().product::<usize>();
        let weights: Vec<f32> = (0..width).map(|i| ((i * 13 % 7) as f32 - 3.0) / 100.0).collect();
        let at = |x: &[f32]| {
            network.scores(conv5, &weights, x.len() / network.input_len(), |i, slot| {
                slot.copy_from_slice(&x[i * slot.len()..(i + 1) * slot.len()]);
            })
        };
        let clean = at(&x).unwrap();
        let maps = network.activations(&x, conv5).unwrap();
        assert_eq!(maps.len(), 3 * width);
        assert!((dot(&maps[2 * width..], &weights) - clean[2]).abs() < 1e-9);
        let found = network.gradients(&x, conv5, &[0, conv3], |_| &weights).unwrap();
        assert_eq!(found[1].len(), 3 * network.map_shape(conv3).iter().product::<usize>());
        // Along the gradient itself the score grows by its squared norm; few units change sides on a short way.
        let size = network.input_len();
        for i in 0..3 {
            let g = &found[0][i * size..(i + 1) * size];
            let square = dot(g, g);
            let h = 1e-3 / square.sqrt();
            let step = |sign: f64| -> Vec<f32> {
                let x = &x[i * size..(i + 1) * size];
                x.iter().zip(g).map(|(x, g)| (f64::from(*x) + sign * h * f64::from(*g)) as f32).collect()
            };
            let rise = (at(&step(1.0)).unwrap()[0] - at(&step(-1.0)).unwrap()[0]) / (2.0 * h);
            assert!((rise - square).abs() < 0.02 * square, "{rise} {square}");
        }
    }

    #[test]
    fn a_held_activation_moves() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let network = Network::new(&graph, &Device::Cpu, 2);
        let x = inputs(&graph);
        let (conv6, logits) = (graph.layer("conv6").unwrap(), network.logits());
        let held = network.hold(&x, conv6).unwrap();
        let [channels, height, width] = network.map_shape(conv6);
        // One channel more everywhere: every logit grows by its weight, which is the gradient's sum.
        let mut step = vec![0.0; channels * height * width];
        step[..height * width].fill(1.0);
        let (before, after) = (network.activations(&x, logits).unwrap(), held.moved(&step, logits).unwrap());
        let classes = network.map_shape(logits)[0];
        let mut slope = vec![0.0; classes];
        slope[4] = 1.0;
        let g = network.gradients(&x, logits, &[conv6], |_| &slope).unwrap().remove(0);
        assert!((f64::from(after[4] - before[4]) - dot(&g[..step.len()], &step)).abs() < 1e-4);
        assert_eq!(held.maps().unwrap(), network.activations(&x, conv6).unwrap());
    }
}
