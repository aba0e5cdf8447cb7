//! ONNX's operators: one function each, from a call to its results.

mod arithmetic;
mod constant;
mod conv;
mod gather;
mod layout;
mod norm;
mod pool;
mod product;
mod reduce;
mod resize;
mod window;

use candle_core::Result;

use super::build::Build;
use super::call::Call;
use super::value::Value;

pub(super) use arithmetic::gelu;
pub(super) use constant::initialiser;
pub(super) use norm::normal;

/// Gives a node's outputs, in order; those it does not give are not used.
pub(super) type Operator = fn(&mut Build, &Call<'_>) -> Result<Vec<Value>>;

/// The operator of this name.
pub(super) fn find(name: &str) -> Option<Operator> {
    TABLES.iter().flat_map(|table| table.iter()).find(|(known, _)| *known == name).map(|(_, operator)| *operator)
}

/// Operators of one file.
type Table = &'static [(&'static str, Operator)];

static TABLES: [Table; 9] = [
    arithmetic::OPERATORS,
    constant::OPERATORS,
    conv::OPERATORS,
    gather::OPERATORS,
    layout::OPERATORS,
    norm::OPERATORS,
    pool::OPERATORS,
    product::OPERATORS,
    reduce::OPERATORS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operator_is_listed_twice() {
        let mut names: Vec<&str> = TABLES.iter().flat_map(|t| t.iter()).map(|(name, _)| *name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(find("Conv").is_some() && find("Loop").is_none());
    }
}
