//! Named arrays of `.npz` and `.safetensors` files, and the one of an `.npy` file, in row-major order.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError, ReadableElement, ViewNpyError, ViewNpyExt};
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

const ELEMENTS: &str = "arrays may be of float32, float64, int8, int16, int32, int64, uint8 or bool";

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// Its elements, the last index running fastest.
    pub(crate) values: Values,
}

/// The elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// Flags, or bytes without a sign.
    Bytes(Vec<u8>),
    /// Integers with a sign.
    Integers(Vec<i64>),
    /// Single precision.
    Singles(Vec<f32>),
    /// Double precision.
    Doubles(Vec<f64>),
}

impl Values {
    /// The elements in single precision; what is too large becomes infinite.
    pub(crate) fn into_singles(self) -> Vec<f32> {
        match self {
            Self::Bytes(v) => v.into_iter().map(f32::from).collect(),
            Self::Integers(v) => v.into_iter().map(|x| x as f32).collect(),
            Self::Singles(v) => v,
            Self::Doubles(v) => v.into_iter().map(|x| x as f32).collect(),
        }
    }

    /// The elements in double precision.
    pub(crate) fn into_doubles(self) -> Vec<f64> {
        match self {
            Self::Bytes(v) => v.into_iter().map(f64::from).collect(),
            Self::Integers(v) => v.into_iter().map(|x| x as f64).collect(),
            Self::Singles(v) => v.into_iter().map(f64::from).collect(),
            Self::Doubles(v) => v,
        }
    }
}

/// An open file of arrays.
pub(crate) enum Arrays {
    /// numpy's.
    Npz(Box<NpzReader<BufReader<File>>>),
    /// One array of numpy's, without a name.
    Npy(Vec<u8>),
    /// Tensors by offset.
    Safetensors(Vec<u8>),
}

impl Arrays {
    /// Opens a file by its extension.
    ///
    /// # Errors
    /// When it is not there, has another extension, or is not whole.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Err(Error::file(path, "there is no such file", "wanted an .npz, .npy or .safetensors file"));
        }
        let again = "write the file again: it is cut off, or of another kind";
        match path.extension().and_then(|e| e.to_str()) {
            Some("npz") => {
                let file = File::open(path).map_err(Error::io("read", path))?;
                let npz = NpzReader::new(BufReader::new(file));
                Ok(Self::Npz(Box::new(
                    npz.map_err(|e| Error::file(path, format!("not a whole npz file: {e}"), again))?,
                )))
            }
            Some("npy") => Ok(Self::Npy(std::fs::read(path).map_err(Error::io("read", path))?)),
            Some("safetensors") => {
                let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
                let wrong = |e| Error::file(path, format!("not a whole safetensors file: {e}"), again);
                SafeTensors::deserialize(&bytes).map_err(wrong)?;
                Ok(Self::Safetensors(bytes))
            }
            _ => Err(Error::file(path, "is of an unknown kind", "wanted an .npz, .npy or .safetensors file")),
        }
    }

    /// The names of the arrays: in the file's order for npz, else by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn names(&mut self, path: &Path) -> Result<Vec<String>> {
        match self {
            Self::Npy(_) => Ok(vec![String::new()]),
            Self::Npz(npz) => npz.names().map_err(|e| npz_error(path, "its list", &e)),
            Self::Safetensors(bytes) => {
                let tensors =
                    SafeTensors::deserialize(bytes).map_err(|e| Error::file(path, e.to_string(), ELEMENTS))?;
                let mut names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
                names.sort();
                Ok(names)
            }
        }
    }

    /// Reads an array.
    ///
    /// # Errors
    /// When it is not there, not whole, or of elements that are no plain numbers.
    pub(crate) fn read(&mut self, path: &Path, name: &str) -> Result<Array> {
        match self {
            Self::Npy(bytes) => npy_array(path, bytes),
            Self::Npz(npz) => {
                let read = npz_array(npz, name).map_err(|e| npz_error(path, &format!("array `{name}`"), &e))?;
                read.ok_or_else(|| Error::file(path, format!("array `{name}` has unknown elements"), ELEMENTS))
            }
            Self::Safetensors(bytes) => {
                let wrong = |problem: String| Error::file(path, format!("array `{name}`: {problem}"), ELEMENTS);
                let tensors = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
                let tensor = tensors.tensor(name).map_err(|e| wrong(e.to_string()))?;
                let values = tensor_values(tensor.dtype(), tensor.data());
                let values = values.ok_or_else(|| wrong(format!("has elements of {:?}", tensor.dtype())))?;
                Ok(Array { shape: tensor.shape().to_vec(), values })
            }
        }
    }
}

/// An array of floats; a view asks for no more room than the file has.
fn npy_array(path: &Path, bytes: &[u8]) -> Result<Array> {
    let hint = "write it by numpy.save as float32 or float64";
    let wrong = |e: ViewNpyError| Error::file(path, format!("not a whole npy file of floats: {e}"), hint);
    if let Ok(array) = ArrayViewD::<f32>::view_npy(bytes) {
        return Ok(Array { shape: array.shape().to_vec(), values: Values::Singles(array.iter().copied().collect()) });
    }
    let array = ArrayViewD::<f64>::view_npy(bytes).map_err(wrong)?;
    Ok(Array { shape: array.shape().to_vec(), values: Values::Doubles(array.iter().copied().collect()) })
}

fn npz_error(path: &Path, what: &str, error: &ReadNpzError) -> Error {
    let hint = "write it by numpy.savez (savez_compressed is not read), with plain numbers";
    Error::file(path, format!("{what} cannot be read: {error}"), hint)
}

/// Tries one kind of element after the other; those of one byte first, as they ask before they make room.
fn npz_array(npz: &mut NpzReader<BufReader<File>>, name: &str) -> Result<Option<Array>, ReadNpzError> {
    if let Some((shape, values)) = npz_of::<u8>(npz, name)? {
        return Ok(Some(Array { shape, values: Values::Bytes(values) }));
    }
    if let Some((shape, values)) = npz_of::<bool>(npz, name)? {
        return Ok(Some(Array { shape, values: Values::Bytes(values.into_iter().map(u8::from).collect()) }));
    }
    if let Some((shape, values)) = npz_of::<f32>(npz, name)? {
        return Ok(Some(Array { shape, values: Values::Singles(values) }));
    }
    if let Some((shape, values)) = npz_of::<f64>(npz, name)? {
        return Ok(Some(Array { shape, values: Values::Doubles(values) }));
    }
    let integers = match npz_integers::<i8>(npz, name)? {
        None => match npz_integers::<i16>(npz, name)? {
            None => npz_integers::<i32>(npz, name)?,
            found => found,
        },
        found => found,
    };
    Ok(if integers.is_some() { integers } else { npz_integers::<i64>(npz, name)? })
}

fn npz_integers<T: ReadableElement + Clone + Into<i64>>(
    npz: &mut NpzReader<BufReader<File>>,
    name: &str,
) -> Result<Option<Array>, ReadNpzError> {
    let integers = |v: Vec<T>| Values::Integers(v.into_iter().map(Into::into).collect());
    Ok(npz_of::<T>(npz, name)?.map(|(shape, values)| Array { shape, values: integers(values) }))
}

/// Shape and elements; `None` where they are of another kind.
#[allow(clippy::type_complexity)]
fn npz_of<T: ReadableElement + Clone>(
    npz: &mut NpzReader<BufReader<File>>,
    name: &str,
) -> Result<Option<(Vec<usize>, Vec<T>)>, ReadNpzError> {
    let read: Result<ArrayD<T>, _> = npz.by_name(name);
    match read {
        Ok(array) => {
            let shape = array.shape().to_vec();
            // Elements of arrays in Fortran's order lie elsewhere.
            let values = if array.is_standard_layout() {
                array.into_raw_vec_and_offset().0
            } else {
                array.iter().cloned().collect()
            };
            Ok(Some((shape, values)))
        }
        Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

fn tensor_values(kind: Dtype, bytes: &[u8]) -> Option<Values> {
    fn of<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|b| number(*b)).collect()
    }
    Some(match kind {
        Dtype::BOOL | Dtype::U8 => Values::Bytes(bytes.to_vec()),
        Dtype::I8 => Values::Integers(of(bytes, |b| i64::from(i8::from_le_bytes(b)))),
        Dtype::I16 => Values::Integers(of(bytes, |b| i64::from(i16::from_le_bytes(b)))),
        Dtype::I32 => Values::Integers(of(bytes, |b| i64::from(i32::from_le_bytes(b)))),
        Dtype::I64 => Values::Integers(of(bytes, i64::from_le_bytes)),
        Dtype::F32 => Values::Singles(of(bytes, f32::from_le_bytes)),
        Dtype::F64 => Values::Doubles(of(bytes, f64::from_le_bytes)),
        _ => return None,
    })
}
