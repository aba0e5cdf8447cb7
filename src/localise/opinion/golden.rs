//! Second opinions against Captum and PyTorch: `tests/golden/opinions.py`.

use candle_core::{Device, Tensor};
use ndarray::Array1;
use ndarray_npy::NpzReader;

use super::gradient::integrate;
use super::removal::Removal;
use super::*;
use crate::activation::Network;
use crate::dataset::preprocess::{Filter, Preprocess};
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::pool::{Pool2d, Reduce};
use crate::ops::{Activation, Conv2d, Padding};

struct Golden(NpzReader<std::io::Cursor<&'static [u8]>>);

impl Golden {
    fn open() -> Self {
        let file: &[u8] = include_bytes!("../../../tests/golden/opinions.npz");
        Self(NpzReader::new(std::io::Cursor::new(file)).unwrap())
    }

    fn values(&mut self, name: &str) -> Vec<f32> {
        let array: Array1<f32> = self.0.by_name(name).unwrap();
        array.to_vec()
    }

    fn graph(&mut self) -> Graph {
        let mut g = GraphBuilder::new([3, 12, 12]);
        let conv = Conv2d { padding: Padding::Explicit([1; 4]), activation: Activation::Relu, ..Conv2d::default() };
        let mut node = 0;
        for (name, [out, channels]) in [("first", [4, 3]), ("second", [6, 4])] {
            let weight = self.values(&format!("{name}.0.weight"));
            let weight = Tensor::from_vec(weight, (out, channels, 3, 3), &Device::Cpu).unwrap();
            let bias = Tensor::from_vec(self.values(&format!("{name}.0.bias")), out, &Device::Cpu).unwrap();
            node = g.add(name, Op::Conv2d(conv, weight, bias), &[node]);
        }
        let pool = Pool2d { reduce: Reduce::Mean, kernel: [2, 2], stride: 2, padding: 0, ceil: false };
        g.add("pool", Op::Pool2d(pool), &[node]);
        let preprocess = Preprocess { size: 12, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        g.finish("golden", preprocess, Vec::new(), &Device::Cpu).unwrap()
    }
}

/// With a batch of 8, so that every method goes through several.
fn score<'a>(golden: &mut Golden, graph: &'a Graph) -> Score<'a> {
    let network = Network::new(graph, &Device::Cpu, 8);
    Score { network, node: graph.layer("pool").unwrap(), weights: golden.values("weights"), bias: 0.0 }
}

fn close(name: &str, got: &[f32], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len(), "{name}");
    let largest = wanted.iter().fold(0f32, |a, b| a.max(b.abs()));
    let off = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
    assert!(off <= 1e-4, "{name}: off by {off} of the largest");
}

#[test]
fn maps_are_captums() {
    let mut golden = Golden::open();
    let graph = golden.graph();
    let score = score(&mut golden, &graph);
    let x = golden.values("x");
    let scores = score.of(2, |i, slot| slot.copy_from_slice(&x[i * 432..(i + 1) * 432])).unwrap();
    close("scores", &scores.iter().map(|s| *s as f32).collect::<Vec<_>>(), &golden.values("scores"));
    // 4 and 2 pixels of 12.
    let (patch, stride) = (4.0 * 224.0 / 12.0, 2.0 * 224.0 / 12.0);
    let options = OpinionOptions { fill: Fill::Mean, patch, stride, ..OpinionOptions::default() };
    let found = maps(&score, &x, Some(graph.layer("first").unwrap()), &options).unwrap();
    assert_eq!(found.iter().map(|(m, _)| *m).collect::<Vec<_>>(), options.methods);
    for (method, maps) in &found {
        assert!(maps.iter().all(|m| m.size == (12, 12)));
        let values: Vec<f32> = maps.iter().flat_map(|m| m.values.iter().copied()).collect();
        close(method.name(), &values, &golden.values(method.name()));
    }
    let without = maps(&score, &x, None, &options).unwrap();
    assert_eq!(without.iter().map(|(m, _)| *m).collect::<Vec<_>>(), options.methods[5..]);
}

#[test]
fn integrated_gradients_are_complete() {
    let mut golden = Golden::open();
    let graph = golden.graph();
    let score = score(&mut golden, &graph);
    let (x, scores, of_mean) = (golden.values("x"), golden.values("scores"), golden.values("scores.mean"));
    for (i, x) in x.chunks_exact(432).enumerate() {
        let start = Fill::Mean.apply(x, 12);
        let values = integrate(&score, x, &start, 1000).unwrap();
        let sum = |f: fn(f64) -> f64| values.iter().map(|v| f(f64::from(*v))).sum::<f64>();
        let wanted = f64::from(scores[i]) - f64::from(of_mean[i]);
        // The rule's error, where units change sides on the way.
        assert!((sum(|v| v) - wanted).abs() < 1e-4 * sum(f64::abs), "{} {wanted}", sum(|v| v));
    }
}

#[test]
fn hires_cam_at_the_probes_own_layer_is_linear_attribution() {
    let mut golden = Golden::open();
    let graph = golden.graph();
    let score = score(&mut golden, &graph);
    let x = golden.values("x");
    let (_, own) = cam::maps(&score, &x, score.node, &[Method::HiresCam]).unwrap().remove(0);
    let z = score.network.activations(&x, score.node).unwrap();
    for (map, z) in own.iter().zip(z.chunks_exact(216)) {
        let wanted: Vec<f32> =
            (0..36).map(|p| (0..6).map(|c| score.weights[c * 36 + p] * z[c * 36 + p]).sum()).collect();
        close("linear attribution", &map.values, &wanted);
    }
}

#[test]
fn a_good_order_takes_the_score_away_first() {
    let mut golden = Golden::open();
    let graph = golden.graph();
    let score = score(&mut golden, &graph);
    let x = &golden.values("x")[..432];
    let filled = Fill::Mean.apply(x, 12);
    let noise = vec![0.0; 432];
    let ends = score.of(2, |i, slot| slot.copy_from_slice(if i == 0 { x } else { &filled })).unwrap();
    let removal = Removal { score: &score, picture: x, filled: &filled, noise: &noise, ends: (ends[0], ends[1]) };
    let map = integrate(&score, x, &filled, 50).unwrap();
    let map: Vec<f32> = (0..144).map(|p| map[p] + map[144 + p] + map[288 + p]).collect();
    let turned: Vec<f32> = map.iter().map(|v| -v).collect();
    let [best, worst] = [&map, &turned].map(|m| removal.courses(m, 6).unwrap());
    assert_eq!([best.deletion.len(), best.insertion.len(), best.road.len()], [7, 7, 6]);
    assert_eq!((best.deletion[0], best.deletion[6], best.insertion[0]), (ends[0], ends[1], ends[1]));
    let sum = |v: &[f64]| v.iter().sum::<f64>();
    assert!(sum(&best.deletion) < sum(&worst.deletion) && sum(&best.insertion) > sum(&worst.insertion));
    assert!(sum(&best.road) < sum(&worst.road));
    // What is deleted in one order is what the other, turned round, has not inserted yet.
    for (deleted, inserted) in best.deletion.iter().zip(worst.insertion.iter().rev()) {
        assert!((deleted - inserted).abs() < 1e-6);
    }
}
