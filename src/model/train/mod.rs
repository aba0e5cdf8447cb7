//! Training of a network of the zoo on a dataset's labels, on the CPU: own kernels forwards and back, a fixed order of
//! samples, checkpoints to go on from.

mod checkpoint;
mod data;
mod head;
mod loss;
mod measure;
mod network;
mod optimiser;
mod options;
mod parameters;
mod pictures;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use self::checkpoint::State;
use self::data::{Input, Labelled, hold_out};
use self::loss::loss;
use self::measure::{Measurement, measure};
use self::network::Network;
use self::optimiser::Memory;
use self::parameters::{Parameters, Parts};
use self::pictures::{Augmentation, Pictures};
use super::graph::Graph;
use super::weights::Weights;
use super::zoo::{self, Options, Outputs};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::seed::Seed;

pub use self::checkpoint::Checkpoint;
pub use self::head::train_head;
pub use self::measure::LabelAccuracy;
pub use self::options::{Optimiser, Schedule, TrainOptions};

/// What one pass over the samples came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// The learning rate of its last step.
    pub learning_rate: f64,
    /// Mean loss of its steps in nats (a label, where labels are independent).
    pub loss: f64,
    /// Loss on the held-out samples after it, without label smoothing.
    #[serde(with = "crate::store::nan")]
    pub held_out_loss: f64,
    /// On the held-out samples after it: share named right where classes exclude each other, otherwise mean balanced
    /// accuracy over the labels.
    #[serde(with = "crate::store::nan")]
    pub accuracy: f64,
}

/// The course of a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Every epoch.
    pub epochs: Vec<Epoch>,
    /// Every label at the end, in the order of the logits.
    pub labels: Vec<LabelAccuracy>,
}

/// A trained network's tensors by name, and how it got there.
#[derive(Debug)]
pub struct Trained {
    /// What [`zoo::save`] writes.
    pub tensors: BTreeMap<String, Tensor>,
    /// What its logits stand for.
    pub classes: Vec<String>,
    /// Height and width of its input in pixels.
    pub size: usize,
    /// Its course.
    pub curve: Curve,
}

/// What is trained, and on what.
pub struct Training<'a> {
    /// A name of `cavern ls models`.
    pub model: &'a str,
    /// What is chosen of it; its classes are those of the dataset.
    pub choices: Options,
    /// The samples.
    pub dataset: &'a dyn Dataset,
    /// How.
    pub options: &'a TrainOptions,
    /// What chance is drawn from.
    pub seed: Seed,
    /// Where checkpoints are left, and gone on from; removed at the end.
    pub checkpoint: Option<Checkpoint>,
}

/// What a training tells while it runs.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Training starts, or goes on: epochs that are done already, of which a curve tells.
    Start {
        /// Samples that are trained on.
        samples: usize,
        /// The epochs done.
        done: &'a [Epoch],
    },
    /// So many samples have been stepped on.
    Step(usize),
    /// An epoch has ended.
    Epoch(&'a Epoch),
}

/// Trains a network from random weights to name the classes of its dataset: exclusive ones by cross-entropy, independent
/// ones by a logistic loss each. A training that was cut off goes on from its checkpoint, to the same bytes.
///
/// # Errors
/// When an option is out of range, the network cannot be trained or does not fit the dataset, the dataset is too small to
/// hold samples out, a picture cannot be read, or a checkpoint is not of this training.
pub fn train(training: &Training<'_>, on: &mut dyn FnMut(Event<'_>)) -> Result<Trained> {
    let Training { model, dataset, options, seed, .. } = *training;
    options.check()?;
    let outputs = zoo::info(model)?.outputs;
    // Independent labels are those the network was made for.
    let classes = (outputs == Outputs::Exclusive).then(|| dataset.concepts().len());
    let choices = Options { classes, ..training.choices.clone() };
    let draft = zoo::draft(model, &choices, seed)?;
    let network = Network::new(&draft)?;
    let parts = hold_out(dataset, options, seed)?;
    let input = Input::Pictures(Pictures::new(dataset, &network.graph)?);
    let data = Labelled { dataset, input, classes: classes_of(dataset, &network.graph, outputs)?, outputs };
    let start = Parameters(draft.tensors);
    let infer = |parameters: &Parameters| inference(model, &choices, parameters);
    let state = run(training, &network, &data, &parts, (start, &infer), on)?;
    let (size, classes) = (network.graph.preprocess().size, data.classes);
    Ok(Trained { tensors: state.parameters.0, classes, size, curve: state.curve })
}

/// What the logits of a network stand for. Classes of a network without names of its own are those of the dataset.
fn classes_of(dataset: &dyn Dataset, graph: &Graph, outputs: Outputs) -> Result<Vec<String>> {
    let own = outputs == Outputs::Independent || dataset.concepts().iter().all(|c| graph.classes().contains(c));
    let classes = if own { graph.classes() } else { dataset.concepts() };
    let logits = graph.shape(graph.layers().len());
    if logits != [classes.len()] {
        let problem = format!("its last layer has shape {logits:?}, and there are {} classes", classes.len());
        return Err(Error::key("model.name", problem, "a network is trained to name the classes of its dataset"));
    }
    Ok(classes.to_vec())
}

/// Makes the network that parameters are of, as it is outside of training.
type Infer<'a> = dyn Fn(&Parameters) -> Result<Graph> + 'a;

/// Trains a network on the first of two parts of the data and measures it, as `infer` makes it, on the second.
fn run(
    training: &Training<'_>,
    network: &Network,
    data: &Labelled<'_>,
    (fit, held_out): &(Vec<usize>, Vec<usize>),
    (start, infer): (Parameters, &Infer<'_>),
    on: &mut dyn FnMut(Event<'_>),
) -> Result<State> {
    let Training { options, seed, .. } = *training;
    let mut state = State { parameters: start, memory: Memory::default(), curve: Curve::default() };
    if let Some(checkpoint) = &training.checkpoint {
        state = checkpoint.read(state)?;
    }
    on(Event::Start { samples: fit.len(), done: &state.curve.epochs });
    for epoch in state.curve.epochs.len() + 1..=options.epochs {
        let augmentation = Augmentation { options, seed, epoch };
        let (mean_loss, learning_rate) = pass(network, data, fit, &augmentation, &mut state, on)?;
        let graph = infer(&state.parameters)?;
        let Measurement { loss, accuracy, labels } = measure(&graph, data, held_out, options.batch)?;
        let [learning_rate, mean_loss, held_out_loss, accuracy] =
            [learning_rate, mean_loss, loss, accuracy].map(rounded);
        let done = Epoch { epoch, learning_rate, loss: mean_loss, held_out_loss, accuracy };
        on(Event::Epoch(&done));
        state.curve.epochs.push(done);
        state.curve.labels = labels;
        let (stop, every) = (interrupt::is_wished(), options.checkpoint_every);
        if let Some(checkpoint) = training.checkpoint.as_ref().filter(|_| stop || every > 0 && epoch % every == 0) {
            checkpoint.write(&state)?;
        }
        if stop && epoch < options.epochs {
            return Err(stopped(training, epoch));
        }
    }
    Ok(state)
}

/// The end of a training that goes on another time, where it has checkpoints.
fn stopped(training: &Training<'_>, epoch: usize) -> Error {
    let all = training.options.epochs;
    let (kept, hint) = match &training.checkpoint {
        Some(Checkpoint { path, .. }) => (format!("are kept in {}", path.display()), "the same command goes on"),
        None => ("are lost".to_owned(), "the same command starts again"),
    };
    Error::Interrupted { doing: format!("train: {epoch} of {all} epochs {kept}"), hint: hint.to_owned() }
}

/// One epoch; returns the mean loss and the last learning rate.
fn pass(
    network: &Network,
    data: &Labelled<'_>,
    fit: &[usize],
    augmentation: &Augmentation<'_>,
    state: &mut State,
    on: &mut dyn FnMut(Event<'_>),
) -> Result<(f64, f64)> {
    let Augmentation { options, seed, epoch } = *augmentation;
    let changed = (options.crop > 0 || options.flip).then_some(augmentation);
    let mut order = fit.to_vec();
    order.shuffle(&mut seed.stream(&format!("train/order/{epoch}")));
    let (mut total, mut rate) = (0.0, 0.0);
    let steps = fit.len().div_ceil(options.batch);
    for (i, batch) in order.chunks(options.batch).enumerate() {
        rate = options.rate((epoch - 1) * steps + i, steps);
        let (x, targets) = (data.input(batch, changed)?, data.targets(batch)?);
        let (logits, tape) = network.forward(&state.parameters, &x)?;
        let (value, slope) = loss(&logits, &targets, options.label_smoothing)?;
        if !value.is_finite() {
            let problem = format!("the loss is {value} in epoch {epoch}");
            return Err(Error::key("train.learning_rate", problem, "choose a lower one, or a longer warm_up"));
        }
        let moments = tape.moments();
        let gradients = network.backward(&state.parameters, tape, slope)?;
        state.memory.step(options, rate, &mut state.parameters, &gradients)?;
        network.average(&mut state.parameters, &moments)?;
        total += value * batch.len() as f64;
        on(Event::Step(batch.len()));
    }
    Ok((total / fit.len() as f64, rate))
}

/// To nine decimals: JSON gives such numbers back as they were.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// The network as it is outside of training.
fn inference(model: &str, choices: &Options, parameters: &Parameters) -> Result<Graph> {
    let weights = Weights::from_tensors(Path::new(model), parameters.0.clone());
    zoo::from_weights_with(model, &weights, choices, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::elements::{self, Elements};
    use crate::dataset::{DatasetSpec, Format, World};

    fn elements(count: usize) -> Elements {
        let spec = DatasetSpec { world: Some(World::E1), count: Some(count), ..DatasetSpec::of(Format::Elements) };
        elements::open(&spec, Seed(1)).unwrap()
    }

    fn of<'a>(model: &'a str, dataset: &'a dyn Dataset, options: &'a TrainOptions, seed: Seed) -> Training<'a> {
        Training { model, choices: Options::default(), dataset, options, seed, checkpoint: None }
    }

    #[test]
    fn training_learns_and_is_repeatable() {
        let data = elements(80);
        let options = TrainOptions { epochs: 2, batch: 16, ..TrainOptions::default() };
        let run = |seed| {
            let mut said = 0;
            let training = of("elements_cnn", &data, &options, Seed(seed));
            let trained = train(&training, &mut |e| said += usize::from(matches!(e, Event::Epoch(_)))).unwrap();
            assert_eq!(said, 2);
            trained
        };
        let (a, b) = (run(1), run(1));
        assert_eq!(a.curve.epochs, b.curve.epochs);
        let values = |t: &Trained| t.tensors["conv6.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&a), values(&b));
        assert_ne!(values(&a), values(&run(2)));
        assert!(a.curve.epochs[1].loss < a.curve.epochs[0].loss);
        assert_eq!(a.curve.labels.len(), 14);
    }

    /// Pictures whose class is where they are bright, in files.
    fn squares(dir: &Path) -> Box<dyn Dataset> {
        let mut images = vec![0, 0, 8, 3, 0, 0, 0, 60, 0, 0, 0, 28, 0, 0, 0, 28];
        let mut labels = vec![0, 0, 8, 1, 0, 0, 0, 60];
        for i in 0..60usize {
            labels.push((i % 10) as u8);
            let bright = |row: usize, column: usize| row / 6 == i % 10 / 4 && column / 7 == i % 10 % 4;
            images.extend((0..784).map(|p| if bright(p / 28, p % 28) { 250 - (i as u8) } else { (p % 7) as u8 }));
        }
        std::fs::write(dir.join("train-images-idx3-ubyte"), images).unwrap();
        std::fs::write(dir.join("train-labels-idx1-ubyte"), labels).unwrap();
        let spec = DatasetSpec { root: Some(dir.to_path_buf()), ..DatasetSpec::of(Format::Idx) };
        crate::dataset::open(&spec, Seed(1)).unwrap()
    }

    #[test]
    fn a_training_that_was_cut_off_goes_on_to_the_same_bytes_on_any_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let data = squares(dir.path());
        let optimiser = Optimiser::Sgd;
        let options = TrainOptions {
            epochs: 3,
            batch: 18,
            optimiser,
            learning_rate: 0.05,
            crop: 1,
            flip: true,
            ..TrainOptions::default()
        };
        let at = |name: &str, kind: &str| {
            Some(Checkpoint {
                path: dir.path().join(name),
                training: crate::store::digest::Digest::of(kind.as_bytes()),
            })
        };
        let run = |threads: usize, checkpoint: Option<Checkpoint>, on: &mut (dyn FnMut(Event<'_>) + Send)| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let choices = Options { input: Some([1, 28, 28]), ..Options::default() };
                let training = Training { choices, checkpoint, ..of("resnet8", &*data, &options, Seed(1)) };
                train(&training, on)
            })
        };
        // What a kill in the third epoch leaves behind.
        let mut epochs = 0;
        let whole = run(1, at("a", "x"), &mut |event| match event {
            Event::Epoch(_) => epochs += 1,
            Event::Step(_) if epochs == 2 => _ = std::fs::copy(dir.path().join("a"), dir.path().join("b")).unwrap(),
            _ => {}
        });
        let whole = whole.unwrap();
        let mut done = 9;
        let rest = run(2, at("b", "x"), &mut |event| {
            if let Event::Start { done: epochs, .. } = event {
                done = epochs.len();
            }
        });
        let rest = rest.unwrap();
        assert_eq!(done, 2);
        let bytes = |t: &Trained| -> Vec<Vec<f32>> {
            t.tensors.values().map(|t| t.flatten_all().unwrap().to_vec1().unwrap()).collect()
        };
        assert_eq!(bytes(&whole), bytes(&rest));
        assert_eq!(
            crate::store::file::to_json(&whole.curve).unwrap(),
            crate::store::file::to_json(&rest.curve).unwrap()
        );
        assert!(whole.curve.epochs[2].loss < whole.curve.epochs[0].loss);
        assert_eq!(whole.classes[9], "9");
        let message = |r: Result<Trained>| r.unwrap_err().to_string();
        assert!(message(run(1, at("b", "y"), &mut |_| {})).contains("another training"));
        std::fs::write(dir.path().join("c"), b"no checkpoint").unwrap();
        assert!(message(run(1, at("c", "x"), &mut |_| {})).contains("no checkpoint"));
    }

    #[test]
    fn a_transformer_learns_to_the_same_bytes_on_any_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let data = squares(dir.path());
        let options = TrainOptions { epochs: 30, batch: 18, learning_rate: 0.003, ..TrainOptions::default() };
        let choices = Options { input: Some([1, 28, 28]), width: Some(64), depth: Some(2), ..Options::default() };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let training = || {
                train(&Training { choices: choices.clone(), ..of("vit_mini", &*data, &options, Seed(1)) }, &mut |_| {})
            };
            pool.install(training).unwrap()
        };
        let (one, two) = (run(1), run(2));
        let bytes = |t: &Trained| -> Vec<Vec<f32>> {
            t.tensors.values().map(|t| t.flatten_all().unwrap().to_vec1().unwrap()).collect()
        };
        assert_eq!(bytes(&one), bytes(&two));
        let (first, last) = (&one.curve.epochs[0], &one.curve.epochs[29]);
        assert!(last.loss < 0.2 && first.loss > 2.0 && last.accuracy > 0.8, "{first:?} {last:?}");
        assert!(
            one.tensors.contains_key("blocks.1.attn.qkv.weight") && !one.tensors.contains_key("blocks.2.norm1.bias")
        );
    }

    #[test]
    fn a_head_learns_on_features_that_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data = squares(dir.path());
        let layer = "conv3".to_owned();
        let options = TrainOptions { epochs: 40, batch: 16, learning_rate: 0.05, ..TrainOptions::default() };
        let training = of("elements_cnn", &*data, &options, Seed(1));
        let (head, curve) = train_head(&training, (None, &layer), &mut |_| {}).unwrap();
        assert_eq!((head.layer.as_str(), head.classes.len(), head.weight.dims()), ("conv3", 10, &[10, 48][..]));
        assert!(curve.epochs[39].loss < 0.6 && curve.epochs[0].loss > 1.0, "{curve:?}");
        // On the graph it says what it said in training.
        let whole = head.on(&zoo::build("elements_cnn", None, &Device::Cpu).unwrap(), &Device::Cpu).unwrap();
        let samples: Vec<usize> = (0..60).collect();
        let input = Input::Pictures(Pictures::new(&*data, &whole).unwrap());
        let all = Labelled { dataset: &*data, input, classes: head.classes.clone(), outputs: Outputs::Exclusive };
        let Measurement { loss, .. } = measure(&whole, &all, &samples, 16).unwrap();
        assert!((loss - curve.epochs[39].loss).abs() < 0.5, "{loss}");
        let message = train_head(&training, (None, "conv9"), &mut |_| {}).unwrap_err().to_string();
        assert!(message.contains("`conv"), "{message}");
    }

    #[test]
    fn impossible_wishes_are_refused() {
        let data = elements(1);
        let refused = |model, options: TrainOptions| {
            let error = train(&of(model, &data, &options, Seed(1)), &mut |_| {}).unwrap_err();
            assert!(error.is_users_mistake(), "{error}");
        };
        refused("elements_cnn", TrainOptions::default());
        refused("elements_cnn", TrainOptions { held_out: 1.0, ..TrainOptions::default() });
        refused("elements_cnn", TrainOptions { batch: 0, ..TrainOptions::default() });
        refused("efficientnet_lite0", TrainOptions::default());
        refused("no_such_net", TrainOptions::default());
    }

    #[test]
    fn samples_of_no_one_class_are_refused_or_left_out() {
        let data = elements(60);
        let options = TrainOptions { epochs: 1, ..TrainOptions::default() };
        let head = |skip_unclear| {
            let options = TrainOptions { skip_unclear, ..options.clone() };
            train_head(&of("elements_cnn", &data, &options, Seed(1)), (None, "conv3"), &mut |_| {})
        };
        let message = head(false).unwrap_err().to_string();
        assert!(message.contains("train.skip_unclear"), "{message}");
        let message = head(true).unwrap_err().to_string();
        assert!(message.contains("shared out"), "every picture shows several: {message}");
    }
}
