//! A node of the file as an operator sees it.

use candle_core::{Result, bail};

use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, NodeProto, TensorProto};
use super::value::Value;

/// A node and its inputs; those that are left out are `None`.
pub(super) struct Call<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) inputs: Vec<Option<Value>>,
    /// Version of the operators.
    pub(super) opset: i64,
}

impl<'a> Call<'a> {
    fn attribute(&self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>> {
        let Some(found) = self.node.attribute.iter().find(|a| a.name == name) else { return Ok(None) };
        // Files of the first version do not tell the type.
        if ![AttributeType::Undefined, kind].contains(&found.r#type()) || !found.ref_attr_name.is_empty() {
            bail!("attribute `{name}` is {}, wanted {}", found.r#type().as_str_name(), kind.as_str_name());
        }
        Ok(Some(found))
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.attribute(name, AttributeType::Int)?.map_or(default, |a| a.i))
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.attribute(name, AttributeType::Float)?.map_or(default, |a| a.f))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        Ok(self.attribute(name, AttributeType::Ints)?.map(|a| a.ints.clone()))
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        Ok(self.attribute(name, AttributeType::Floats)?.map(|a| a.floats.clone()))
    }

    pub(super) fn text(&self, name: &str, default: &'a str) -> Result<&'a str> {
        let Some(found) = self.attribute(name, AttributeType::String)? else { return Ok(default) };
        std::str::from_utf8(&found.s).map_err(candle_core::Error::wrap)
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a TensorProto>> {
        Ok(self.attribute(name, AttributeType::Tensor)?.and_then(|a| a.t.as_ref()))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.node.attribute.iter().any(|a| a.name == name)
    }

    /// Refuses a setting that is not `wanted`.
    pub(super) fn only(&self, name: &str, wanted: i64) -> Result<()> {
        match self.int(name, wanted)? {
            value if value == wanted => Ok(()),
            value => bail!("{name} = {value} is not supported, {wanted} is"),
        }
    }

    /// The input with this number.
    pub(super) fn input(&self, number: usize) -> Result<&Value> {
        self.optional(number).ok_or_else(|| candle_core::Error::Msg(format!("input {number} is missing")))
    }

    pub(super) fn optional(&self, number: usize) -> Option<&Value> {
        self.inputs.get(number).and_then(Option::as_ref)
    }

    /// Whole numbers that an input gives, which has to be a constant.
    pub(super) fn integers(&self, number: usize) -> Result<Option<Vec<i64>>> {
        self.optional(number).map(Value::integers).transpose()
    }

    /// Whole numbers of an input or, in older versions, of an attribute.
    pub(super) fn setting(&self, number: usize, name: &str) -> Result<Option<Vec<i64>>> {
        match self.integers(number)? {
            Some(found) => Ok(Some(found)),
            None => self.ints(name),
        }
    }

    /// Whether the node has an output of this number that has a name.
    pub(super) fn wants(&self, output: usize) -> bool {
        self.node.output.get(output).is_some_and(|name| !name.is_empty())
    }
}

/// An axis of a value of this rank; negative ones count from behind.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let counted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match counted.and_then(|a| usize::try_from(a).ok()) {
        Some(axis) if axis < rank => Ok(axis),
        _ => bail!("axis {axis} of {rank}"),
    }
}

/// Different axes, in the order of their numbers.
pub(super) fn axes(listed: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut found = listed.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>>>()?;
    found.sort_unstable();
    let count = found.len();
    found.dedup();
    if found.len() < count {
        bail!("axes {listed:?} of {rank} name one twice");
    }
    Ok(found)
}
