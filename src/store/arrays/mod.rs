//! Files of named arrays for other programs, `.npz` and `.safetensors`, written piece by piece: no array is ever in
//! memory as a whole.

mod npz;
mod safetensors;

use std::io::Write;
use std::path::Path;

use super::file::write_pieces;
use crate::error::{Error, Result};

/// Name under which a file says what it holds, as JSON: an array of text in `.npz`, metadata in `.safetensors`.
pub const ABOUT: &str = "cavern";

/// The kind of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Single precision.
    F32,
    /// Integers of four bytes.
    I32,
    /// Integers of one byte.
    I8,
}

impl Element {
    /// Bytes an element.
    fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I8 => 1,
        }
    }
}

/// What gives an array's values.
pub type Fill<'a> = Box<dyn FnOnce(&mut Sink<'_>) -> Result<()> + 'a>;

/// An array whose values are made while the file is written.
pub struct Array<'a> {
    /// Its name; slashes are allowed.
    pub name: String,
    /// The kind of its elements.
    pub element: Element,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Gives its values in row-major order.
    pub fill: Fill<'a>,
}

impl<'a> Array<'a> {
    /// An array of single precision.
    pub fn f32(name: String, shape: Vec<usize>, fill: impl FnOnce(&mut Sink<'_>) -> Result<()> + 'a) -> Self {
        Self { name, element: Element::F32, shape, fill: Box::new(fill) }
    }

    /// A vector of integers.
    pub fn i32(name: String, values: Vec<i32>) -> Self {
        let shape = vec![values.len()];
        Self { name, element: Element::I32, shape, fill: Box::new(move |sink| sink.i32(&values)) }
    }

    /// An array of small integers.
    pub fn i8(name: String, shape: Vec<usize>, values: Vec<i8>) -> Self {
        Self { name, element: Element::I8, shape, fill: Box::new(move |sink| sink.i8(&values)) }
    }

    fn bytes(&self) -> u64 {
        self.shape.iter().map(|n| *n as u64).product::<u64>() * self.element.size() as u64
    }

    /// Writes all of its values.
    fn write(self, out: &mut dyn Write, path: &Path) -> Result<()> {
        let (wanted, name) = (self.bytes(), self.name);
        let mut sink = Sink { out, path, written: 0 };
        (self.fill)(&mut sink)?;
        if sink.written == wanted {
            Ok(())
        } else {
            Err(Error::Failure(format!("array `{name}` has {} bytes, not {wanted} as its shape tells", sink.written)))
        }
    }
}

/// Where an array's values go.
pub struct Sink<'a> {
    out: &'a mut dyn Write,
    path: &'a Path,
    written: u64,
}

impl Sink<'_> {
    /// Appends numbers of single precision.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn f32(&mut self, values: &[f32]) -> Result<()> {
        self.bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// Appends integers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn i32(&mut self, values: &[i32]) -> Result<()> {
        self.bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// Appends small integers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn i8(&mut self, values: &[i8]) -> Result<()> {
        self.bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(Error::io("write", self.path))
    }
}

/// The kind of file, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// numpy's.
    Npz,
    /// Tensors by offset.
    Safetensors,
}

impl Form {
    /// The form of a path.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("npz") => Ok(Self::Npz),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(Error::file(path, "is of an unknown kind", "give a name that ends in .npz or .safetensors")),
        }
    }
}

/// Writes arrays into a file that appears whole or not at all; `over`: whether one that is there may be written over.
/// Arrays of larger elements should come first: then every array starts at a multiple of its element's size.
///
/// # Errors
/// When the name ends otherwise than in `.npz` or `.safetensors`, an array's values cannot be made or are more or fewer
/// than its shape tells, or the file cannot be written.
pub fn write(path: &Path, over: bool, about: &serde_json::Value, arrays: Vec<Array<'_>>) -> Result<()> {
    let (form, about) = (Form::of(path)?, about.to_string());
    write_pieces(path, over, |file| match form {
        Form::Npz => npz::write(file, path, &about, arrays),
        Form::Safetensors => safetensors::write(file, path, &about, arrays),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::safetensors::SafeTensors;
    use ndarray::{Array1, Array2, Array4};

    fn arrays<'a>() -> Vec<Array<'a>> {
        let pieces = |sink: &mut Sink<'_>| (0..3).try_for_each(|i| sink.f32(&[i as f32, 0.5, -1.0, 2.0]));
        vec![
            Array::f32("activations/a.b".into(), vec![3, 1, 2, 2], pieces),
            Array::i32("groups".into(), vec![-7, 70_000]),
            Array::i8("labels".into(), vec![3, 1], vec![1, 0, -1]),
        ]
    }

    #[test]
    fn files_are_read_by_the_crates_of_their_formats() {
        let dir = tempfile::tempdir().unwrap();
        let about = serde_json::json!({ "concepts": ["Vögel"] });
        let [npz, tensors] = ["a.npz", "b.safetensors"].map(|name| dir.path().join(name));
        for path in [&npz, &tensors] {
            write(path, false, &about, arrays()).unwrap();
            let message = write(path, false, &about, arrays()).unwrap_err().to_string();
            assert!(message.contains("not written over"), "{message}");
            write(path, true, &about, arrays()).unwrap();
        }
        let mut read = ndarray_npy::NpzReader::new(std::fs::File::open(&npz).unwrap()).unwrap();
        let values: Array4<f32> = read.by_name("activations/a.b").unwrap();
        assert_eq!(values.as_slice().unwrap()[..5], [0.0, 0.5, -1.0, 2.0, 1.0]);
        assert_eq!(read.by_name::<_, ndarray::Ix1>("groups").unwrap() as Array1<i32>, ndarray::array![-7, 70_000]);
        assert_eq!(read.by_name::<_, ndarray::Ix2>("labels").unwrap() as Array2<i8>, ndarray::array![[1], [0], [-1]]);
        let bytes = std::fs::read(&tensors).unwrap();
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.tensor("activations/a.b").unwrap().data(), values.map(|v| v.to_le_bytes()).concat_bytes());
        assert_eq!(read.tensor("labels").unwrap().data(), [1, 0, 255]);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()[ABOUT], about.to_string());
    }

    trait Bytes {
        fn concat_bytes(self) -> Vec<u8>;
    }

    impl Bytes for Array4<[u8; 4]> {
        fn concat_bytes(self) -> Vec<u8> {
            self.into_iter().flatten().collect()
        }
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let about = serde_json::Value::Null;
        for name in ["a.npz", "a.safetensors"] {
            let short = Array::f32("x".into(), vec![3], |sink| sink.f32(&[1.0, 2.0]));
            let message = write(&dir.path().join(name), false, &about, vec![short]).unwrap_err().to_string();
            assert!(message.contains("8 bytes, not 12"), "{message}");
            let broken = Array::f32("x".into(), vec![3], |_| Err(Error::Failure("no values".into())));
            assert!(write(&dir.path().join(name), false, &about, vec![broken]).is_err());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let message = write(&dir.path().join("a.npy"), false, &about, Vec::new()).unwrap_err().to_string();
        assert!(message.contains(".npz or .safetensors"), "{message}");
    }
}
