//! Files that PyTorch and numpy wrote (`tests/golden/checkpoints.py`), and what is said of those that do not fit.

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints").join(name)
}

fn open(name: &str, options: &Options) -> Result<Weights> {
    Weights::open(&golden(name), options, &Device::Cpu)
}

fn values(weights: &Weights, name: &str, shape: &[usize]) -> Vec<f32> {
    assert_eq!(weights.shape_of(name), Some(shape), "{name}");
    weights.take(name, shape).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

const WEIGHT: [f32; 6] = [0.0, 1.5, 3.0, 4.5, 6.0, 7.5];
const BIAS: [f32; 2] = [-1.0, 2.5];

fn has_the_plain_tensors(weights: &Weights) {
    assert_eq!(values(weights, "a.weight", &[2, 3]), WEIGHT);
    assert_eq!(values(weights, "a.bias", &[2]), BIAS);
    assert_eq!(values(weights, "steps", &[]), [7.0]);
}

#[test]
fn every_form_of_torch_holds_the_same() {
    for name in ["zip.pth", "zip_protocol4.pth", "zip_deflated.pth", "legacy.pth"] {
        let weights = open(name, &Options::default()).unwrap();
        has_the_plain_tensors(&weights);
        assert_eq!(values(&weights, "transposed", &[3, 2]), [0.0, 4.5, 1.5, 6.0, 3.0, 7.5]);
        assert_eq!(values(&weights, "column", &[2]), [1.5, 6.0]);
        for typed in ["half", "brain", "double", "parameter"] {
            assert_eq!(values(&weights, typed, &[2]), BIAS, "{typed}");
        }
        assert_eq!(values(&weights, "byte", &[2]), [1.0, 255.0]);
        assert_eq!(values(&weights, "short", &[2]), [-1.0, 2.0]);
        assert_eq!(values(&weights, "flag", &[2]), [0.0, 1.0]);
        weights.finish("net").unwrap();
    }
    let typed = open("zip_v3.pth", &Options::default()).unwrap();
    has_the_plain_tensors(&typed);
    assert_eq!(values(&typed, "u", &[2]), [1.0, 2.0]);
}

#[test]
fn arrays_of_numpy_hold_the_same() {
    for name in ["plain.npz", "compressed.npz"] {
        let weights = open(name, &Options::default()).unwrap();
        has_the_plain_tensors(&weights);
        assert_eq!(values(&weights, "transposed", &[3, 2]), [0.0, 4.5, 1.5, 6.0, 3.0, 7.5]);
        for typed in ["half", "double", "big"] {
            assert_eq!(values(&weights, typed, &[2]), BIAS, "{typed}");
        }
        assert_eq!(values(&weights, "byte", &[2]), [1.0, 255.0]);
    }
    let weights = open("compressed.npz", &Options::default()).unwrap();
    assert_eq!(values(&weights, "zeros", &[5000]), vec![0.0; 5000]);
}

#[test]
fn safetensors_are_read_from_a_file_an_index_or_a_folder() {
    let one = open("one.safetensors", &Options::default()).unwrap();
    has_the_plain_tensors(&one);
    for typed in ["half", "brain", "double"] {
        assert_eq!(values(&one, typed, &[2]), BIAS, "{typed}");
    }
    for name in ["sharded", "sharded/model.safetensors.index.json"] {
        has_the_plain_tensors(&open(name, &Options::default()).unwrap());
    }
}

#[test]
fn the_network_is_found_in_a_checkpoint_of_training() {
    let weights = open("training.pth", &Options::default()).unwrap();
    assert_eq!(values(&weights, "a.weight", &[2, 3]), WEIGHT);
    assert_eq!(values(&weights, "module.a.bias", &[2]), BIAS);
    assert!(weights.shape_of("b.weight").is_none());
    weights.finish("net").unwrap();
}

fn with(key: Option<&str>, rename: &[(&str, &str)]) -> Options {
    let rename = rename.iter().map(|(t, o)| ((*t).to_owned(), (*o).to_owned())).collect();
    Options { key: key.map(str::to_owned), rename }
}

#[test]
fn of_several_tables_one_is_chosen_by_its_key() {
    let message = open("two.pth", &Options::default()).unwrap_err().to_string();
    let message = message.replace(&golden("").display().to_string(), "");
    insta::assert_snapshot!(message, @r#"
    two.pth: it holds several tables of tensors: `student` (3 tensors: backbone.a.bias, ...), `teacher` (3 tensors: backbone.a.bias, ...)
      help: say which: --set model.key=student, or `key = "student"` below [model]; a shorter key takes all tables below it
    "#);
    has_the_plain_tensors(&open("two.pth", &with(Some("teacher"), &[])).unwrap());
    has_the_plain_tensors(&open("two.pth", &with(Some("teacher.backbone"), &[])).unwrap());
    let student = open("two.pth", &with(Some("student"), &[])).unwrap();
    assert_eq!(values(&student, "a.bias", &[2]), [0.0, 0.0]);
    let all = open("two.pth", &with(Some(""), &[])).unwrap();
    assert_eq!(values(&all, "teacher.backbone.a.bias", &[2]), BIAS);
    let message = open("two.pth", &with(Some("teachers"), &[])).unwrap_err().to_string();
    assert!(message.contains("model.key = \"teacher\""), "{message}");
}

#[test]
fn names_are_changed_by_rules() {
    let weights = open("training.pth", &with(None, &[("module.a.*", "head.*")])).unwrap();
    assert_eq!(values(&weights, "head.weight", &[2, 3]), WEIGHT);
    assert_eq!(values(&weights, "head.bias", &[2]), BIAS);
    weights.finish("net").unwrap();
    // One that is renamed leaves the others their wrapper.
    let weights = open("training.pth", &with(None, &[("module.a.bias", "head")])).unwrap();
    assert_eq!((values(&weights, "a.weight", &[2, 3]).len(), values(&weights, "head", &[2]).len()), (6, 2));
    let error = open("zip.pth", &with(None, &[("b.*", "c.*")])).unwrap_err();
    assert!(error.is_users_mistake() && error.to_string().contains("model.rename"), "{error}");
}

#[test]
fn what_no_network_can_use_is_told_when_it_is_wanted() {
    let weights = open("zip_odd.pth", &Options::default()).unwrap();
    has_the_plain_tensors(&weights);
    weights.take("odd", &[2]).unwrap();
    weights.take("wide", &[3, 2]).unwrap();
    let message = weights.finish("net").unwrap_err().to_string();
    for part in ["2 unreadable", "odd is complex", "wide [3, 2] repeats the 2 numbers"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_pickle_of_a_whole_network_is_refused() {
    let error = open("whole_network.pth", &Options::default()).unwrap_err();
    let message = error.to_string();
    assert!(error.is_users_mistake(), "{message}");
    for part in ["`torch.nn.modules.linear.Linear`", "refused", "model.state_dict()"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_mismatch_lists_everything_at_once() {
    let tensor = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let tensors = BTreeMap::from([
        ("conv.weight".to_owned(), tensor(&[2, 2])),
        ("conv.bias".to_owned(), tensor(&[2])),
        ("fc.weight".to_owned(), tensor(&[3, 5])),
        ("steps".to_owned(), tensor(&[1])),
        ("unrelated".to_owned(), tensor(&[9])),
    ]);
    let weights = Weights::from_tensors(Path::new("w.pth"), tensors);
    weights.take("conv.weight", &[3, 2]).unwrap();
    weights.take("conv.biass", &[2]).unwrap();
    weights.take("fc.weight", &[5, 3]).unwrap();
    weights.ignore(|n| n == "steps");
    insta::assert_snapshot!(weights.finish("net").unwrap_err(), @r#"
    w.pth: its tensors are not those of `net`: 1 missing: conv.biass (near: conv.bias); 2 unexpected: conv.bias, unrelated; 2 of another shape: conv.weight is [2, 2], wanted [3, 2], fc.weight is [3, 5], wanted [5, 3] (transposed: save it as `x.T`)
      help: if the file is of another network, name that one (`cavern ls models`); if these names are the same tensors, write in the study file

    [model.rename]
    "conv.bias" = "conv.biass"
    "#);
}

#[test]
fn other_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 8] = [
        ("a.txt", b"hello world, this is text", "not a weights file"),
        ("b.pth", b"PK\x03\x04", "cut off"),
        ("c.pth", b"\x80\x02.", "stack is empty"),
        ("d.bin", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("e.bin", b"<!DOCTYPE html>", "is a web page"),
        ("f.h5", b"\x89HDF\r\n", "Keras"),
        ("g.npy", b"\x93NUMPY\x01\x00", "single array"),
        ("h.pth", b"", "not a weights file"),
    ];
    for (name, bytes, what) in cases {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = Weights::read(&path, &Device::Cpu).unwrap_err();
        let message = error.to_string();
        assert!(error.is_users_mistake() && message.contains(name) && message.contains(what), "{message}");
    }
    let message = Weights::read(dir.path(), &Device::Cpu).unwrap_err().to_string();
    assert!(message.contains("holds 5 files of weights"), "{message}");
    assert!(Weights::read(&dir.path().join("none"), &Device::Cpu).unwrap_err().is_users_mistake());
}

#[test]
fn an_index_names_files_beside_it_and_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::copy(golden("one.safetensors"), dir.path().join("a.safetensors")).unwrap();
    let message = |map: &str| {
        std::fs::write(&index, map).unwrap();
        Weights::read(&index, &Device::Cpu).unwrap_err().to_string()
    };
    let of = |name: &str, file: &str| format!("{{\"weight_map\": {{\"{name}\": \"{file}\"}}}}");
    assert!(message(&of("x", "../a.safetensors")).contains("no file beside it"));
    assert!(message(&of("x", "b.safetensors")).contains("not there"));
    assert!(message(&of("x", "a.safetensors")).contains("holds `x`, which it does not"));
    assert!(message("[]").contains("no index"));
    std::fs::write(&index, of("a.bias", "a.safetensors")).unwrap();
    let weights = Weights::read(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(values(&weights, "a.bias", &[2]), BIAS);
    assert!(weights.shape_of("a.weight").is_none());
}

#[test]
fn a_common_beginning_need_not_be_named_and_counters_beside_it_do_not_matter() {
    let entry = |shape: &[usize]| -> Entry {
        let bytes = Bytes::new(vec![0u8; 4 * shape.iter().product::<usize>()]);
        View::rows(storage::Storage::Plain(bytes), view::Number::F32, shape.to_vec())
    };
    let of = |names: &[(&str, &[usize])]| wrappers(&names.iter().map(|(n, s)| ((*n).to_owned(), entry(s))).collect());
    assert_eq!(of(&[("m.b.x.w", &[1]), ("m.b.y.w", &[1]), ("n", &[])]), ["", "m.", "m.b."]);
    assert_eq!(of(&[("m.b.x.w", &[1]), ("y.w", &[1])]), [""]);
    assert_eq!(of(&[]), [""]);
}

#[test]
fn a_header_of_any_length_is_one_of_safetensors() {
    // The first byte of the file is the low one of the header's length: 0x80 is also that of a pickle.
    let firsts = (0..256).map(|length| {
        let names =
            format!("{{\"n\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}{}}}", " ".repeat(length));
        let bytes = [&(names.len() as u64).to_le_bytes(), names.as_bytes(), &1f32.to_le_bytes()].concat();
        let weights = Weights::from_safetensors(&bytes, Path::new("w"), &Device::Cpu).unwrap();
        assert_eq!(values(&weights, "n", &[1]), [1.0]);
        bytes[0]
    });
    assert!(firsts.collect::<Vec<_>>().contains(&0x80));
}
