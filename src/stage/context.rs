//! What every stage needs of a study: its data, its network, its split, its store.

use std::path::PathBuf;

use candle_core::Device;

use crate::activation::Extraction;
use crate::dataset::split::{self, Part, Split};
use crate::dataset::{self, Dataset, Preprocess};
use crate::error::{Error, Result};
use crate::model::Graph;
use crate::probe::Variant;
use crate::seed::Seed;
use crate::store::Store;
use crate::store::digest::{Digest, DigestBuilder};
use crate::store::file::Stamp;
use crate::study::{ModelSpec, Resize, Study};

/// Where a study is run: everything that is not the study itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder for runs.
    pub out: PathBuf,
    /// Folder for artifacts; `None`: `store` in the folder for runs.
    pub store: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
}

impl Settings {
    /// Folder for artifacts.
    pub fn store(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| self.out.join("store"))
    }
}

/// A layer of the study.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its node in the graph; its number in the file for imported activations.
    pub node: usize,
    /// `[channel, height, width]`.
    pub shape: [usize; 3],
}

/// An opened study.
pub struct Context {
    /// The study.
    pub study: Study,
    /// Its seed.
    pub seed: Seed,
    /// Its samples.
    pub dataset: Box<dyn Dataset>,
    /// Their parts and blocks.
    pub split: Split,
    /// Its network; `None` where activations are imported.
    pub graph: Option<Graph>,
    /// The files that the network was built from, as they were then.
    pub stamps: Vec<Stamp>,
    /// Its layers.
    pub layers: Vec<Layer>,
    /// Names and nodes of the layers, as extraction wants them; the logits come last where [`Context::head`] has them.
    pub nodes: Vec<(String, usize)>,
    /// Place in the nodes of the network's logits, where it has some and robustness is measured.
    pub head: Option<usize>,
    /// Where the network runs.
    pub device: Device,
    /// Its artifacts.
    pub store: Store,
    /// The run's folder.
    pub folder: PathBuf,
}

impl Context {
    /// Opens everything a study names.
    ///
    /// # Errors
    /// When the data, the weights or a layer are not there or do not fit each other.
    pub fn open(study: Study, settings: &Settings) -> Result<Self> {
        let seed = Seed(study.seed);
        let device = device(&settings.device)?;
        let dataset = dataset::open(&study.dataset, seed)?;
        if let Some(unknown) = study.dataset.kinds.keys().find(|k| !dataset.concepts().contains(k)) {
            return Err(Error::unknown("concept", unknown, dataset.concepts().iter().map(String::as_str)));
        }
        let split = split::of(dataset.as_ref(), &study.split, seed)?;
        // Before the network is built: where a file is missing, that says so better.
        let stamps = study.model.recipe().stamps().unwrap_or_default();
        let graph = network(&study.model, &device)?;
        let layers = layers(&study, graph.as_ref(), dataset.as_ref())?;
        let mut nodes: Vec<_> = layers.iter().map(|l| (l.name.clone(), l.node)).collect();
        let head = graph.as_ref().filter(|_| study.score.wants("robustness")).and_then(|g| head(g, &mut nodes));
        let root = settings.store();
        let store = Store::open(&root, || tracing::info!("waiting for another run on {}", root.display()))?;
        let folder = study.folder(&settings.out)?;
        let context = Self { study, seed, dataset, split, graph, stamps, layers, nodes, head, device, store, folder };
        context.tell()?;
        Ok(context)
    }

    /// What decides whether something is computed again, for those who want to know.
    fn tell(&self) -> Result<()> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return Ok(());
        }
        let device = if self.device.is_cpu() { "the CPU" } else { "the GPU" };
        tracing::debug!("networks run on {device}, all else on {} threads", rayon::current_num_threads());
        let count = self.dataset.samples().len();
        tracing::debug!(
            "{count} samples, of which pixels, labels, masks and split are {}",
            self.samples_digest()?.short()
        );
        if let Some(graph) = &self.graph {
            tracing::debug!("network {}, of which layers and weights are {}", graph.name(), graph.digest().short());
        }
        tracing::debug!("store {}, run {}", self.store.root().display(), self.folder.display());
        Ok(())
    }

    /// The extraction of this study.
    pub fn extraction(&self) -> Extraction<'_> {
        Extraction {
            dataset: self.dataset.as_ref(),
            graph: self.graph.as_ref(),
            layers: &self.nodes,
            options: &self.study.activation,
            device: &self.device,
            seed: self.study.seed,
        }
    }

    /// Every pair of layer and variant that has probes of its own: a layer without positions has only pooled ones.
    pub fn units(&self) -> Vec<(usize, Variant)> {
        let mut units = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            for variant in &self.study.probe.variants {
                let pointless = *variant == Variant::Full && layer.shape[1] * layer.shape[2] == 1;
                if !pointless || self.study.probe.variants.len() == 1 {
                    units.push((l, *variant));
                }
            }
        }
        units
    }

    /// The concepts.
    pub fn concepts(&self) -> &[String] {
        self.dataset.concepts()
    }

    /// What kind of concept one is, where the study or its dataset says so.
    pub fn kind(&self, concept: usize) -> Option<&str> {
        let told = self.concepts().get(concept).and_then(|name| self.study.dataset.kinds.get(name));
        told.map(String::as_str).or_else(|| self.dataset.kind(concept))
    }

    /// The samples of a part, in order.
    pub fn part(&self, part: Part) -> Vec<usize> {
        (0..self.split.part.len()).filter(|i| self.split.part[*i] == part).collect()
    }

    /// The study's network, for what cannot be done on imported activations.
    ///
    /// # Errors
    /// When activations are imported.
    pub fn network(&self) -> Result<&Graph> {
        self.graph.as_ref().ok_or_else(|| {
            Error::key(
                "model.name",
                "imported activations have no network behind them",
                "remove [maximise], [tcav], [opinion], [consistency] and score.views",
            )
        })
    }

    /// Digest of the samples: their pixels, labels and masks, their parts and blocks.
    ///
    /// # Errors
    /// When a value has no JSON form.
    pub fn samples_digest(&self) -> Result<Digest> {
        let parts: Vec<&str> = self.split.part.iter().map(|p| p.name()).collect();
        Ok(DigestBuilder::new("samples v1")
            .json("samples", &self.dataset.samples())?
            .json("concepts", &self.concepts())?
            .json("parts", &parts)?
            .json("blocks", &self.split.block)?
            .finish())
    }

    /// What the network sees of a picture: left, top, width, height in the picture's pixels.
    pub fn window(&self, width: usize, height: usize) -> (f64, f64, f64, f64) {
        match &self.graph {
            Some(graph) => graph.preprocess().window(width, height),
            None => (0.0, 0.0, width as f64, height as f64),
        }
    }

    /// The preprocessing of the network, if there is one.
    pub fn preprocess(&self) -> Option<&Preprocess> {
        self.graph.as_ref().map(Graph::preprocess)
    }
}

/// The network of a `[model]` table; none where activations are imported.
pub(super) fn network(model: &ModelSpec, device: &Device) -> Result<Option<Graph>> {
    if model.name == "imported" {
        return Ok(None);
    }
    let mut graph = model.recipe().build(device)?;
    let (input, side) = (graph.input_shape(), graph.preprocess().size);
    if input != [3, side, side] && input != [1, side, side] {
        let problem = format!("its input is {input:?}: no square picture of one channel or three");
        let hint = "bring its activations with dataset.format = \"imported\"";
        return Err(Error::data(format!("model `{}`", graph.name()), problem, hint));
    }
    if model.resize == Resize::Stretch {
        graph.stretch();
    }
    Ok(Some(graph))
}

/// The place of the logits in the list of nodes, to which they are added where they lack. A network without names for its
/// classes and without a layer `logits` has none.
fn head(graph: &Graph, nodes: &mut Vec<(String, usize)>) -> Option<usize> {
    let named = graph.layer("logits").is_ok() || !graph.classes().is_empty();
    let node = named.then(|| graph.logits())?;
    let place = nodes.iter().position(|(_, n)| *n == node);
    Some(place.unwrap_or_else(|| {
        nodes.push((graph.layer_name(node).to_owned(), node));
        nodes.len() - 1
    }))
}

fn layers(study: &Study, graph: Option<&Graph>, dataset: &dyn Dataset) -> Result<Vec<Layer>> {
    let Some(graph) = graph else {
        let found = dataset.imported_layers();
        if found.is_empty() {
            let hint = "set dataset.format = \"imported\", or name a model of `cavern ls models`";
            return Err(Error::key("model.name", "`imported` needs a dataset that brings activations", hint));
        }
        let all = found.into_iter().enumerate().map(|(node, (name, shape))| Layer { name, node, shape });
        return Ok(all.filter(|l| study.model.layers.is_empty() || study.model.layers.contains(&l.name)).collect());
    };
    if study.model.layers.is_empty() {
        let hint = format!("choose some of `cavern ls layers {}`", graph.name());
        return Err(Error::key("model.layers", "the list is empty", hint));
    }
    let mut layers: Vec<Layer> = Vec::new();
    for pattern in &study.model.layers {
        for node in graph.select(pattern)? {
            if layers.iter().all(|l| l.node != node) {
                let name = graph.layer_name(node).to_owned();
                layers.push(Layer { name, node, shape: graph.layout(node).map_shape() });
            }
        }
    }
    Ok(layers)
}

/// The device a name stands for; `auto` takes CUDA where the build and the machine have it.
///
/// # Errors
/// When the name is none of `auto`, `cpu`, `cuda:N`, or the device is not there.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(Device::cuda_if_available(0).unwrap_or_else(|e| {
            tracing::warn!("no GPU can be used, so networks run on the CPU: {e}");
            Device::Cpu
        })),
        _ => {
            let number = name.strip_prefix("cuda:").or((name == "cuda").then_some("0")).and_then(|n| n.parse().ok());
            let number: usize = number
                .ok_or_else(|| Error::key("--device", format!("`{name}` is no device"), "auto, cpu or cuda:0"))?;
            Device::new_cuda(number).map_err(|e| {
                let hint = "build with `--features cuda` on a machine with a GPU, or use --device cpu";
                Error::key("--device", format!("`{name}` cannot be used: {e}"), hint)
            })
        }
    }
}
