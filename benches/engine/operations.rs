//! Every kind of operation at the zoo's shapes, forward and backward: the layers of the zoo's networks, one by one.

use cavern::model::Graph;
use cavern::model::zoo;
use cavern::seed::Seed;

use super::{Outcome, chosen, fastest, noise};

/// Pictures at once.
const BATCH: usize = 4;
const RUNS: usize = 10;

/// What an operation is called here, and the layers that are measured.
type Kind = (&'static str, &'static str, &'static [&'static str]);

const KINDS: [Kind; 14] = [
    ("conv 7x7 s2", "resnet50", &["conv1"]),
    ("conv 3x3", "resnet50", &["layer1.0.conv2", "layer2.1.conv2", "layer3.1.conv2", "layer4.1.conv2"]),
    ("conv 3x3 s2", "resnet50", &["layer2.0.conv2", "layer3.0.conv2", "layer4.0.conv2"]),
    (
        "conv 1x1 in",
        "resnet50",
        &["layer1.0.conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1"],
    ),
    ("conv 1x1 out", "resnet50", &["layer1.0.conv3", "layer2.1.conv3", "layer3.1.conv3", "layer4.1.conv3"]),
    ("conv 1x1 s2", "resnet50", &["layer2.0.downsample", "layer3.0.downsample", "layer4.0.downsample"]),
    ("add, ReLU", "resnet50", &["layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
    ("pool", "resnet50", &["maxpool", "mean"]),
    ("depthwise 3x3", "efficientnet_lite0", &["blocks.1.depthwise", "blocks.2.depthwise", "blocks.6.depthwise"]),
    (
        "depthwise 5x5",
        "efficientnet_lite0",
        &["blocks.3.depthwise", "blocks.4.depthwise", "blocks.9.depthwise", "blocks.12.depthwise"],
    ),
    ("conv 1x1 lite0", "efficientnet_lite0", &["blocks.1.expand", "blocks.2.project", "blocks.12.expand", "head"]),
    (
        "linear",
        "vit_small_patch14",
        &["blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2"],
    ),
    ("attention", "vit_small_patch14", &["blocks.0.attn.heads"]),
    ("layer norm", "vit_small_patch14", &["blocks.0.norm1"]),
];

/// Measures the kinds whose name or layer has a filter's text in it.
pub(super) fn operations() -> Outcome {
    let mut graph: Option<Graph> = None;
    let mut named = false;
    for (kind, model, layers) in KINDS {
        for layer in layers {
            let name = format!("{kind}: {model} {layer}");
            if !chosen(&name) {
                continue;
            }
            if !named {
                println!(
                    "\n{:48} {:>10} {:>8} {:>12} {:>8}",
                    "operation", "ms/image", "GFLOP/s", "gradient ms", "GFLOP/s"
                );
                named = true;
            }
            let graph = match graph.take().filter(|g| g.name() == model) {
                Some(same) => graph.insert(same),
                None => graph.insert(zoo::random(model, Seed(0))?),
            };
            println!("{name:48} {}", measure(graph, graph.layer(layer)?)?);
        }
    }
    Ok(())
}

/// Milliseconds an image and rate, forward and backward.
fn measure(graph: &Graph, node: usize) -> Outcome<String> {
    let inputs: Vec<_> = graph.inputs(node).iter().map(|j| noise(graph.shape(*j), BATCH)).collect::<Outcome<_>>()?;
    let inputs: Vec<_> = inputs.iter().collect();
    let y = graph.run_node(node, &inputs)?;
    let gradient = y.ones_like()?;
    let forward = fastest(RUNS, || Ok(graph.run_node(node, &inputs)?))? / BATCH as f64;
    let back = fastest(RUNS, || Ok(graph.pull_back_node(node, &inputs, &y, &gradient)?))? / BATCH as f64;
    let rate = |seconds: f64| match graph.multiply_adds(node) {
        0 => "-".to_owned(),
        n => format!("{:.1}", 2e-9 * n as f64 / seconds),
    };
    Ok(format!("{:10.3} {:>8} {:12.3} {:>8}", 1e3 * forward, rate(forward), 1e3 * back, rate(back)))
}
