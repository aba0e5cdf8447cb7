//! Activation maximisation as a second opinion: where a few steps up the probe's score change the photograph itself.

use crate::error::Result;
use crate::localise::opinion::{Map, Score};
use crate::maximise::objective::Reading;
use crate::maximise::optimiser::OptimiserKind;
use crate::maximise::options::Colours;
use crate::maximise::parameter::ParameterKind;
use crate::maximise::{Data, Job, MaximiseOptions, Objective, Rendering, Start, Transforms, maximise_on};
use crate::seed::Seed;

/// Step size: the mean change of a pixel's logit in one step.
const RATE: f64 = 0.01;

/// `|x* - x0|` averaged over channels, of every photograph x0 `[channel, height, width]` in \[0, 1\] and what `steps` steps along
/// the gradient of the score make of it. Pixels are moved as they are, in proportion to the gradient, and nothing is drawn.
///
/// # Errors
/// When the network fails.
pub(super) fn maps(score: &Score<'_>, photographs: &[Vec<f32>], steps: usize) -> Result<Vec<Map>> {
    let options = MaximiseOptions {
        steps,
        learning_rate: RATE,
        optimiser: OptimiserKind::Sgd,
        batch: score.network.batch(),
        parameter: ParameterKind::Pixel,
        colours: Colours::None,
        transforms: Transforms::NONE,
        ..MaximiseOptions::default()
    };
    let objective = Objective::of(score.node, Reading::Whole(score.weights.clone()));
    let job = |photograph: &Vec<f32>| Job {
        label: "second opinion".to_owned(),
        objective: objective.clone(),
        seed: 0,
        start: Some(Start::Picture(photograph.clone())),
    };
    let jobs: Vec<Job> = photographs.iter().map(job).collect();
    let (graph, device) = (score.network.graph(), score.network.device());
    let made = maximise_on(device, graph, &jobs, &options, &Data::default(), Seed(0), |_| {})?;
    let map = |(made, photograph): (Rendering, &Vec<f32>)| Map {
        size: score.size(),
        values: made.picture.change(photograph).values,
    };
    Ok(made.into_iter().zip(photographs).map(map).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Network;
    use crate::model::zoo;
    use candle_core::Device;

    #[test]
    fn only_what_a_score_sees_is_changed() {
        let (device, graph) = (Device::Cpu, zoo::build("elements_cnn", None, &Device::Cpu).unwrap());
        let node = graph.layer("conv4").unwrap();
        let [channels, rows, columns] = graph.layout(node).map_shape();
        // All channels in the first cell of the grid.
        let mut weights = vec![0.0; channels * rows * columns];
        weights.iter_mut().step_by(rows * columns).for_each(|w| *w = 1.0);
        let score = Score { network: Network::new(&graph, &device, 2), node, weights, bias: 0.0 };
        let size: usize = graph.input_shape().iter().product();
        let wave = |k: usize| (0..size).map(|i| 0.5 + 0.3 * ((i * k) as f32 * 0.05).sin()).collect::<Vec<f32>>();
        let photographs = [wave(1), wave(3), wave(7)];
        let maps = maps(&score, &photographs, 3).unwrap();
        assert_eq!(maps.len(), 3);
        for map in maps {
            let (height, width) = map.size;
            assert_eq!(map.values.len(), height * width);
            let near = map.values[..width / 8].iter().copied().fold(0f32, f32::max);
            // What goes there and back through the logits is not exact.
            let far = map.values[height * width - width / 8..].iter().copied().fold(0f32, f32::max);
            assert!(near > 1e-3 && far < 1e-5, "{near} {far}");
        }
    }
}
