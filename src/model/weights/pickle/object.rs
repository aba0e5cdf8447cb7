//! What a pickle's values are, and what becomes of a name that is applied to arguments.

use super::names::Meaning;
use crate::model::weights::Parsed;
use crate::model::weights::view::{MAX_DIMENSIONS, Number};

/// A value on the machine's stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Mark,
    /// Something that weights do not depend on: `None`, a truth value, a float, an option.
    Beside,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Name(Meaning),
    /// By its number on the heap.
    Object(usize),
}

/// A value on the machine's heap.
#[derive(Debug)]
pub(super) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Stored<'a>),
    Tensor(Box<Strided<'a>>),
    /// A tensor that is no plain array of numbers, and what it is.
    Unreadable(&'static str),
}

/// A storage that lies elsewhere in the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::model::weights) struct Stored<'a> {
    /// Bytes of a number.
    pub(in crate::model::weights) width: usize,
    /// Its numbers, or why they cannot be read.
    pub(in crate::model::weights) number: Result<Number, &'static str>,
    /// Its name.
    pub(in crate::model::weights) key: &'a str,
    /// How many numbers it has.
    pub(in crate::model::weights) count: usize,
    /// Where a part of it starts, in numbers.
    pub(super) start: usize,
}

/// A tensor: numbers of a storage.
#[derive(Debug)]
pub(super) struct Strided<'a> {
    pub(super) storage: Stored<'a>,
    pub(super) number: Result<Number, &'static str>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Vec<usize>,
}

/// What a call becomes.
pub(super) enum Built<'a> {
    Value(Value<'a>),
    Object(Object<'a>),
}

/// `('storage', type, key, place, count, view)`; a view is `(key, start, count)`.
pub(super) fn stored<'a>(heap: &[Object<'a>], id: Value<'a>) -> Parsed<Stored<'a>> {
    let id = tuple(heap, id).ok_or("a persistent id is no tuple")?;
    let [
        Value::Text("storage"),
        Value::Name(Meaning::Storage(width, number)),
        Value::Text(key),
        _,
        Value::Int(count),
        rest @ ..,
    ] = id
    else {
        return Err("a persistent id is no storage".into());
    };
    let view = rest.first().and_then(|view| tuple(heap, *view));
    let start = match view {
        Some([_, Value::Int(start), _]) => size(*start)?,
        Some(_) => return Err("a storage's part has no start".into()),
        None => 0,
    };
    Ok(Stored { width: *width, number: *number, key, count: size(*count)?, start })
}

/// Applies a name to arguments.
pub(super) fn build<'a>(heap: &[Object<'a>], callable: Value<'a>, arguments: Value<'a>) -> Parsed<Built<'a>> {
    let (Value::Name(name), Some(arguments)) = (callable, tuple(heap, arguments)) else {
        return Err("it calls what is no function".into());
    };
    match (name, arguments) {
        // `_rebuild_from_type(function, class, arguments, state)`
        (Meaning::Subclass, [Value::Name(inner), _, arguments, ..]) if *inner != Meaning::Subclass => {
            made(heap, *inner, tuple(heap, *arguments).ok_or("it calls a function without arguments")?)
        }
        _ => made(heap, name, arguments),
    }
}

fn made<'a>(heap: &[Object<'a>], name: Meaning, arguments: &[Value<'a>]) -> Parsed<Built<'a>> {
    match (name, arguments) {
        (Meaning::Beside, _) => Ok(Built::Value(Value::Beside)),
        (Meaning::Dict, [.., last]) => Ok(Built::Object(Object::Dict(pairs(heap, *last)))),
        (Meaning::Dict, []) => Ok(Built::Object(Object::Dict(Vec::new()))),
        (Meaning::Unreadable(why), _) => Ok(Built::Object(Object::Unreadable(why))),
        (Meaning::Parameter, [tensor, ..]) => Ok(Built::Value(*tensor)),
        (Meaning::Tensor, [storage, offset, shape, stride, ..]) => tensor(heap, [storage, offset, shape, stride], None),
        (Meaning::TypedTensor, [storage, offset, shape, stride, _, _, Value::Name(Meaning::Type(number)), ..]) => {
            tensor(heap, [storage, offset, shape, stride], Some(*number))
        }
        _ => Err("a function is called with arguments it does not take".into()),
    }
}

fn tensor<'a>(
    heap: &[Object<'a>],
    [storage, offset, shape, stride]: [&Value<'a>; 4],
    number: Option<Result<Number, &'static str>>,
) -> Parsed<Built<'a>> {
    let (Some(Object::Storage(storage)), Value::Int(offset)) = (object(heap, *storage), offset) else {
        return Err("a tensor has no storage".into());
    };
    let (shape, stride) = (sizes(heap, *shape)?, sizes(heap, *stride)?);
    let number = number.unwrap_or(storage.number);
    Ok(Built::Object(Object::Tensor(Box::new(Strided {
        storage: *storage,
        number,
        offset: size(*offset)?,
        shape,
        stride,
    }))))
}

/// The pairs an OrderedDict is made of in pickles of Python 2.
fn pairs<'a>(heap: &[Object<'a>], value: Value<'a>) -> Vec<(Value<'a>, Value<'a>)> {
    let pair = |item: &Value<'a>| match object(heap, *item) {
        Some(Object::List(pair) | Object::Tuple(pair)) if pair.len() == 2 => Some((pair[0], pair[1])),
        _ => None,
    };
    match object(heap, value) {
        Some(Object::List(items)) => items.iter().filter_map(pair).collect(),
        Some(Object::Dict(entries)) => entries.clone(),
        _ => Vec::new(),
    }
}

pub(super) fn object<'h, 'a>(heap: &'h [Object<'a>], value: Value<'a>) -> Option<&'h Object<'a>> {
    if let Value::Object(id) = value { heap.get(id) } else { None }
}

fn tuple<'h, 'a>(heap: &'h [Object<'a>], value: Value<'a>) -> Option<&'h [Value<'a>]> {
    if let Some(Object::Tuple(values)) = object(heap, value) { Some(values) } else { None }
}

fn sizes(heap: &[Object<'_>], value: Value<'_>) -> Parsed<Vec<usize>> {
    let values =
        tuple(heap, value).filter(|v| v.len() <= MAX_DIMENSIONS).ok_or("a tensor's shape is no short tuple")?;
    let one = |v: &Value<'_>| if let Value::Int(n) = v { size(*n) } else { Err("a tensor's size is no number".into()) };
    values.iter().map(one).collect()
}

fn size(value: i64) -> Parsed<usize> {
    usize::try_from(value).map_err(|_| format!("a size is {value}"))
}
