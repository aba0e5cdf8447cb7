//! Networks against PyTorch: `tests/golden/zoo.py` makes the same weights and input by the same formula.

use candle_core::{DType, Device, Tensor};
use ndarray::Array1;
use ndarray_npy::{NpzReader, ReadableElement};

use super::source::Source;
use super::{Options, plan_of};
use crate::error::Result;
use crate::model::graph::Graph;

/// How far batch norms shift channels: two up, two down.
const OFFSET: f64 = 16.0;

/// Tensors whose values follow from their name, shape and place alone. The script says why they are as they are. Some have
/// shapes that a file would tell.
#[derive(Default)]
pub(super) struct Formula(pub(super) &'static [(&'static str, &'static [usize])]);

impl Source for Formula {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let uniform: Vec<f64> = uniform(name, shape.iter().product()).collect();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        let value = |(i, u): (usize, &f64)| match shape {
            [_, inputs, taps @ ..] if matches!(taps.len(), 0 | 2) || (taps.len() == 1 && ends(&["weight"])) => {
                let taps = taps.iter().product::<usize>();
                let scale = (6.0 / (inputs * taps) as f64).sqrt();
                if i / taps % inputs % 2 == 1 { -scale * uniform[i - taps] } else { scale * u }
            }
            _ if ends(&["weight", "running_var", "gamma"]) => {
                (1.0 + 0.5 * u) * if name.contains(".bn") && ends(&["weight"]) { 0.6 } else { 1.0 }
            }
            _ if ends(&["bias"])
                && (name.starts_with("bn") || name.contains(".bn") || name.contains("downsample.1")) =>
            {
                0.5 * u + if i & 2 == 0 { OFFSET } else { -OFFSET }
            }
            _ => 0.5 * u,
        };
        let values: Vec<f64> = uniform.iter().enumerate().map(value).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F32)?)
    }

    fn shape_of(&self, name: &str) -> Option<&[usize]> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, shape)| *shape)
    }

    fn has(&self, name: &str, otherwise: bool) -> bool {
        otherwise || self.shape_of(name).is_some()
    }
}

/// Numbers in (-1, 1): splitmix64 of the place after FNV-1a of the name, its upper 53 bits.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> + use<> {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let start = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    (1..=count as u64).map(move |i| {
        let z = start.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

/// A tensor of such numbers.
pub(super) fn plain(name: &str, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = uniform(name, shape.iter().product()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

/// Golden values of one network.
struct Golden(NpzReader<std::io::Cursor<&'static [u8]>>);

impl Golden {
    fn array<T: ReadableElement>(&mut self, name: &str) -> Vec<T> {
        let array: Array1<T> = self.0.by_name(name).unwrap();
        array.into_iter().collect()
    }

    /// Values at even steps and sums, to a ten-thousandth of the largest.
    fn compare(&mut self, name: &str, tensor: &Tensor) {
        let values = crate::ops::to_vec::<f32>(tensor).unwrap();
        let wanted = self.array::<f32>(&format!("{name}.values"));
        let step = values.len().div_ceil(self.array::<i64>("samples")[0] as usize);
        assert_eq!(wanted.len(), values.len().div_ceil(step), "{name}");
        let largest = values.iter().fold(0f32, |a, b| a.max(b.abs()));
        let pairs = || values.iter().step_by(step).zip(&wanted);
        let worst = pairs().map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max);
        assert!(worst <= 1e-4, "{name}: off by {worst}; got and wanted {:?}", pairs().take(9).collect::<Vec<_>>());
        let sum = |f: fn(f64) -> f64| values.iter().map(|v| f(f64::from(*v))).sum::<f64>();
        let (got, wanted) = ([sum(|v| v), sum(f64::abs)], self.array::<f64>(&format!("{name}.sums")));
        assert!((0..2).all(|i| (got[i] - wanted[i]).abs() <= 1e-4 * wanted[1]), "{name}: sums {got:?} {wanted:?}");
    }
}

/// Checks a network of the zoo of [`Formula`]'s weights for an input `[channel, height, width]`.
pub(super) fn agrees_at(name: &str, input: [usize; 3], golden: &'static [u8]) {
    agrees_with(name, input, &[], golden);
}

/// The same with some tensors of another shape.
pub(super) fn agrees_with(
    name: &str,
    input: [usize; 3],
    shapes: &'static [(&'static str, &'static [usize])],
    golden: &'static [u8],
) {
    let options = Options { input: Some(input), ..Options::default() };
    let info = super::info(name).unwrap();
    let source = Formula(shapes);
    agrees(&(info.assemble)(&plan_of(info, &source, &options, &Device::Cpu).unwrap()).unwrap(), golden);
}

/// Checks a network of [`Formula`]'s weights: three of its layers, and the gradient of a projection of its last.
pub(super) fn agrees(graph: &Graph, golden: &'static [u8]) {
    let mut golden = Golden(NpzReader::new(std::io::Cursor::new(golden)).unwrap());
    let scene = golden.array::<i64>("scene")[0];
    let x = plain(&format!("scene {scene}"), &[&[1], graph.input_shape().as_slice()].concat());
    let names = golden.0.names().unwrap();
    let layers: Vec<&str> =
        names.iter().filter_map(|n| n.strip_suffix(".values")).filter(|n| *n != "gradient").collect();
    assert_eq!(layers.len(), 3, "{names:?}");
    let taps: Vec<usize> = layers.iter().map(|name| graph.layer(name).unwrap()).collect();
    for (name, value) in layers.iter().zip(graph.forward(&x, &taps).unwrap()) {
        golden.compare(name, &value);
    }
    let last = graph.layers().len();
    let slope = |_: usize, z: &Tensor| Ok(plain("projection", z.dims()));
    golden.compare("gradient", &graph.pull_back(last, &x, slope).unwrap());
}
