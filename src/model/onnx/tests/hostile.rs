//! Files that are damaged, or meant to do harm: errors, no panic, and memory in proportion to the file.

use proptest::prelude::*;
use prost::Message;

use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::tensor_proto::{DataLocation, DataType};
use super::super::proto::type_proto;
use super::super::proto::{
    AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto,
};
use super::*;

/// Parses, translates, and runs one picture, if it comes to that.
fn survives(bytes: &[u8]) {
    let Ok(model) = Model::parse(Path::new("hostile.onnx"), bytes.to_vec()) else { return };
    let _ = model.summary();
    let _ = model.graph(None, &Device::Cpu);
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_a_network() {
    for case in cases().iter().filter(|c| ["conv_norm_relu", "attention", "computed", "nhwc"].contains(&&*c.name)) {
        let step = case.model.len().div_ceil(400);
        (0..case.model.len()).step_by(step).for_each(|end| survives(&case.model[..end]));
        assert!(graph(&case.model[..case.model.len() / 2]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_are_an_error_or_a_network(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let cases = cases();
        let mut bytes = which.get(&cases).model.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        survives(&bytes);
    }

    #[test]
    fn any_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("{operator} of {output}"),
        op_type: operator.to_owned(),
        attribute: attributes,
        ..NodeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto { name: name.to_owned(), ints: values.to_vec(), r#type, ..AttributeProto::default() }
}

fn whole(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Int64 as i32,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn port(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |d: &i64| {
        let value = Some(tensor_shape_proto::dimension::Value::DimValue(*d));
        tensor_shape_proto::Dimension { value }
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: 1, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)) });
    ValueInfoProto { name: name.to_owned(), r#type }
}

/// A network of these nodes from `x`, `[1, 3, 4, 4]`, to `y`.
fn network(node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let (input, output) = (vec![port("x", &[1, 3, 4, 4])], vec![port("y", &[])]);
    let graph = GraphProto { node, initializer, input, output, ..GraphProto::default() };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { graph: Some(graph), opset_import, ..ModelProto::default() }
}

fn message(model: &ModelProto, folder: &Path) -> String {
    let model = Model::parse(&folder.join("net.onnx"), model.encode_to_vec()).unwrap();
    let error = model.graph(None, &Device::Cpu).unwrap_err();
    assert!(error.is_users_mistake(), "{error}");
    error.to_string()
}

/// Checks that a network is refused for a reason that the message names.
fn refused(reason: &str, nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) {
    let message = message(&network(nodes, tensors), Path::new(""));
    assert!(message.contains(reason), "wanted `{reason}`: {message}");
}

#[test]
fn networks_that_are_none_are_refused() {
    let relu = |from: &str, to: &str| node("Relu", &[from], to, Vec::new());
    refused("in a circle", vec![relu("x", "a"), relu("c", "b"), relu("b", "c"), relu("a", "y")], Vec::new());
    refused("which nothing gives", vec![relu("nowhere", "y")], Vec::new());
    refused("give the same value", vec![relu("x", "y"), relu("x", "y")], Vec::new());
    refused(
        "no output depends on its input",
        vec![node("Neg", &["w"], "y", Vec::new())],
        vec![floats("w", &[1], &[1.0])],
    );
    let mut two = network(vec![relu("x", "y")], Vec::new());
    two.graph.as_mut().unwrap().input.push(port("z", &[1]));
    assert!(message(&two, Path::new("")).contains("2 inputs (x, z)"));
    let mut old = network(vec![relu("x", "y")], Vec::new());
    old.opset_import[0].version = 3;
    assert!(message(&old, Path::new("")).contains("version 3"));
    let mut vast = network(vec![relu("x", "y")], Vec::new());
    vast.graph.as_mut().unwrap().input[0] = port("x", &[1, i64::MAX, 1 << 40, 1 << 40]);
    assert!(message(&vast, Path::new("")).contains("input `x`"));
    assert!(message(&ModelProto::default(), Path::new("")).contains("no graph"));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let conv = || vec![node("Conv", &["x", "w"], "y", Vec::new())];
    refused("tensor `w`", conv(), vec![floats("w", &[1 << 31, 1 << 31, 1 << 31, 2], &[1.0])]);
    refused("tensor `w`", conv(), vec![floats("w", &[1 << 40], &[1.0])]);
    refused("tensor `w`", conv(), vec![floats("w", &[-3, 3, 1, 1], &[1.0])]);
    refused("tensor `w`", conv(), vec![TensorProto { data_type: 8, ..floats("w", &[1], &[1.0]) }]);
    let raw = TensorProto { raw_data: vec![0; 7].into(), ..floats("w", &[2], &[]) };
    refused("3 bytes are left", vec![node("Add", &["x", "w"], "y", Vec::new())], vec![raw]);
    refused("does not fit 3 channels", conv(), vec![floats("w", &[1, 2, 1, 1], &[1.0; 2])]);
    refused("a window of", conv(), vec![floats("w", &[1, 3, 5, 5], &[1.0; 75])]);
    refused(
        "strides",
        vec![node("Conv", &["x", "w"], "y", vec![ints("strides", &[0, 0])])],
        vec![floats("w", &[1, 3, 1, 1], &[1.0; 3])],
    );
    refused(
        "pads",
        vec![node("Conv", &["x", "w"], "y", vec![ints("pads", &[-1, 0, 0, 0])])],
        vec![floats("w", &[1, 3, 1, 1], &[1.0; 3])],
    );
    let wrong = AttributeProto { r#type: AttributeType::Float as i32, ..ints("strides", &[1, 1]) };
    refused(
        "attribute `strides` is FLOAT",
        vec![node("Conv", &["x", "w"], "y", vec![wrong])],
        vec![floats("w", &[1, 3, 1, 1], &[1.0; 3])],
    );
    refused("broadcast", vec![node("Add", &["x", "w"], "y", Vec::new())], vec![floats("w", &[5], &[1.0; 5])]);
    refused("input 1 is missing", vec![node("MatMul", &["x"], "y", Vec::new())], Vec::new());
}

#[test]
fn small_files_do_not_ask_for_much_memory() {
    const VAST: i64 = 1 << 44;
    let with = |operator: &str, values: &[i64]| {
        (vec![node(operator, &["x", "s"], "y", Vec::new())], vec![whole("s", &[values.len() as i64], values)])
    };
    for (operator, values) in [
        ("Expand", &[VAST, 3, 4, 4][..]),
        ("Tile", &[1, VAST, 1, 1]),
        ("Reshape", &[VAST, -1]),
        ("Pad", &[0, 0, VAST, 0, 0, 0, 0, 0]),
        ("Pad", &[0, 0, 1 << 27, 0, 0, 0, 0, 0]),
    ] {
        let (nodes, tensors) = with(operator, values);
        refused(operator, nodes, tensors);
    }
    let computed = |operator: &str, inputs: &[&str], tensors: Vec<TensorProto>| {
        refused(
            operator,
            vec![node(operator, inputs, "c", Vec::new()), node("Mul", &["x", "c"], "y", Vec::new())],
            tensors,
        );
    };
    computed("ConstantOfShape", &["s"], vec![whole("s", &[2], &[1 << 13, 1 << 13])]);
    computed("ConstantOfShape", &["s"], vec![whole("s", &[2], &[VAST, VAST])]);
    let numbers =
        |values: [i64; 3]| ["a", "b", "c0"].into_iter().zip(values).map(|(n, v)| whole(n, &[], &[v])).collect();
    computed("Range", &["a", "b", "c0"], numbers([0, VAST, 1]));
    computed("Range", &["a", "b", "c0"], numbers([i64::MIN, i64::MAX, 1]));
    computed("Range", &["a", "b", "c0"], numbers([0, 1, 0]));
    // Many results of middling size.
    let mut nodes: Vec<NodeProto> =
        (0..100).map(|i| node("Expand", &["w", "s"], &format!("e{i}"), Vec::new())).collect();
    nodes.push(node("Add", &["x", "w"], "y", Vec::new()));
    refused("out of proportion", nodes, vec![floats("w", &[1], &[1.0]), whole("s", &[1], &[1 << 20])]);
    let resize = node("Resize", &["x", "", "", "s"], "y", Vec::new());
    refused("Resize", vec![resize], vec![whole("s", &[4], &[1, 3, VAST, VAST])]);
    let conv = node("Conv", &["x", "w"], "y", vec![ints("pads", &[60000; 4])]);
    refused("numbers a picture", vec![conv], vec![floats("w", &[1, 3, 1, 1], &[1.0; 3])]);
}

#[test]
fn whole_numbers_do_not_overflow() {
    for (operator, a, b) in
        [("Mul", i64::MAX, 2), ("Add", i64::MAX, 1), ("Div", 1, 0), ("Div", i64::MIN, -1), ("Mod", 1, 0)]
    {
        let nodes = vec![node(operator, &["a", "b"], "c", Vec::new()), node("Reshape", &["x", "c"], "y", Vec::new())];
        refused(operator, nodes, vec![whole("a", &[1], &[a]), whole("b", &[1], &[b])]);
    }
}

#[test]
fn files_of_numbers_stay_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<u8> = [2f32, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(dir.path().join("net.data"), [&[0; 8], values.as_slice()].concat()).unwrap();
    let outside = |entries: &[(&str, &str)]| {
        let external_data = entries
            .iter()
            .map(|(key, value)| StringStringEntryProto { key: (*key).into(), value: (*value).into() })
            .collect();
        let data_location = DataLocation::External as i32;
        let w = TensorProto { external_data, data_location, ..floats("w", &[3, 1, 1], &[]) };
        network(vec![node("Mul", &["x", "w"], "y", Vec::new())], vec![w])
    };
    let good = outside(&[("location", "net.data"), ("offset", "8"), ("length", "12")]);
    let path = dir.path().join("net.onnx");
    std::fs::write(&path, good.encode_to_vec()).unwrap();
    let graph = read(&path, &Device::Cpu).unwrap();
    assert_eq!(graph.name(), "net");
    let x = Tensor::ones((1, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let y = graph.forward(&x, &[graph.layer("y").unwrap()]).unwrap().remove(0);
    assert_eq!(y.mean((0, 2, 3)).unwrap().to_vec1::<f32>().unwrap(), [2.0, 3.0, 4.0]);
    for (reason, entries) in [
        ("not in the folder", vec![("location", "../net.data")]),
        ("not in the folder", vec![("location", "/etc/passwd")]),
        ("not in the folder", vec![("location", "")]),
        ("not named", vec![]),
        ("gone.data", vec![("location", "gone.data")]),
        ("bytes from byte", vec![("location", "net.data"), ("offset", "12")]),
        ("bytes from byte", vec![("location", "net.data"), ("offset", "18446744073709551615")]),
        ("bytes from byte", vec![("location", "net.data"), ("length", "8")]),
        ("offset is", vec![("location", "net.data"), ("offset", "-8")]),
    ] {
        let told = message(&outside(&entries), dir.path());
        assert!(told.contains(reason), "wanted `{reason}`: {told}");
    }
}
