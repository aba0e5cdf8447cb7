//! The names a checkpoint may use, and what they stand for. Nothing else is accepted, and nothing is ever called.

use crate::model::weights::view::Number;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// A dict that keeps its order.
    Dict,
    /// A tensor of storage, offset, shape and strides.
    Tensor,
    /// The same, with its type beside.
    TypedTensor,
    /// A parameter: a tensor and flags.
    Parameter,
    /// An object of a tensor's subclass: a function, a class, arguments and state.
    Subclass,
    /// A tensor that is not a plain array of numbers, and what it is.
    Unreadable(&'static str),
    /// A storage: the bytes of one number, and its type or why it cannot be read.
    Storage(usize, Result<Number, &'static str>),
    /// A type of numbers.
    Type(Result<Number, &'static str>),
    /// Something beside the weights, such as options and times: its value is not looked at.
    Beside,
}

/// The meaning of a name; `None` for every name that a checkpoint has no need of.
pub(super) fn meaning(module: &str, name: &str) -> Option<Meaning> {
    Some(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter") | ("builtins" | "__builtin__", "dict") => {
            Meaning::Dict
        }
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Meaning::Tensor,
        ("torch._utils", "_rebuild_tensor_v3") => Meaning::TypedTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Meaning::Parameter,
        ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => Meaning::Subclass,
        ("torch._utils", "_rebuild_qtensor") => Meaning::Unreadable("quantised: dequantise it first"),
        ("torch._utils", "_rebuild_sparse_tensor") => Meaning::Unreadable("sparse: save it as .to_dense()"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => Meaning::Unreadable("without numbers (on `meta`)"),
        ("torch.storage", "UntypedStorage") => Meaning::Storage(1, Ok(Number::U8)),
        ("torch", name) => torch(name)?,
        _ => beside(module, name).then_some(Meaning::Beside)?,
    })
}

fn torch(name: &str) -> Option<Meaning> {
    if let Some(kind) = name.strip_suffix("Storage") {
        return storage(kind);
    }
    match name {
        "Size" | "device" | "Tensor" | "Generator" => Some(Meaning::Beside),
        _ => dtype(name).map(Meaning::Type),
    }
}

const COMPLEX: &str = "complex: networks here take real numbers";
const QUANTISED: &str = "quantised: dequantise it first";
const EIGHT_BITS: &str = "floats of eight bits, whose scales are elsewhere: convert it to f32 first";

fn storage(kind: &str) -> Option<Meaning> {
    let number = match kind {
        "Double" => Number::F64,
        "Float" => Number::F32,
        "Half" => Number::F16,
        "BFloat16" => Number::Bf16,
        "Long" => Number::I64,
        "Int" => Number::I32,
        "Short" => Number::I16,
        "Char" => Number::I8,
        "Byte" | "Untyped" => Number::U8,
        "Bool" => Number::Bool,
        "ComplexDouble" => return Some(Meaning::Storage(16, Err(COMPLEX))),
        "ComplexFloat" => return Some(Meaning::Storage(8, Err(COMPLEX))),
        "QInt32" => return Some(Meaning::Storage(4, Err(QUANTISED))),
        "QInt8" | "QUInt8" => return Some(Meaning::Storage(1, Err(QUANTISED))),
        _ => return None,
    };
    Some(Meaning::Storage(number.width(), Ok(number)))
}

fn dtype(name: &str) -> Option<Result<Number, &'static str>> {
    Some(match name {
        "float64" => Ok(Number::F64),
        "float32" => Ok(Number::F32),
        "float16" => Ok(Number::F16),
        "bfloat16" => Ok(Number::Bf16),
        "int64" => Ok(Number::I64),
        "int32" => Ok(Number::I32),
        "int16" => Ok(Number::I16),
        "int8" => Ok(Number::I8),
        "uint64" => Ok(Number::U64),
        "uint32" => Ok(Number::U32),
        "uint16" => Ok(Number::U16),
        "uint8" => Ok(Number::U8),
        "bool" => Ok(Number::Bool),
        "complex32" | "complex64" | "complex128" => Err(COMPLEX),
        "qint8" | "quint8" | "qint32" => Err(QUANTISED),
        _ if name.starts_with("float8_") => Err(EIGHT_BITS),
        _ => return None,
    })
}

/// Classes of plain data that training loops keep beside the weights. All names are exact.
fn beside(module: &str, name: &str) -> bool {
    match module {
        "argparse" => name == "Namespace",
        "builtins" | "__builtin__" => matches!(
            name,
            "set" | "frozenset" | "list" | "tuple" | "int" | "float" | "str" | "bytearray" | "complex" | "slice"
        ),
        "_codecs" => name == "encode",
        "datetime" => matches!(name, "datetime" | "date" | "timedelta"),
        "pathlib" | "pathlib._local" => matches!(name, "Path" | "PosixPath" | "WindowsPath" | "PurePosixPath"),
        "numpy" => matches!(name, "dtype" | "ndarray"),
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        "torch.nn.parameter" => name == "Parameter",
        "torch.serialization" => name == "_get_layout",
        "types" => name == "SimpleNamespace",
        _ => false,
    }
}
