//! Where pictures are looked at: the network that they were made in beside the one that judges them.

use rayon::prelude::*;

use crate::dataset::Preprocess;
use crate::dataset::preprocess::Picture;
use crate::error::Result;
use crate::maximise::spectrum::Spectral;
use crate::maximise::{Objective, Planes, Reader, Seen};
use crate::metric::proportion::softmax;
use crate::model::Graph;
use crate::stage::Context;

/// Layers on the way to an objective's own that are compared, that one included.
const WAY: usize = 6;
/// Fewest channels of a layer whose means can be ranked.
const CHANNELS: usize = 8;

/// Both networks, with what is read of them.
pub(super) struct Bench<'a> {
    context: &'a Context,
    pub(super) own: Reader<'a>,
    judge: Reader<'a>,
    /// By objective: places of the layers on its way.
    ways: Vec<Vec<usize>>,
}

/// What is seen of one picture.
pub(super) struct Look {
    /// By objective, its score.
    pub(super) scores: Vec<f64>,
    /// By layer on the ways, the means of its channels.
    means: Vec<Vec<f64>>,
    /// The judge's features: the layer before its logits, averaged over positions.
    pub(super) features: Vec<f64>,
    /// The judge's probabilities by class; of no use where it has no classes.
    pub(super) classes: Vec<f64>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(context: &'a Context, own: &'a Graph, judge: &'a Graph, objectives: Vec<Objective>) -> Self {
        let (batch, device) = (context.study.activation.batch, &context.device);
        let ways: Vec<Vec<usize>> = objectives.iter().map(|o| way(own, o)).collect();
        let mut layers = ways.concat();
        layers.sort_unstable();
        layers.dedup();
        let place = |node: &usize| layers.binary_search(node).unwrap_or_default();
        let ways = ways.iter().map(|way| way.iter().map(place).collect()).collect();
        let ends = vec![features(judge), judge.logits()];
        Self {
            context,
            own: Reader::new(own, device, batch, objectives, layers),
            judge: Reader::new(judge, device, batch, Vec::new(), ends),
            ways,
        }
    }

    /// What is seen of every picture, in order.
    pub(super) fn look(&self, pictures: &[Picture]) -> Result<Vec<Look>> {
        let own = self.own.see(&self.inputs(pictures))?;
        let judge = self.judge.graph();
        // A picture is already what the study's network sees: it is not cropped again.
        let preprocess = Preprocess { crop: None, ..judge.preprocess().clone() };
        let again = |picture: &Picture| Ok(input(judge, &preprocess.picture(&picture.to_image())?));
        let inputs: Vec<Vec<f32>> = pictures.par_iter().map(again).collect::<Result<_>>()?;
        let judged = self.judge.see(&inputs.concat())?;
        Ok(own.into_iter().zip(judged).map(|(own, judged)| Look::of(own, judged)).collect())
    }

    /// What is seen of pictures of the dataset, of which some are in memory at once.
    pub(super) fn look_at(&self, samples: &[usize]) -> Result<Vec<Look>> {
        let mut out = Vec::with_capacity(samples.len());
        for samples in samples.chunks(self.context.study.activation.batch.max(1)) {
            let load = |sample: &usize| of_sample(self.context, *sample);
            out.extend(self.look(&samples.par_iter().map(load).collect::<Result<Vec<_>>>()?)?);
        }
        Ok(out)
    }

    /// Pictures as the input of the network that they were made in.
    pub(super) fn inputs(&self, pictures: &[Picture]) -> Vec<f32> {
        pictures.iter().flat_map(|picture| input(self.own.graph(), picture)).collect()
    }

    /// The means of channels along the way to an objective's layer.
    pub(super) fn along<'l>(&self, objective: usize, look: &'l Look) -> Vec<&'l [f64]> {
        self.ways[objective].iter().map(|layer| look.means[*layer].as_slice()).collect()
    }

    /// The slope and the centroid of a picture's spectrum, its channels averaged.
    pub(super) fn spectral(&self, picture: &Picture) -> Spectral {
        let [channels, ..] = self.own.graph().input_shape();
        let size = picture.size;
        Spectral::of(&self.own.graph().preprocess().levels(picture, channels), size, size)
    }

    /// The same of pictures of the dataset.
    pub(super) fn spectra(&self, samples: &[usize]) -> Result<Vec<Spectral>> {
        samples.par_iter().map(|sample| Ok(self.spectral(&of_sample(self.context, *sample)?))).collect()
    }
}

impl Look {
    fn of(own: Seen, mut judged: Seen) -> Self {
        let logits = judged.means.pop().unwrap_or_default();
        let features = judged.means.pop().unwrap_or_default();
        Self { scores: own.scores, means: own.means, features, classes: softmax(&logits) }
    }
}

/// A rendered picture as the study's network sees pictures; a plane of grey is one of each colour.
pub(super) fn of_planes(planes: &Planes) -> Picture {
    let [channels, size, _] = planes.shape;
    let pixels = if channels == 1 { planes.values.repeat(3) } else { planes.values.clone() };
    Picture { size, pixels }
}

/// A picture of the dataset as the study's network sees it.
pub(super) fn of_sample(context: &Context, sample: usize) -> Result<Picture> {
    context.network()?.preprocess().picture(&context.dataset.image(sample)?)
}

fn input(graph: &Graph, picture: &Picture) -> Vec<f32> {
    let mut out = vec![0f32; graph.input_shape().iter().product()];
    graph.preprocess().normalise(picture, &mut out);
    out
}

/// The layer whose channels stand for what a network sees in a picture: the one before its logits, or its last.
fn features(graph: &Graph) -> usize {
    let logits = graph.logits();
    let has_classes = graph.layer("logits").is_ok() || !graph.classes().is_empty();
    let before = graph.inputs(logits).first().copied().filter(|node| *node > 0);
    before.filter(|_| has_classes).unwrap_or(logits)
}

/// Layers up to an objective's last, evenly spread, of those with channels to rank.
fn way(graph: &Graph, objective: &Objective) -> Vec<usize> {
    let last = objective.nodes().last().copied().unwrap_or_default();
    let wide: Vec<usize> = (1..=last).filter(|node| graph.layout(*node).map_shape()[0] >= CHANNELS).collect();
    let count = wide.len().min(WAY);
    (1..=count).map(|i| wide[i * wide.len() / count - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maximise::unit;
    use crate::model::zoo;

    #[test]
    fn the_way_ends_at_the_objectives_layer() {
        let graph = zoo::outline("resnet18", &zoo::Options::default()).unwrap();
        let objective = unit::parse(&graph, "layer3.0:1").unwrap();
        let way = way(&graph, &objective);
        assert_eq!((way.len(), way.last()), (WAY, objective.nodes().last()));
        assert!(way.windows(2).all(|pair| pair[0] < pair[1]));
        let graph = zoo::outline("elements_cnn", &zoo::Options::default()).unwrap();
        assert_eq!(features(&graph), graph.layer("mean").unwrap());
    }
}
