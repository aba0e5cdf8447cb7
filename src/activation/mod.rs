//! What a layer says: activations of samples, kept in shards and read piece by piece.

pub mod extract;
pub mod network;
pub mod options;
pub mod plan;
pub mod read;
pub mod shard;
pub mod variant;

pub use extract::Extraction;
pub use network::{Held, Network};
pub use options::ActivationOptions;
pub use plan::{Change, Item};
pub use read::LayerSet;
pub use shard::{ShardFile, ShardWriter, Storage};
pub use variant::Variant;

/// A small set of smooth pseudo-random activations, for tests of what reads them.
#[cfg(test)]
pub(crate) fn test_set(samples: usize, shape: [usize; 3]) -> (tempfile::TempDir, LayerSet) {
    use rand::RngExt;
    let mut rng = crate::seed::Seed(9).stream("test activations");
    let size = shape.iter().product::<usize>();
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (i, count) in [samples / 2, samples - samples / 2].into_iter().enumerate() {
        let mut writer = ShardWriter::new(shape, Storage::F32);
        let values: Vec<f32> = (0..count * size).map(|_| rng.random::<f32>()).collect();
        writer.push("test", &values).unwrap();
        let path = dir.path().join(format!("{i}.safetensors"));
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        paths.push(path);
    }
    let set = LayerSet::open("test", &paths).unwrap();
    (dir, set)
}
