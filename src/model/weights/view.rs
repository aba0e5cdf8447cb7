//! A tensor in a file: which numbers of a storage it has, in which order. Converted to f32 when it is asked for.

use super::Parsed;
use super::storage::Storage;

/// Dimensions a tensor may have; torch stops there too.
pub(super) const MAX_DIMENSIONS: usize = 64;

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Number {
    /// Bytes of one.
    pub(super) fn width(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// Numbers of a storage, by offset, shape and strides.
#[derive(Debug, Clone)]
pub(super) struct View {
    storage: Storage,
    number: Number,
    big_endian: bool,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

impl View {
    /// Checks that every number lies in the storage, and that there are no more of them than the storage holds: strides
    /// of zero would let a small file ask for a huge tensor. Offset and strides count numbers, not bytes.
    pub(super) fn new(
        storage: Storage,
        number: Number,
        offset: usize,
        shape: Vec<usize>,
        stride: Vec<usize>,
    ) -> Parsed<Self> {
        if shape.len() != stride.len() || shape.len() > MAX_DIMENSIONS {
            return Err(format!("has {} dimensions and {} strides", shape.len(), stride.len()));
        }
        let held = storage.len() / number.width();
        let count = shape.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
        let count = count.ok_or_else(|| format!("{shape:?} is too large to be counted"))?;
        let last = shape
            .iter()
            .zip(&stride)
            .try_fold(offset, |at, (n, s)| at.checked_add(n.saturating_sub(1).checked_mul(*s)?));
        if count > 0 && last.is_none_or(|last| last >= held) {
            return Err(format!("{shape:?} from {offset} on reaches beyond its storage of {held} numbers"));
        }
        if count > held {
            return Err(format!("{shape:?} repeats the {held} numbers of its storage: save it as .contiguous()"));
        }
        Ok(Self { storage, number, big_endian: false, offset, shape, stride })
    }

    /// A whole storage in row-major order.
    pub(super) fn rows(storage: Storage, number: Number, shape: Vec<usize>) -> Parsed<Self> {
        let stride = row_major(&shape).ok_or_else(|| format!("{shape:?} is too large to be counted"))?;
        Self::new(storage, number, 0, shape, stride)
    }

    /// With numbers whose most significant byte comes first.
    pub(super) fn big_endian(self, big_endian: bool) -> Self {
        Self { big_endian, ..self }
    }

    /// Its shape.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its numbers in row-major order.
    pub(super) fn values(&self) -> Parsed<Vec<f32>> {
        let raw = self.storage.bytes()?;
        Ok(match self.number {
            Number::F64 => self.gather(&raw, |b| f64::from_le_bytes(b) as f32),
            Number::F32 => self.gather(&raw, f32::from_le_bytes),
            Number::F16 => self.gather(&raw, |b| half::f16::from_le_bytes(b).to_f32()),
            Number::Bf16 => self.gather(&raw, |b| half::bf16::from_le_bytes(b).to_f32()),
            Number::I64 => self.gather(&raw, |b| i64::from_le_bytes(b) as f32),
            Number::I32 => self.gather(&raw, |b| i32::from_le_bytes(b) as f32),
            Number::I16 => self.gather(&raw, |b| f32::from(i16::from_le_bytes(b))),
            Number::I8 => self.gather(&raw, |b| f32::from(i8::from_le_bytes(b))),
            Number::U64 => self.gather(&raw, |b| u64::from_le_bytes(b) as f32),
            Number::U32 => self.gather(&raw, |b| u32::from_le_bytes(b) as f32),
            Number::U16 => self.gather(&raw, |b| f32::from(u16::from_le_bytes(b))),
            Number::U8 => self.gather(&raw, |[b]| f32::from(b)),
            Number::Bool => self.gather(&raw, |[b]| f32::from(b != 0)),
        })
    }

    fn gather<const W: usize>(&self, raw: &[u8], number: impl Fn([u8; W]) -> f32) -> Vec<f32> {
        let read = |bytes: &[u8; W]| {
            let mut bytes = *bytes;
            if self.big_endian {
                bytes.reverse();
            }
            number(bytes)
        };
        let numbers = raw.as_chunks::<W>().0;
        let count = self.shape.iter().product();
        if count == 0 {
            return Vec::new();
        }
        if row_major(&self.shape).is_some_and(|rows| rows == self.stride) {
            return numbers[self.offset..self.offset + count].iter().map(read).collect();
        }
        let mut out = Vec::with_capacity(count);
        self.visit(0, self.offset, &mut |at| out.push(read(&numbers[at])));
        out
    }

    /// Visits the places of the numbers from dimension `d` on, in row-major order.
    fn visit(&self, d: usize, at: usize, number: &mut impl FnMut(usize)) {
        if d == self.shape.len() {
            return number(at);
        }
        for i in 0..self.shape[d] {
            self.visit(d + 1, at + i * self.stride[d], number);
        }
    }
}

/// The strides of an array whose last index runs fastest.
fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    strides(shape.iter().rev()).map(|mut s| {
        s.reverse();
        s
    })
}

/// The strides of an array whose first index runs fastest, as Fortran has it.
pub(super) fn column_major(shape: &[usize]) -> Option<Vec<usize>> {
    strides(shape.iter())
}

fn strides<'a>(fastest_first: impl Iterator<Item = &'a usize>) -> Option<Vec<usize>> {
    let mut next = 1usize;
    let step = |n: &usize| {
        let stride = next;
        next = next.checked_mul((*n).max(1))?;
        Some(stride)
    };
    fastest_first.map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::bytes::Bytes;

    fn storage(count: usize) -> Storage {
        Storage::Plain(Bytes::new((0..count).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<_>>()))
    }

    fn view(count: usize, offset: usize, shape: &[usize], stride: &[usize]) -> Parsed<View> {
        View::new(storage(count), Number::F32, offset, shape.to_vec(), stride.to_vec())
    }

    #[test]
    fn strides_say_which_numbers_in_which_order() {
        let values = |v: Parsed<View>| v.unwrap().values().unwrap();
        assert_eq!(values(view(6, 0, &[2, 3], &[3, 1])), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(values(view(6, 0, &[3, 2], &[1, 3])), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(values(view(6, 1, &[2], &[4])), [1., 5.]);
        assert_eq!(values(view(6, 5, &[], &[])), [5.]);
        assert_eq!(values(view(6, 0, &[2, 0], &[1, 1])), [0.0f32; 0]);
        assert_eq!(values(View::rows(storage(6), Number::F32, vec![3, 1, 2])), [0., 1., 2., 3., 4., 5.]);
    }

    #[test]
    fn what_does_not_lie_in_the_storage_is_refused() {
        for (offset, shape, stride) in [
            (1, vec![2, 3], vec![3, 1]),
            (0, vec![7], vec![1]),
            (usize::MAX, vec![2], vec![1]),
            (0, vec![2], vec![usize::MAX]),
            (0, vec![usize::MAX, 2], vec![1, 1]),
            (0, vec![7, 1], vec![0, 0]),
            (0, vec![usize::MAX, usize::MAX, 0], vec![0, 0, 0]),
            (0, vec![1; 65], vec![0; 65]),
            (0, vec![2], vec![1, 1]),
        ] {
            assert!(view(6, offset, &shape, &stride).is_err(), "{offset} {shape:?} {stride:?}");
        }
    }

    #[test]
    fn bytes_may_come_in_the_other_order() {
        let bytes = Storage::Plain(Bytes::new([1.5f32, -2.0].iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<_>>()));
        let view = View::rows(bytes, Number::F32, vec![2]).unwrap().big_endian(true);
        assert_eq!(view.values().unwrap(), [1.5, -2.0]);
    }
}
