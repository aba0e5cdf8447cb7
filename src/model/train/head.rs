//! Training of a linear head on a layer of a network that stays as it is: multinomial logistic regression on features that
//! are computed once.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::data::{Input, Labelled, hold_out};
use super::network::Network;
use super::parameters::Parameters;
use super::pictures::Pictures;
use super::{Curve, Event, Training, run};
use crate::dataset::Preprocess;
use crate::dataset::preprocess::Filter;
use crate::error::Result;
use crate::interrupt;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::model::head::{Head, trunk};
use crate::model::zoo::{self, Draft, Outputs};
use crate::ops::Activation;

/// Trains a head on a layer; `weights` are those of the network.
///
/// # Errors
/// As [`super::train`], or when the network has no such layer.
pub fn train_head(
    training: &Training<'_>,
    (weights, layer): (Option<&Path>, &str),
    on: &mut dyn FnMut(Event<'_>),
) -> Result<(Head, Curve)> {
    let Training { model, dataset, options, seed, .. } = *training;
    options.check()?;
    let graph = zoo::build_with(model, weights, &training.choices, &Device::Cpu)?;
    let (builder, node) = trunk(&graph, layer)?;
    let graph = builder.finish(model, graph.preprocess().clone(), Vec::new(), &Device::Cpu)?;
    let parts = hold_out(dataset, options, seed)?;
    let (features, len) = features(training, &graph, node, &[parts.0.as_slice(), &parts.1].concat())?;
    let scale = Scale::of(&features, len, &parts.0);
    let input = Input::Features(scale.apply(&features), len);
    let classes = dataset.concepts().to_vec();
    let data = Labelled { dataset, input, classes: classes.clone(), outputs: Outputs::Exclusive };
    let start = BTreeMap::from([
        ("weight".to_owned(), Tensor::zeros((classes.len(), len), DType::F32, &Device::Cpu)?),
        ("bias".to_owned(), Tensor::zeros(classes.len(), DType::F32, &Device::Cpu)?),
    ]);
    let infer = |parameters: &Parameters| linear(parameters, len);
    let start = Parameters(start);
    let graph = infer(&start)?;
    let network = Network::new(&Draft { graph, tensors: start.0.clone(), folds: Vec::new() })?;
    let state = run(training, &network, &data, &parts, (start, &infer), on)?;
    let (weight, bias) = scale.undo(&state.parameters, len)?;
    Ok((Head { layer: layer.to_owned(), weight, bias, classes }, state.curve))
}

/// Features of some samples, each at its own place among all, and how many a sample has; the others' are zero.
fn features(training: &Training<'_>, graph: &Graph, node: usize, samples: &[usize]) -> Result<(Vec<f32>, usize)> {
    let pictures = Pictures::new(training.dataset, graph)?;
    let len = graph.shape(node).iter().product();
    let mut features = vec![0f32; training.dataset.samples().len() * len];
    for batch in samples.chunks(training.options.batch) {
        interrupt::check("train: what the head sees of the pictures was being computed")?;
        let activation = graph.forward(&pictures.input(batch, None)?, &[node])?.remove(0);
        let rows = activation.flatten_all()?.to_vec1::<f32>()?;
        for (sample, row) in batch.iter().zip(rows.chunks_exact(len)) {
            features[sample * len..][..len].copy_from_slice(row);
        }
    }
    Ok((features, len))
}

/// The network of a head alone.
fn linear(parameters: &Parameters, len: usize) -> Result<Graph> {
    let mut builder = GraphBuilder::new([len, 1, 1]);
    let flat = builder.add("flatten", Op::Flatten, &[0]);
    let (weight, bias) = (parameters.tensor("weight")?.clone(), parameters.tensor("bias")?.clone());
    builder.add("logits", Op::Linear(Activation::None, weight, bias), &[flat]);
    let preprocess = Preprocess { size: 1, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
    builder.finish("head", preprocess, Vec::new(), &Device::Cpu)
}

/// Means and deviations of features over the samples that are trained on: every feature then has the same say.
struct Scale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scale {
    fn of(features: &[f32], len: usize, samples: &[usize]) -> Self {
        let rows = || samples.iter().map(|sample| &features[sample * len..][..len]);
        let mut mean = vec![0.0; len];
        rows().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v) / samples.len() as f64));
        let mut squares = vec![0.0; len];
        for row in rows() {
            let terms = squares.iter_mut().zip(row).zip(&mean);
            terms.for_each(|((s, v), m)| *s += (f64::from(*v) - m).powi(2) / samples.len() as f64);
        }
        // A feature that never changes says nothing, and is left at zero.
        let deviation = squares.into_iter().map(|s| if s > 0.0 { s.sqrt() } else { 1.0 }).collect();
        Self { mean, deviation }
    }

    fn apply(&self, features: &[f32]) -> Vec<f32> {
        let scale = |(v, (m, d)): (&f32, (&f64, &f64))| ((f64::from(*v) - m) / d) as f32;
        let rows = features.chunks_exact(self.mean.len());
        rows.flat_map(|row| row.iter().zip(self.mean.iter().zip(&self.deviation)).map(scale)).collect()
    }

    /// Weights and bias for features as they are.
    fn undo(&self, parameters: &Parameters, len: usize) -> Result<(Tensor, Tensor)> {
        let values = |name: &str| -> Result<Vec<f32>> { Ok(parameters.tensor(name)?.flatten_all()?.to_vec1()?) };
        let mut weight: Vec<f64> = values("weight")?.into_iter().map(f64::from).collect();
        let mut bias: Vec<f64> = values("bias")?.into_iter().map(f64::from).collect();
        for (row, bias) in weight.chunks_exact_mut(len).zip(&mut bias) {
            row.iter_mut().zip(&self.deviation).for_each(|(w, d)| *w /= d);
            *bias -= row.iter().zip(&self.mean).map(|(w, m)| w * m).sum::<f64>();
        }
        let single = |t: Tensor| t.to_dtype(DType::F32);
        let classes = bias.len();
        Ok((
            single(Tensor::from_vec(weight, (classes, len), &Device::Cpu)?)?,
            single(Tensor::from_vec(bias, classes, &Device::Cpu)?)?,
        ))
    }
}
