//! Where pictures are made, batch by batch, and kept.

use candle_core::Device;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::maximise::parameter::ParameterKind;
use crate::maximise::{
    Data, Job, JudgeOptions, MaximiseOptions, Objective, Planes, Rendering, Start, batches, maximise_on,
};
use crate::model::Graph;
use crate::probe::Variant;
use crate::seed::Seed;
use crate::stage::Progress;
use crate::store::Store;
use crate::store::artifact::{Artifact, Draft};
use crate::store::digest::{Digest, DigestBuilder};

const KIND: &str = "rendering";
const TABLE: &str = "renderings.json";
/// Ending of the name of a picture's difference from its start.
const CHANGE: &str = "-change.png";
/// Ending of the name of a picture that is seen through where it does not matter.
const ALPHA: &str = "-alpha.png";
const PICTURES: &str = "pictures.safetensors";

/// What a rendered objective is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The CAV.
    Cav,
    /// Its opposite.
    Negative,
    /// A random direction.
    Random,
    /// A unit, or a sum of units.
    Unit,
    /// A CAV or a unit in the network with random weights.
    Untrained,
}

impl Role {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cav => "cav",
            Self::Negative => "negative",
            Self::Random => "random",
            Self::Unit => "unit",
            Self::Untrained => "untrained",
        }
    }
}

/// One picture that was, or is to be, rendered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rendered {
    /// The layer's name; of a sum over several, their names with plus signs.
    pub layer: String,
    /// The concept, `random` for a random direction; the text of a unit.
    pub concept: String,
    /// The probe's kind, or `unit`.
    pub probe: String,
    /// The form of the activations it is a direction of; none of a unit.
    pub variant: Option<Variant>,
    /// What the objective is.
    pub role: Role,
    /// The picture's seed.
    pub seed: u64,
    /// What the picture is made of, where a study has it made of several things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<ParameterKind>,
    /// The direction's offset: score = objective + bias.
    pub bias: f64,
    /// The objective by step; empty before it is rendered.
    pub trace: Vec<f32>,
    /// The objective of the picture without transforms; NaN before it is rendered.
    #[serde(with = "crate::store::nan")]
    pub score: f64,
    /// The same of the best picture on the way, and the steps made before it.
    #[serde(with = "crate::store::nan")]
    pub best_score: f64,
    /// Steps made before the best picture.
    pub best_step: usize,
    /// What is wrong with it: "gradient is zero".
    pub diagnosis: Option<String>,
}

impl Rendered {
    /// A unit's name, or a direction's: layer, concept, kind, form and role; and the parameterisation, where there are several.
    pub fn label(&self) -> String {
        let objective = self.objective();
        self.parameter.map_or(objective.clone(), |parameter| format!("{objective} {}", parameter.name()))
    }

    fn objective(&self) -> String {
        match self.variant {
            Some(variant) => {
                format!("{} {} {} {} {}", self.layer, self.concept, self.probe, variant.name(), self.role.name())
            }
            None if self.role == Role::Untrained => format!("{} {}", self.concept, self.role.name()),
            None => self.concept.clone(),
        }
    }

    /// The name of its form in tables.
    pub fn form(&self) -> String {
        self.variant.map_or_else(|| "unit".to_owned(), Variant::name)
    }
}

/// A picture to be made.
pub type Order = (Rendered, Objective);

/// A network with everything that decides what a picture looks like.
pub struct Studio<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Where it is.
    pub device: &'a Device,
    /// Where pictures are kept.
    pub store: &'a Store,
    /// What noise and shaking are drawn from.
    pub seed: Seed,
    /// How pictures are made.
    pub options: &'a MaximiseOptions,
    /// Statistics of the data.
    pub data: Data,
    /// The picture that every ascent starts from instead of noise, `[channel, height, width]`, values in \[0, 1\].
    pub start: Option<Vec<f32>>,
}

impl Studio<'_> {
    /// How many steps so many pictures take.
    pub fn steps(&self, pictures: usize) -> usize {
        pictures * self.options.steps
    }

    /// The batches that the store lacks, with their keys.
    ///
    /// # Errors
    /// When a value has no JSON form.
    pub fn lacking<'o>(&self, orders: &'o [Order]) -> Result<Vec<(&'o [Order], Digest)>> {
        let keyed = self.batches(orders).into_iter().map(|batch| Ok((batch, self.key(batch)?)));
        let mut lacking = keyed.collect::<Result<Vec<_>>>()?;
        lacking.retain(|(_, key)| !self.store.has(KIND, key));
        Ok(lacking)
    }

    /// How many steps of pictures the store has.
    ///
    /// # Errors
    /// As [`Studio::lacking`].
    pub fn found(&self, orders: &[Order]) -> Result<usize> {
        let lacking: usize = self.lacking(orders)?.iter().map(|(batch, _)| batch.len()).sum();
        Ok(self.steps(orders.len() - lacking))
    }

    /// Makes what the store lacks; what was made stays when a later batch is stopped. Only that is counted.
    ///
    /// # Errors
    /// When an objective does not fit its layer, the network fails, or the user wants to stop.
    pub fn render(&self, orders: &[Order], progress: &mut Progress) -> Result<()> {
        for (batch, key) in self.lacking(orders)? {
            let job = |(r, objective): &Order| Job {
                label: r.label(),
                objective: objective.clone(),
                seed: r.seed,
                start: self.start.clone().map(Start::Picture),
            };
            let jobs: Vec<Job> = batch.iter().map(job).collect();
            let parameters = serde_json::json!({
                "model": self.graph.name(), "first": batch[0].0.label(), "pictures": batch.len(), "maximise": self.options,
            });
            self.store.get_or_make(KIND, &key, parameters, |draft| {
                let count = |pictures: usize| progress.step(pictures);
                let made = maximise_on(self.device, self.graph, &jobs, self.options, &self.data, self.seed, count)?;
                self.write(draft, batch, &made)
            })?;
            progress.keep()?;
        }
        Ok(())
    }

    /// Every picture with its PNG, in order.
    ///
    /// # Errors
    /// When one is missing or damaged.
    pub fn get(&self, orders: &[Order]) -> Result<Vec<(Rendered, Vec<u8>)>> {
        self.files(orders, ".png")
    }

    /// Where every picture differs from the one that it started from, brightest where it does most, as PNGs in order.
    ///
    /// # Errors
    /// When one is missing or damaged: ascents that start from noise have none.
    pub fn changes(&self, orders: &[Order]) -> Result<Vec<(Rendered, Vec<u8>)>> {
        self.files(orders, CHANGE)
    }

    /// Every picture that had a gradient, seen through where it does not matter to the objective, as PNGs in order.
    ///
    /// # Errors
    /// When one is damaged.
    pub fn transparent(&self, orders: &[Order]) -> Result<Vec<(Rendered, Vec<u8>)>> {
        self.files(orders, ALPHA)
    }

    /// A file of every picture, whose name is the picture's number and this ending.
    fn files(&self, orders: &[Order], ending: &str) -> Result<Vec<(Rendered, Vec<u8>)>> {
        let mut all = Vec::with_capacity(orders.len());
        for batch in self.batches(orders) {
            let artifact: Artifact = self.store.get(KIND, &self.key(batch)?, "maximise")?;
            let has = |name: &str| artifact.manifest().files.iter().any(|file| file.name == name);
            for (i, rendered) in artifact.read_json::<Vec<Rendered>>(TABLE)?.into_iter().enumerate() {
                let name = format!("{i}{ending}");
                if ending != ALPHA || has(&name) {
                    all.push((rendered, artifact.read(&name)?));
                }
            }
        }
        Ok(all)
    }

    /// The last pictures as they are, in order; only a batch of them is in memory. An error stands for a batch that is
    /// missing or damaged.
    pub fn last<'o>(&'o self, orders: &'o [Order]) -> impl Iterator<Item = Result<Planes>> + 'o {
        let read = |batch| planes(&self.store.get(KIND, &self.key(batch)?, "maximise")?.read(PICTURES)?, "last");
        self.batches(orders).into_iter().flat_map(move |batch| match read(batch) {
            Ok(planes) => planes.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    /// Keys of the artifacts that the pictures are in, in order.
    ///
    /// # Errors
    /// When a value has no JSON form.
    pub fn keys(&self, orders: &[Order]) -> Result<Vec<Digest>> {
        self.batches(orders).into_iter().map(|batch| self.key(batch)).collect()
    }

    /// Pictures that end at the same layers, a batch at a time.
    fn batches<'o>(&self, orders: &'o [Order]) -> Vec<&'o [Order]> {
        batches(
            orders,
            self.options.batch,
            self.options.diversity > 0.0,
            |(_, objective)| objective,
            |(rendered, _)| rendered.label(),
        )
    }

    fn key(&self, batch: &[Order]) -> Result<Digest> {
        let rendered: Vec<&Rendered> = batch.iter().map(|(r, _)| r).collect();
        let objectives: Vec<&Objective> = batch.iter().map(|(_, o)| o).collect();
        // Lists of what to render and how many at once change no picture.
        let options = MaximiseOptions {
            units: Vec::new(),
            kinds: Vec::new(),
            layers: Vec::new(),
            variants: Vec::new(),
            batch: 0,
            seeds: 0,
            controls: true,
            untrained: false,
            judge: JudgeOptions::default(),
            ..self.options.clone()
        };
        let spectrum = self.data.spectrum.as_ref().map(|s| s.magnitudes().to_vec());
        let key = DigestBuilder::new("rendering v3")
            .field("model", self.graph.digest().as_str())
            .json("preprocess", self.graph.preprocess())?
            .json("options", &options)?
            .json("rendered", &rendered)?
            .json("objectives", &objectives)?
            .json("covariance", &self.data.covariance)?
            .json("spectrum", &spectrum)?
            .json("seed", &self.seed.0)?
            .field("device", if self.device.is_cpu() { "cpu" } else { "cuda" });
        match &self.start {
            None => key.finish_ok(),
            Some(start) => key.json("start", start)?.finish_ok(),
        }
    }

    fn write(&self, draft: &mut Draft, batch: &[Order], made: &[Rendering]) -> Result<()> {
        let mut rendered: Vec<Rendered> = batch.iter().map(|(r, _)| r.clone()).collect();
        for (r, rendering) in rendered.iter_mut().zip(made) {
            r.trace.clone_from(&rendering.trace);
            r.score = f64::from(rendering.final_score);
            r.best_score = f64::from(rendering.best_score);
            r.best_step = rendering.best_step;
            r.diagnosis.clone_from(&rendering.diagnosis);
        }
        for (i, rendering) in made.iter().enumerate() {
            draft.write(&format!("{i}.png"), &rendering.picture.png()?)?;
            draft.write(&format!("{i}-best.png"), &rendering.best.png()?)?;
            if let Some(alpha) = &rendering.transparency {
                draft.write(&format!("{i}{ALPHA}"), &rendering.picture.transparent_png(alpha)?)?;
            }
            if let Some(start) = &self.start {
                draft.write(&format!("{i}{CHANGE}"), &rendering.picture.change(start).stretched().png()?)?;
            }
        }
        draft.write(PICTURES, &pictures(made)?)?;
        draft.write_json(TABLE, &rendered)
    }
}

/// The last and the best pictures as they are, `[picture, channel, height, width]`: what they are judged by.
fn pictures(made: &[Rendering]) -> Result<Vec<u8>> {
    let failure = |e: safetensors::SafeTensorError| Error::Failure(format!("cannot write pictures: {e}"));
    let [channels, height, width] = made.first().map_or([0; 3], |r| r.picture.shape);
    let bytes =
        |values: Vec<&[f32]>| -> Vec<u8> { values.into_iter().flatten().flat_map(|v| v.to_le_bytes()).collect() };
    let last = bytes(made.iter().map(|r| r.picture.values.as_slice()).collect());
    let best = bytes(made.iter().map(|r| r.best.values.as_slice()).collect());
    let view = |bytes| TensorView::new(Dtype::F32, vec![made.len(), channels, height, width], bytes).map_err(failure);
    safetensors::serialize([("last", view(&last)?), ("best", view(&best)?)], None).map_err(failure)
}

/// The pictures of one of the tensors that [`pictures`] writes.
fn planes(bytes: &[u8], name: &str) -> Result<Vec<Planes>> {
    let hint = "remove the artifact and run `cavern maximise STUDY` again";
    let damaged = |e: safetensors::SafeTensorError| Error::data(PICTURES, format!("cannot be read: {e}"), hint);
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let tensor = file.tensor(name).map_err(damaged)?;
    let &[_, channels, height, width] = tensor.shape() else {
        return Err(Error::data(PICTURES, format!("its pictures have the shape {:?}", tensor.shape()), hint));
    };
    let shape = [channels, height, width];
    let values: Vec<f32> =
        tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let each = values.chunks_exact((channels * height * width).max(1));
    Ok(each.map(|values| Planes { shape, values: values.to_vec() }).collect())
}
