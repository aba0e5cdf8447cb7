//! Against Lucent and torchvision: `tests/golden/maximise.py` made the numbers.

use candle_core::{Device, Tensor};
use ndarray::{ArrayD, OwnedRepr};
use ndarray_npy::NpzReader;

use super::transform::{Affine, Transforms, blur, sample};
use super::{Data, Job, MaximiseOptions, Objective, Start, maximise, unit};
use crate::dataset::preprocess::{Filter, Preprocess};
use crate::maximise::parameter::ParameterKind;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::check::distance;
use crate::ops::{Activation, Conv2d, Padding};
use crate::probe::Variant;
use crate::seed::Seed;

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/maximise.npz");

fn array<T: ndarray_npy::ReadableElement>(name: &str) -> ArrayD<T> {
    let mut npz = NpzReader::new(std::io::Cursor::new(GOLDEN)).unwrap();
    npz.by_name::<OwnedRepr<T>, ndarray::IxDyn>(&format!("{name}.npy")).unwrap()
}

fn values(name: &str) -> Vec<f32> {
    array::<f32>(name).into_iter().collect()
}

fn weights(name: &str) -> Tensor {
    let array = array::<f32>(name);
    let shape = array.shape().to_vec();
    Tensor::from_vec(array.into_iter().collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

fn network() -> Graph {
    let mut g = GraphBuilder::new([3, 32, 32]);
    let conv = |padding: usize| Conv2d {
        stride: 2,
        padding: Padding::Explicit([padding; 4]),
        activation: Activation::Relu,
        ..Conv2d::default()
    };
    let a = g.add("a", Op::Conv2d(conv(2), weights("a_weight"), weights("a_bias")), &[0]);
    g.add("b", Op::Conv2d(conv(1), weights("b_weight"), weights("b_bias")), &[a]);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let preprocess = Preprocess { size: 32, filter: Filter::Nearest, crop: None, mean, std };
    g.finish("golden", preprocess, Vec::new(), &Device::Cpu).unwrap()
}

#[test]
fn twenty_steps_follow_lucents_trace() {
    let graph = network();
    let unit_number = values("unit")[0];
    let goals = [
        ("channel", unit::parse(&graph, &format!("b:{unit_number}")).unwrap()),
        ("neuron", unit::parse(&graph, &format!("b:{unit_number}@2,3")).unwrap()),
        ("direction", Objective::direction(2, values("direction"), Variant::TranslationInvariant, 0.0)),
    ];
    for (name, parameter) in [("fourier", ParameterKind::Fourier), ("pixel", ParameterKind::Pixel)] {
        for (goal, objective) in &goals {
            let base = MaximiseOptions { steps: 20, transforms: Transforms::NONE, ..MaximiseOptions::default() };
            let options = MaximiseOptions { parameter, ..base };
            let start = Some(values(&format!("{name}_start")));
            let job =
                Job { label: (*goal).into(), objective: objective.clone(), seed: 0, start: start.map(Start::Numbers) };
            let got = maximise(&graph, &[job], &options, &Data::default(), Seed(1), |_| {}).unwrap().remove(0);
            for (step, (got, wanted)) in got.trace.iter().zip(values(&format!("{name}_{goal}"))).enumerate() {
                assert!((got - wanted).abs() < 1e-3 * wanted.abs(), "{name} {goal} step {step}: {got} {wanted}");
            }
        }
    }
}

/// Every value at least `border` pixels from the edge, where libraries fill alike.
fn check(name: &str, got: &Tensor, border: usize) {
    let array = array::<f64>(name);
    let wanted = Tensor::from_vec(array.into_iter().collect::<Vec<f64>>(), got.dims(), &Device::Cpu).unwrap();
    let inner = |t: &Tensor| t.narrow(2, border, 20 - 2 * border).unwrap().narrow(3, border, 20 - 2 * border).unwrap();
    let off = distance(&inner(got), &inner(&wanted));
    assert!(off < 1e-6, "{name}: {off}");
}

#[test]
fn fixed_draws_are_those_of_torchvision() {
    let picture = array::<f64>("picture");
    let shape = picture.shape().to_vec();
    let x = Tensor::from_vec(picture.into_iter().collect::<Vec<f64>>(), shape, &Device::Cpu).unwrap();
    let grey = [0.5; 3];
    let run = |map: Affine| sample(&x, &[map], &grey).unwrap();
    check("rotated", &run(Affine::turned([20, 20], 10f64.to_radians())), 4);
    check("shifted", &run(Affine([1.0, 0.0, -3.0, 0.0, 1.0, 2.0])), 4);
    check("scaled", &run(Affine::scaled([20, 20], 1.25)), 4);
    check("flipped", &run(Affine::mirrored([20, 20])), 0);
    check("blurred", &blur(&x, &[1.3]).unwrap(), 0);
}
