//! Extraction: pictures in, shards of activations out, one pass of the network for all layers, flat in memory.

mod load;

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};

use self::load::{Inputs, Loader};
use super::options::ActivationOptions;
use super::plan::Item;
use super::read::LayerSet;
use super::shard::{self, ShardWriter};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::model::Graph;
use crate::store::Store;
use crate::store::digest::{Digest, DigestBuilder};

/// The kind of artifact a shard is.
pub const KIND: &str = "activation";

/// Everything extraction depends on.
pub struct Extraction<'a> {
    /// The pictures.
    pub dataset: &'a dyn Dataset,
    /// The network; `None`: activations come from the dataset.
    pub graph: Option<&'a Graph>,
    /// Names and nodes of the layers; the dataset's own numbers where there is no network.
    pub layers: &'a [(String, usize)],
    /// Precision, batch, shard size and storage.
    pub options: &'a ActivationOptions,
    /// Where the network runs.
    pub device: &'a Device,
    /// The study's seed, for views with noise.
    pub seed: u64,
}

/// One shard: its items, and for each layer its key.
struct Shard<'a> {
    items: &'a [Item],
    keys: Vec<Digest>,
}

impl Extraction<'_> {
    /// Keys of the shards of `items` at one layer, in order: what later stages name their own artifacts by.
    ///
    /// # Errors
    /// When a change has no JSON form.
    pub fn keys(&self, items: &[Item], layer: usize) -> Result<Vec<Digest>> {
        Ok(self.shards(items)?.into_iter().map(|mut s| s.keys.swap_remove(layer)).collect())
    }

    fn shards<'i>(&self, items: &'i [Item]) -> Result<Vec<Shard<'i>>> {
        items.chunks(self.options.shard).map(|items| self.shard(items)).collect()
    }

    /// A shard depends on its own pictures, the network, the preprocessing and the layer, and on nothing else.
    fn shard<'i>(&self, items: &'i [Item]) -> Result<Shard<'i>> {
        let mut ids = String::new();
        for item in items {
            ids.push_str(item.id(self.dataset, self.seed)?.as_str());
        }
        let device = if self.device.is_cpu() { "cpu" } else { "cuda" };
        let model = self.graph.map_or("imported", |g| g.digest().as_str());
        let preprocess = self.graph.map(Graph::preprocess);
        let keys = self.layers.iter().map(|(_, node)| {
            DigestBuilder::new("activation v2")
                .field("samples", &ids)
                .field("model", model)
                .json("preprocess", &preprocess)?
                .json("node", node)?
                .json("storage", &self.options.storage)?
                .json("precision", &self.options.precision)?
                .json("batch", &self.options.batch)?
                .field("device", device)
                .finish_ok()
        });
        Ok(Shard { items, keys: keys.collect::<Result<_>>()? })
    }

    /// Computes what the store lacks; pictures are loaded while the network runs. `done` is told how many items the store
    /// has, with `false`, and then the number of those of every shard that was made, with `true`; its error ends the work
    /// there, and what was made is kept.
    ///
    /// # Errors
    /// When pictures cannot be read, the network fails, an activation is not finite, or the disk is full; and those of
    /// `done`.
    pub fn run(&self, store: &Store, items: &[Item], mut done: impl FnMut(usize, bool) -> Result<()>) -> Result<()> {
        let shards = self.shards(items)?;
        let lacking = |shard: &Shard<'_>| -> Vec<usize> {
            (0..self.layers.len()).filter(|l| !store.has(KIND, &shard.keys[*l])).collect()
        };
        let mut work: Vec<_> = shards.iter().map(|shard| (shard, lacking(shard))).collect();
        work.retain(|(_, missing)| !missing.is_empty());
        tracing::debug!("of {} shards the store lacks {}, or some of their layers", shards.len(), work.len());
        let left: usize = work.iter().map(|(shard, _)| shard.items.len()).sum();
        done(items.len() - left, false)?;
        let Some(graph) = self.graph else {
            return self.make(store, &work, |shard, missing| self.import(shard.items, missing), done);
        };
        let graph = graph.with_precision(self.options.precision)?;
        let batches: Vec<&[Item]> = work.iter().flat_map(|(shard, _)| shard.items.chunks(self.options.batch)).collect();
        self.loader(&graph).ahead(&batches, |inputs| {
            self.make(store, &work, |shard, missing| self.forward(&graph, shard.items, missing, &inputs), done)
        })
    }

    fn loader<'l>(&'l self, graph: &'l Graph) -> Loader<'l> {
        let size = graph.input_shape().iter().product();
        Loader { dataset: self.dataset, preprocess: graph.preprocess(), seed: self.seed, size }
    }

    /// The network's input for every item, one after the other.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn inputs(&self, graph: &Graph, items: &[Item]) -> Result<Vec<f32>> {
        self.loader(graph).input(items)
    }

    /// Opens the activations of `items` at one of the layers; they must have been extracted before.
    ///
    /// # Errors
    /// When a shard is missing or damaged.
    pub fn open(&self, store: &Store, items: &[Item], layer: usize) -> Result<LayerSet> {
        let keys = self.keys(items, layer)?;
        let shards = store.get_all(KIND, &keys, "extract")?;
        let paths = shards.iter().map(|shard| shard.file(shard::FILE));
        LayerSet::open(&self.layers[layer].0, &paths.collect::<Result<Vec<PathBuf>>>()?)
    }

    /// Stores what `compute` makes of every shard and the layers it lacks.
    fn make(
        &self,
        store: &Store,
        work: &[(&Shard<'_>, Vec<usize>)],
        compute: impl Fn(&Shard<'_>, &[usize]) -> Result<Vec<ShardWriter>>,
        mut done: impl FnMut(usize, bool) -> Result<()>,
    ) -> Result<()> {
        for (shard, missing) in work {
            let started = Instant::now();
            let writers = compute(shard, missing)?;
            let (pictures, seconds) = (shard.items.len(), started.elapsed().as_secs_f64());
            tracing::debug!("computed {pictures} pictures at {} layers in {seconds:.2} s", missing.len());
            self.publish(store, shard, missing, &writers)?;
            done(shard.items.len(), true)?;
        }
        Ok(())
    }

    fn publish(&self, store: &Store, shard: &Shard<'_>, missing: &[usize], writers: &[ShardWriter]) -> Result<()> {
        for (writer, l) in writers.iter().zip(missing) {
            let parameters = serde_json::json!({
                "model": self.graph.map_or("imported", Graph::name), "layer": self.layers[*l].0,
                "samples": shard.items.len(), "storage": self.options.storage, "precision": self.options.precision,
                "preprocess": self.graph.map(Graph::preprocess),
            });
            store
                .get_or_make(KIND, &shard.keys[*l], parameters, |draft| draft.write(shard::FILE, &writer.finish()?))?;
        }
        Ok(())
    }

    /// Runs the network once for all the missing layers; activations come back from its device in f32.
    fn forward(&self, graph: &Graph, items: &[Item], missing: &[usize], inputs: &Inputs) -> Result<Vec<ShardWriter>> {
        let nodes: Vec<usize> = missing.iter().map(|l| self.layers[*l].1).collect();
        let writer = |n: &usize| ShardWriter::new(graph.layout(*n).map_shape(), self.options.storage);
        let mut writers: Vec<ShardWriter> = nodes.iter().map(writer).collect();
        let [channel, height, width] = graph.input_shape();
        for items in items.chunks(self.options.batch) {
            let x = Tensor::from_vec(inputs.next()?, (items.len(), channel, height, width), self.device)?;
            let taps = graph.forward(&x, &nodes)?;
            for (((tap, node), writer), l) in taps.iter().zip(&nodes).zip(&mut writers).zip(missing) {
                let values = graph.layout(*node).to_map(tap)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
                writer.push(&self.layers[*l].0, &values)?;
            }
        }
        Ok(writers)
    }

    /// Takes the activations that the dataset brings along.
    fn import(&self, items: &[Item], missing: &[usize]) -> Result<Vec<ShardWriter>> {
        let shapes = self.dataset.imported_layers();
        let writers = missing.iter().map(|l| {
            let (name, node) = &self.layers[*l];
            let mut writer = ShardWriter::new(shapes[*node].1, self.options.storage);
            for item in items {
                writer.push(name, &self.dataset.imported(*node, item.sample)?)?;
            }
            Ok(writer)
        });
        writers.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Storage;
    use crate::dataset::{Sample, Skipped};
    use crate::error::Error;
    use image::RgbImage;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Activations that a test can change, and a count of how often they are asked for.
    struct Fake {
        samples: Vec<Sample>,
        values: Vec<f32>,
        asked: AtomicUsize,
    }

    impl Fake {
        fn new(values: Vec<f32>) -> Self {
            let sample = |v: &f32| Sample {
                id: Digest::of(&v.to_le_bytes()),
                name: format!("{v}"),
                group: String::new(),
                time: None,
                source: String::new(),
                presence: Vec::new(),
                coverage: Vec::new(),
                masks: None,
                labels: std::collections::BTreeSet::new(),
            };
            Self { samples: values.iter().map(sample).collect(), values, asked: AtomicUsize::new(0) }
        }
    }

    impl Dataset for Fake {
        fn concepts(&self) -> &[String] {
            &[]
        }
        fn samples(&self) -> &[Sample] {
            &self.samples
        }
        fn skipped(&self) -> &[Skipped] {
            &[]
        }
        fn image(&self, _: usize) -> Result<RgbImage> {
            Err(Error::Failure("there are no pictures".into()))
        }
        fn mask(&self, _: usize, _: usize) -> Result<Option<crate::dataset::Mask>> {
            Ok(None)
        }
        fn imported_layers(&self) -> Vec<(String, [usize; 3])> {
            vec![("a".into(), [2, 1, 1]), ("b".into(), [2, 1, 1])]
        }
        fn imported(&self, layer: usize, sample: usize) -> Result<Vec<f32>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Ok(vec![self.values[sample], layer as f32])
        }
    }

    /// Extracts the layers, and returns how many activations had to be asked for.
    fn extract(store: &Store, data: &Fake, layers: &[&str], storage: Storage) -> usize {
        let named: Vec<(String, usize)> = layers.iter().map(|l| ((*l).to_owned(), usize::from(*l == "b"))).collect();
        let options = ActivationOptions { storage, batch: 2, shard: 4, ..ActivationOptions::default() };
        let extraction =
            Extraction { dataset: data, graph: None, layers: &named, options: &options, device: &Device::Cpu, seed: 1 };
        let items: Vec<Item> = (0..data.samples.len()).map(Item::plain).collect();
        let before = data.asked.load(Ordering::Relaxed);
        extraction.run(store, &items, |_, _| Ok(())).unwrap();
        let set = extraction.open(store, &items, 0).unwrap();
        for (i, value) in data.values.iter().enumerate() {
            assert_eq!(set.map(i).unwrap()[0], *value);
        }
        data.asked.load(Ordering::Relaxed) - before
    }

    #[test]
    fn only_what_changed_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), || ()).unwrap();
        let mut values: Vec<f32> = (0..10).map(|i| i as f32).collect();
        assert_eq!(extract(&store, &Fake::new(values.clone()), &["a"], Storage::F32), 10);
        assert_eq!(extract(&store, &Fake::new(values.clone()), &["a"], Storage::F32), 0, "the same again");
        values[5] = 50.0;
        assert_eq!(
            extract(&store, &Fake::new(values.clone()), &["a"], Storage::F32),
            4,
            "the shard of the changed one"
        );
        assert_eq!(extract(&store, &Fake::new(values.clone()), &["a", "b"], Storage::F32), 10, "the new layer alone");
        assert_eq!(extract(&store, &Fake::new(values), &["a"], Storage::F16), 10, "another form on disk");
    }

    #[test]
    fn what_is_made_before_the_end_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), || ()).unwrap();
        let data = Fake::new((0..10).map(|i| i as f32).collect());
        let (layers, options) =
            ([("a".to_owned(), 0)], ActivationOptions { batch: 2, shard: 4, ..ActivationOptions::default() });
        let (layers, options, device) = (&layers, &options, &Device::Cpu);
        let extraction = Extraction { dataset: &data, graph: None, layers, options, device, seed: 1 };
        let items: Vec<Item> = (0..10).map(Item::plain).collect();
        let run = |stop: bool| {
            let mut told = Vec::new();
            let ended = extraction.run(&store, &items, |count, made| {
                told.push((count, made));
                if stop && made { Err(Error::Failure("enough".into())) } else { Ok(()) }
            });
            (told, ended.is_ok())
        };
        assert_eq!(run(true), (vec![(0, false), (4, true)], false));
        assert_eq!(run(true), (vec![(4, false), (4, true)], false), "what there is is counted first");
        assert_eq!(run(false), (vec![(8, false), (2, true)], true));
    }

    #[test]
    fn another_preprocessing_is_another_key() {
        let data = Fake::new(vec![1.0, 2.0]);
        let (options, layers) = (ActivationOptions::default(), [("mean".to_owned(), 7)]);
        let mut graph = crate::model::zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let items: Vec<Item> = (0..2).map(Item::plain).collect();
        let key = |graph: &Graph| {
            let (graph, device) = (Some(graph), &Device::Cpu);
            let extraction = Extraction { dataset: &data, graph, layers: &layers, options: &options, device, seed: 1 };
            extraction.keys(&items, 0).unwrap().remove(0)
        };
        let (usual, before) = (graph.preprocess().clone(), key(&graph));
        assert_eq!(key(&graph), before);
        let changes: [fn(&mut crate::dataset::Preprocess); 4] = [
            |p| p.mean[1] = 0.25,
            |p| p.std[2] = 0.25,
            |p| p.crop = Some(70),
            |p| p.filter = crate::dataset::preprocess::Filter::Bicubic,
        ];
        for change in changes {
            let mut other = usual.clone();
            change(&mut other);
            graph.prepare(other);
            assert_ne!(key(&graph), before);
        }
        graph.prepare(usual);
        assert_eq!(key(&graph), before);
    }
}
