//! The number types that tensors may have on the CPU, and how products compute with them.

#![expect(clippy::inline_always, reason = "kernels take the instruction set of the function they are inlined into")]

use std::borrow::Cow;

use candle_core::WithDType;
use half::bf16;

use super::Real;
use super::tile::{Operand, PANEL, Pair};

/// A type of stored numbers: f32 for work, f64 for checks, bf16 to halve memory and double the arithmetic of a forward
/// pass.
pub(crate) trait Value: WithDType {
    /// What sums, biases and non-linearities are computed in.
    type Sum: Real + Value;
    /// What products multiply.
    type Operand: Operand<Sum = Self::Sum>;
    /// Neighbours in depth of one operand.
    const DEPTH: usize;

    /// The number as a sum.
    fn widen(self) -> Self::Sum;

    /// A sum as the nearest number.
    fn narrow(sum: Self::Sum) -> Self;

    /// Writes numbers that lie at `depth` of the right side into a row of a panel.
    fn place(row: &mut [Self::Operand], depth: usize, values: &[Self]);

    /// Rows of `depth` numbers as operands; a row ends in a zero where its depth is not a whole number of operands.
    fn operands(values: &[Self], depth: usize) -> Cow<'_, [Self::Operand]>;
}

/// Numbers that are their own operands.
macro_rules! single {
    ($kind:ty) => {
        impl Value for $kind {
            type Sum = $kind;
            type Operand = $kind;
            const DEPTH: usize = 1;

            #[inline(always)]
            fn widen(self) -> $kind {
                self
            }

            #[inline(always)]
            fn narrow(sum: $kind) -> $kind {
                sum
            }

            #[inline(always)]
            fn place(row: &mut [$kind], _: usize, values: &[$kind]) {
                // A whole row has a fixed length: a few wide moves instead of a call.
                match (<&mut [$kind; PANEL]>::try_from(&mut *row), <&[$kind; PANEL]>::try_from(values)) {
                    (Ok(row), Ok(values)) => *row = *values,
                    _ => row.copy_from_slice(values),
                }
            }

            fn operands(values: &[$kind], _: usize) -> Cow<'_, [$kind]> {
                Cow::Borrowed(values)
            }
        }
    };
}

single!(f32);
single!(f64);

impl Value for bf16 {
    type Sum = f32;
    type Operand = Pair;
    const DEPTH: usize = 2;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// To the nearest, to even at a tie; a NaN stays one.
    #[inline(always)]
    fn narrow(sum: f32) -> Self {
        let bits = sum.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        Self::from_bits(if sum.is_nan() { (bits >> 16 | 0x40) as u16 } else { rounded as u16 })
    }

    #[inline(always)]
    fn place(row: &mut [Pair], depth: usize, values: &[Self]) {
        if depth.is_multiple_of(2) {
            row.iter_mut().zip(values).for_each(|(pair, value)| *pair = Pair::new(*value, Self::ZERO));
        } else {
            row.iter_mut().zip(values).for_each(|(pair, value)| *pair = pair.with_second(*value));
        }
    }

    fn operands(values: &[Self], depth: usize) -> Cow<'_, [Pair]> {
        let rows = values.chunks_exact(depth);
        rows.flat_map(|row| row.chunks(2).map(|two| Pair::new(two[0], *two.get(1).unwrap_or(&Self::ZERO)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_round_as_the_crate_rounds() {
        let mut rng = crate::seed::Seed(1).stream("bits");
        for _ in 0..20_000 {
            let value = f32::from_bits(rand::RngExt::random(&mut rng));
            let (got, wanted) = (<bf16 as Value>::narrow(value), bf16::from_f32(value));
            assert!(got == wanted || (got.is_nan() && wanted.is_nan()), "{value:e}");
            assert_eq!(got.to_bits() >> 15, wanted.to_bits() >> 15);
        }
        assert!(<bf16 as Value>::narrow(f32::NAN).is_nan());
        assert_eq!(bf16::from_f32(1.5).widen(), 1.5);
    }

    #[test]
    fn rows_of_odd_depth_end_in_a_zero() {
        let v = |x: f32| bf16::from_f32(x);
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(v);
        let rows = bf16::operands(&values, 3);
        assert_eq!(
            rows.as_ref(),
            [
                Pair::new(v(1.0), v(2.0)),
                Pair::new(v(3.0), v(0.0)),
                Pair::new(v(4.0), v(5.0)),
                Pair::new(v(6.0), v(0.0))
            ]
        );
    }
}
