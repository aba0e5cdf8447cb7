//! What stands for the large things that pages and help speak of.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::Path;

/// A survey of one network that cavern brings along, in place of the shipped one of sixteen.
pub(crate) const SURVEY: &str = "version = 1\nname = \"representation\"\nunits = 2\nlearning_rates = [0.05]\n\
    [maximise]\nsteps = 4\nseeds = 1\n[attack]\npictures = 4\nepsilons = [8]\nsteps = 2\n[data.shapes]\npictures = 8\n\
    dataset = { format = \"elements\", world = \"e1\", count = 40 }\n[network.small]\nfamily = \"cnn\"\n\
    data = \"shapes\"\nattack_layer = \"conv4\"\nmodel = { name = \"elements_cnn\", layers = [\"conv4\", \"logits\"] }\n";

/// The small network of ONNX's tests.
pub(crate) fn onnx(path: &Path) {
    let npz =
        std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx_operators.npz")).unwrap();
    let mut npz = ndarray_npy::NpzReader::new(npz).unwrap();
    let models: ndarray::Array1<u8> = npz.by_name("models").unwrap();
    let lengths: ndarray::Array1<i64> = npz.by_name("lengths").unwrap();
    std::fs::write(path, &models.to_vec()[..lengths[0] as usize]).unwrap();
}
