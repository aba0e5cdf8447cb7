//! Numbers of a file's tensors: inside it, or in a file beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use candle_core::{Device, Error, Result, Tensor, bail};
use half::{bf16, f16};

use super::proto::TensorProto;
use super::proto::tensor_proto::{DataLocation, DataType};

/// Bytes that are read at once from a file of numbers.
const PIECE: usize = 1 << 20;

/// A tensor of f32, or of i64 where the file has whole numbers or truth values.
///
/// # Errors
/// When the numbers are missing, too few or too many, or of a type that is not read.
pub(super) fn tensor(proto: &TensorProto, folder: &Path) -> Result<Tensor> {
    let read = || {
        let shape = shape(&proto.dims)?;
        let kind = DataType::try_from(proto.data_type).unwrap_or(DataType::Undefined);
        match proto.data_location() {
            DataLocation::External => outside(proto, kind, &shape, folder),
            DataLocation::Default => inside(proto, kind, &shape),
        }
    };
    read().map_err(|e: Error| Error::Msg(format!("tensor `{}`: {e}", proto.name)))
}

/// Dimensions as the file has them, whose product is a number of values.
fn shape(dims: &[i64]) -> Result<Vec<usize>> {
    let shape = dims.iter().map(|d| usize::try_from(*d)).collect::<std::result::Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| Error::Msg(format!("a tensor of shape {dims:?}")))?;
    match shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) {
        Some(_) => Ok(shape),
        None => bail!("a tensor of shape {dims:?}"),
    }
}

fn inside(proto: &TensorProto, kind: DataType, shape: &[usize]) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    if !proto.raw_data.is_empty() || count == 0 {
        let mut numbers = Numbers::new(kind, proto.raw_data.len())?;
        numbers.take(&proto.raw_data);
        return numbers.finish(shape);
    }
    let bits = |v: &i32| u16::try_from(*v).unwrap_or_default();
    match kind {
        DataType::Float => of(proto.float_data.clone(), shape),
        DataType::Double => of(proto.double_data.iter().map(|v| *v as f32).collect(), shape),
        DataType::Float16 => {
            of(proto.int32_data.iter().map(|v| f16::from_bits(bits(v)).to_f32()).collect::<Vec<_>>(), shape)
        }
        DataType::Bfloat16 => {
            of(proto.int32_data.iter().map(|v| bf16::from_bits(bits(v)).to_f32()).collect::<Vec<_>>(), shape)
        }
        DataType::Int64 => of(proto.int64_data.clone(), shape),
        DataType::Uint32 | DataType::Uint64 => {
            of(proto.uint64_data.iter().map(|v| i64::try_from(*v).unwrap_or(i64::MAX)).collect(), shape)
        }
        _ => {
            width(kind)?;
            of(proto.int32_data.iter().map(|v| i64::from(*v)).collect(), shape)
        }
    }
}

/// A tensor of as many numbers as its shape says.
fn of<T: candle_core::WithDType>(values: Vec<T>, shape: &[usize]) -> Result<Tensor> {
    if values.len() != shape.iter().product::<usize>() {
        bail!("{} numbers for the shape {shape:?}", values.len())
    }
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn outside(proto: &TensorProto, kind: DataType, shape: &[usize], folder: &Path) -> Result<Tensor> {
    let entry = |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let Some(location) = entry("location") else { bail!("its numbers lie in another file, which is not named") };
    if location.is_empty() || Path::new(location).components().any(|part| !matches!(part, Component::Normal(_))) {
        bail!("its numbers lie in `{location}`, which is not in the folder of the model");
    }
    let path = folder.join(location);
    let wrong = |e: std::io::Error| Error::Msg(format!("its numbers lie in {}: {e}", path.display()));
    let number = |key: &str| match entry(key) {
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| Error::Msg(format!("its {key} is `{text}`"))),
        None => Ok(None),
    };
    let mut file = File::open(&path).map_err(wrong)?;
    let size = file.metadata().map_err(wrong)?.len();
    let offset = number("offset")?.unwrap_or(0);
    let wanted = shape.iter().try_fold(width(kind)?, |n, d| n.checked_mul(*d)).map(|n| n as u64);
    let length = number("length")?.or(wanted).unwrap_or(u64::MAX);
    if Some(length) != wanted || offset.checked_add(length).is_none_or(|end| end > size) {
        bail!("{length} bytes from byte {offset} of {} ({size} bytes) are not {shape:?}", path.display());
    }
    file.seek(SeekFrom::Start(offset)).map_err(wrong)?;
    let mut left = length as usize;
    let mut numbers = Numbers::new(kind, left)?;
    let mut piece = vec![0; PIECE.min(left)];
    while left > 0 {
        let bytes = &mut piece[..PIECE.min(left)];
        file.read_exact(bytes).map_err(wrong)?;
        numbers.take(bytes);
        left -= bytes.len();
    }
    numbers.finish(shape)
}

/// Bytes of a number.
fn width(kind: DataType) -> Result<usize> {
    Ok(match kind {
        DataType::Uint8 | DataType::Int8 | DataType::Bool => 1,
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        other => bail!("numbers of type {} are not read", other.as_str_name()),
    })
}

/// Numbers made of bytes, least first.
struct Numbers {
    kind: DataType,
    width: usize,
    floats: Vec<f32>,
    integers: Vec<i64>,
    /// Bytes of a number that is not whole.
    rest: usize,
}

impl Numbers {
    fn new(kind: DataType, bytes: usize) -> Result<Self> {
        let width = width(kind)?;
        let is_float = matches!(kind, DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16);
        let (floats, integers) = if is_float { (bytes / width, 0) } else { (0, bytes / width) };
        let (floats, integers) = (Vec::with_capacity(floats), Vec::with_capacity(integers));
        Ok(Self { kind, width, floats, integers, rest: bytes % width })
    }

    /// Whole numbers: pieces are a multiple of every width long.
    fn take(&mut self, bytes: &[u8]) {
        let (floats, integers) = (&mut self.floats, &mut self.integers);
        match self.kind {
            DataType::Float => floats.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            DataType::Double => floats.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            DataType::Float16 => floats.extend(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32())),
            DataType::Bfloat16 => floats.extend(bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32())),
            DataType::Int64 => integers.extend(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b))),
            DataType::Uint64 => integers.extend(bytes.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b) as i64)),
            DataType::Int32 => integers.extend(bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b)))),
            DataType::Uint32 => integers.extend(bytes.as_chunks().0.iter().map(|b| i64::from(u32::from_le_bytes(*b)))),
            DataType::Int16 => integers.extend(bytes.as_chunks().0.iter().map(|b| i64::from(i16::from_le_bytes(*b)))),
            DataType::Uint16 => integers.extend(bytes.as_chunks().0.iter().map(|b| i64::from(u16::from_le_bytes(*b)))),
            DataType::Int8 => integers.extend(bytes.iter().map(|b| i64::from(b.cast_signed()))),
            _ => integers.extend(bytes.iter().map(|b| i64::from(*b))),
        }
    }

    fn finish(self, shape: &[usize]) -> Result<Tensor> {
        if self.rest > 0 {
            bail!("{} bytes are left of numbers of {} bytes", self.rest, self.width)
        }
        let is_float = matches!(self.kind, DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16);
        if is_float { of(self.floats, shape) } else { of(self.integers, shape) }
    }
}
