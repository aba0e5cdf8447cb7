//! Networks against PyTorch: `tests/golden/zoo.py` makes the same weights and input by the same formula.

use candle_core::{DType, Device, Tensor};
use ndarray::Array1;
use ndarray_npy::{NpzReader, ReadableElement};

use super::Source;
use crate::error::Result;
use crate::model::graph::Graph;

/// Tensors whose values follow from their name, shape and place alone.
pub(super) struct Formula;

impl Source for Formula {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let uniform = uniform(name, shape.iter().product());
        let values: Vec<f64> = if matches!(shape.len(), 2 | 4) {
            let scale = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
            uniform.map(|u| scale * u).collect()
        } else if ["weight", "running_var", "gamma"].iter().any(|end| name.ends_with(end)) {
            uniform.map(|u| 1.0 + 0.5 * u).collect()
        } else {
            uniform.map(|u| 0.5 * u).collect()
        };
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F32)?)
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
fn plain(name: &str, shape: &[usize]) -> Tensor {
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

    /// Values at even steps and sums, to a ten-thousandth of the largest; a share of the values `may_differ` up to a
    /// hundredth.
    fn compare(&mut self, name: &str, tensor: &Tensor, may_differ: f64) {
        let values = crate::ops::to_vec::<f32>(tensor).unwrap();
        let wanted = self.array::<f32>(&format!("{name}.values"));
        let step = values.len().div_ceil(self.array::<i64>("samples")[0] as usize);
        let largest = values.iter().fold(0f32, |a, b| a.max(b.abs()));
        let off: Vec<f32> = values.iter().step_by(step).zip(&wanted).map(|(a, b)| (a - b).abs() / largest).collect();
        assert_eq!(off.len(), values.len().div_ceil(step), "{name}");
        let far = off.iter().filter(|off| **off > 1e-4).count() as f64;
        let worst = off.iter().fold(0f32, |a, b| a.max(*b));
        assert!(far <= may_differ * off.len() as f64 && worst <= 1e-2, "{name}: {far} of {}, {worst}", off.len());
        let sum = |f: fn(f64) -> f64| values.iter().map(|v| f(f64::from(*v))).sum::<f64>();
        let (got, wanted) = ([sum(|v| v), sum(f64::abs)], self.array::<f64>(&format!("{name}.sums")));
        assert!((0..2).all(|i| (got[i] - wanted[i]).abs() <= 1e-4 * wanted[1]), "{name}: sums {got:?} {wanted:?}");
    }
}

/// Checks a network of [`Formula`]'s weights: three of its layers, and the gradient of a projection of its last.
///
/// The golden values are f64. Where a ReLU stands at its kink, f32 may take the other side: `kinks` is the share of the
/// gradient's places that one unit's side may change. In ResNet-50 it is unit (135, 40, 17) of `layer1.2`, 7e-7 standard
/// deviations from zero.
pub(super) fn agrees(graph: &Graph, golden: &'static [u8], kinks: f64) {
    let mut golden = Golden(NpzReader::new(std::io::Cursor::new(golden)).unwrap());
    let x = plain("input", &[&[1], graph.input_shape().as_slice()].concat());
    let names = golden.0.names().unwrap();
    let layers: Vec<&str> =
        names.iter().filter_map(|n| n.strip_suffix(".values")).filter(|n| *n != "gradient").collect();
    assert_eq!(layers.len(), 3, "{names:?}");
    let taps: Vec<usize> = layers.iter().map(|name| graph.layer(name).unwrap()).collect();
    for (name, value) in layers.iter().zip(graph.forward(&x, &taps).unwrap()) {
        golden.compare(name, &value, 0.0);
    }
    let last = graph.layers().len();
    let slope = |_: usize, z: &Tensor| Ok(plain("projection", z.dims()));
    golden.compare("gradient", &graph.pull_back(last, &x, slope).unwrap(), kinks);
}
