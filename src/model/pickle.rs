//! Checkpoints in torch's legacy format (before 1.6): five pickles, then the raw storages.
//!
//! The pickles are read by an interpreter that knows the few instructions and the few names such a file needs. A name
//! outside that list is refused, so nothing a file says is ever executed.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};

const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The callables a state dict is made of.
const ALLOWED: [&str; 4] = [
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.nn.parameter Parameter",
];
const STORAGES: [(&str, usize); 7] = [
    ("torch FloatStorage", 4),
    ("torch DoubleStorage", 8),
    ("torch HalfStorage", 2),
    ("torch LongStorage", 8),
    ("torch IntStorage", 4),
    ("torch ByteStorage", 1),
    ("torch BoolStorage", 1),
];

/// A value on the pickle machine's stack.
#[derive(Debug, Clone)]
enum Value {
    None,
    Bool,
    Int(i64),
    Bytes(Rc<Vec<u8>>),
    Text(Rc<str>),
    Tuple(Rc<Vec<Value>>),
    List(Rc<Vec<Value>>),
    Dict(Rc<Vec<(Value, Value)>>),
    Name(Rc<str>),
    Storage { kind: Rc<str>, key: Rc<str>, count: usize },
    Tensor(Rc<Lazy>),
    Mark,
}

/// A tensor whose storage is still to come.
#[derive(Debug)]
struct Lazy {
    kind: Rc<str>,
    key: Rc<str>,
    count: usize,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

/// Reads every tensor of the state dict as f32.
///
/// # Errors
/// When the file is truncated, is no legacy checkpoint, or names anything that a state dict does not need.
pub fn read_legacy(bytes: &[u8], path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let refuse = |problem: String| {
        let hint = "wanted a state dict saved by torch.save in its legacy format, or a .safetensors file";
        Error::file(path, problem, hint)
    };
    let mut reader = Reader { bytes, at: 0 };
    let parsed = (|| {
        let magic = reader.pickle()?;
        let is_magic = matches!(&magic, Value::Bytes(b) if b.as_slice() == MAGIC);
        if !is_magic {
            return Err("the first pickle is not torch's magic number".to_owned());
        }
        reader.pickle()?;
        reader.pickle()?;
        let dict = reader.pickle()?;
        let keys = reader.pickle()?;
        let storages = reader.storages(&dict, &keys)?;
        Ok((dict, storages))
    })();
    let (dict, storages) = parsed.map_err(&refuse)?;
    let mut tensors = BTreeMap::new();
    collect(&dict, "", &mut |name, lazy| {
        let values = lazy.values(&storages)?;
        let tensor = Tensor::from_vec(values, lazy.shape.as_slice(), device).map_err(|e| e.to_string())?;
        tensors.insert(name, tensor);
        Ok(())
    })
    .map_err(refuse)?;
    Ok(tensors)
}

/// Visits every tensor of nested dicts, names joined by dots; a lone `state_dict` key is not part of the names.
fn collect(
    value: &Value,
    prefix: &str,
    visit: &mut impl FnMut(String, &Lazy) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    let Value::Dict(entries) = value else { return Err("it holds no dict of tensors".into()) };
    for (key, value) in entries.iter() {
        let Value::Text(key) = key else { continue };
        match value {
            Value::Tensor(lazy) => visit(format!("{prefix}{key}"), lazy)?,
            Value::Dict(_) if &**key == "state_dict" => collect(value, prefix, visit)?,
            Value::Dict(_) => collect(value, &format!("{prefix}{key}."), visit)?,
            _ => {}
        }
    }
    Ok(())
}

type Parsed<T> = std::result::Result<T, String>;

impl Lazy {
    fn values(&self, storages: &BTreeMap<String, &[u8]>) -> Parsed<Vec<f32>> {
        let raw = storages.get(&*self.key).ok_or_else(|| format!("storage {} is not in the file", self.key))?;
        let width = width(&self.kind)?;
        let count: usize = self.shape.iter().product();
        let reach: usize =
            self.shape.iter().zip(&self.stride).map(|(n, s)| n.saturating_sub(1).saturating_mul(*s)).sum();
        if count > 0 && (self.offset.saturating_add(reach)).saturating_add(1).saturating_mul(width) > raw.len() {
            return Err(format!("a tensor {:?} reaches beyond its storage {}", self.shape, self.key));
        }
        let mut out = Vec::with_capacity(count);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..count {
            let at = self.offset + index.iter().zip(&self.stride).map(|(i, s)| i * s).sum::<usize>();
            out.push(number(&self.kind, &raw[at * width..(at + 1) * width]));
            for d in (0..index.len()).rev() {
                index[d] += 1;
                if index[d] < self.shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Ok(out)
    }
}

fn width(kind: &str) -> Parsed<usize> {
    STORAGES.iter().find(|(k, _)| *k == kind).map(|(_, w)| *w).ok_or_else(|| format!("{kind} is no storage type"))
}

fn number(kind: &str, b: &[u8]) -> f32 {
    match (kind, b) {
        ("torch FloatStorage", &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        ("torch HalfStorage", &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
        ("torch IntStorage", &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32,
        ("torch DoubleStorage", b) => <[u8; 8]>::try_from(b).map_or(f32::NAN, |b| f64::from_le_bytes(b) as f32),
        ("torch LongStorage", b) => <[u8; 8]>::try_from(b).map_or(f32::NAN, |b| i64::from_le_bytes(b) as f32),
        (_, b) => b.first().map_or(f32::NAN, |b| f32::from(*b)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|e| *e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("truncated: {count} bytes wanted at {}", self.at))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn unsigned(&mut self, count: usize) -> Parsed<usize> {
        Ok(self.take(count)?.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    fn line(&mut self) -> Parsed<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').ok_or("truncated: a line has no end")?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn text(&mut self, count: usize) -> Parsed<Value> {
        Ok(Value::Text(String::from_utf8_lossy(self.take(count)?).into()))
    }

    /// Runs one pickle to its end.
    fn pickle(&mut self) -> Parsed<Value> {
        let mut machine = Machine::default();
        loop {
            let at = self.at;
            let code = self.take(1)?[0];
            if code == b'.' {
                return machine.pop();
            }
            self.step(code, &mut machine).map_err(|e| format!("{e} (byte {at})"))?;
        }
    }

    fn step(&mut self, code: u8, m: &mut Machine) -> Parsed<()> {
        match code {
            0x80 => drop(self.take(1)?),
            b'(' => m.stack.push(Value::Mark),
            b'N' => m.stack.push(Value::None),
            0x88 | 0x89 => m.stack.push(Value::Bool),
            b'J' => {
                let bytes = self.take(4)?;
                m.stack.push(Value::Int(i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))));
            }
            b'K' => m.stack.push(Value::Int(self.unsigned(1)? as i64)),
            b'M' => m.stack.push(Value::Int(self.unsigned(2)? as i64)),
            0x8a => {
                let count = self.unsigned(1)?;
                let bytes = self.take(count)?;
                m.stack.push(long(bytes));
            }
            b'G' => drop((self.take(8)?, m.stack.push(Value::None))),
            b'X' => {
                let count = self.unsigned(4)?;
                m.stack.push(self.text(count)?);
            }
            b'U' => {
                let count = self.unsigned(1)?;
                m.stack.push(self.text(count)?);
            }
            b'q' => drop(self.unsigned(1).map(|i| m.remember(i))?),
            b'r' => drop(self.unsigned(4).map(|i| m.remember(i))?),
            b'h' => {
                let index = self.unsigned(1)?;
                m.recall(index)?;
            }
            b'j' => {
                let index = self.unsigned(4)?;
                m.recall(index)?;
            }
            b'c' => {
                let name = format!("{} {}", self.line()?, self.line()?);
                let known = ALLOWED.contains(&name.as_str()) || STORAGES.iter().any(|(k, _)| *k == name);
                if !known {
                    return Err(format!(
                        "it wants to use `{}`, which no state dict needs: refused",
                        name.replace(' ', ".")
                    ));
                }
                m.stack.push(Value::Name(name.into()));
            }
            other => m.run(other)?,
        }
        Ok(())
    }

    /// The raw storages behind the pickles: for each key an element count and the values.
    fn storages(&mut self, dict: &Value, keys: &Value) -> Parsed<BTreeMap<String, &'a [u8]>> {
        let mut widths = BTreeMap::new();
        collect(dict, "", &mut |_, lazy| {
            widths.insert(lazy.key.to_string(), (width(&lazy.kind)?, lazy.count));
            Ok(())
        })?;
        let Value::List(keys) = keys else { return Err("the last pickle is not a list of storages".into()) };
        let mut storages = BTreeMap::new();
        for key in keys.iter() {
            let Value::Text(key) = key else { return Err("a storage's key is not text".into()) };
            let count = self.unsigned(8)?;
            let (width, expected) = *widths.get(&**key).ok_or_else(|| format!("storage {key} belongs to no tensor"))?;
            if count != expected {
                return Err(format!("storage {key} has {count} values, {expected} were announced"));
            }
            storages.insert(key.to_string(), self.take(count.saturating_mul(width))?);
        }
        Ok(storages)
    }
}

/// A little-endian two's complement integer; longer ones stay bytes.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Bytes(Rc::new(bytes.to_vec()));
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let start = if negative { -1i64 } else { 0 };
    Value::Int(bytes.iter().rev().fold(start, |n, b| n << 8 | i64::from(*b)))
}

#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    memo: BTreeMap<usize, Value>,
}

impl Machine {
    fn pop(&mut self) -> Parsed<Value> {
        self.stack.pop().ok_or_else(|| "the pickle's stack is empty".to_owned())
    }

    fn remember(&mut self, index: usize) {
        if let Some(top) = self.stack.last() {
            self.memo.insert(index, top.clone());
        }
    }

    fn recall(&mut self, index: usize) -> Parsed<()> {
        let value = self.memo.get(&index).cloned().ok_or_else(|| format!("nothing was remembered as {index}"))?;
        self.stack.push(value);
        Ok(())
    }

    /// Everything above the last mark.
    fn above_mark(&mut self) -> Parsed<Vec<Value>> {
        let mark = self.stack.iter().rposition(|v| matches!(v, Value::Mark)).ok_or("the pickle's mark is missing")?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn run(&mut self, code: u8) -> Parsed<()> {
        match code {
            b')' => self.stack.push(Value::Tuple(Rc::default())),
            b']' => self.stack.push(Value::List(Rc::default())),
            b'}' => self.stack.push(Value::Dict(Rc::default())),
            b't' => {
                let values = self.above_mark()?;
                self.stack.push(Value::Tuple(Rc::new(values)));
            }
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let at = self.stack.len().checked_sub(count).ok_or("the pickle's stack is empty")?;
                let values = self.stack.split_off(at);
                self.stack.push(Value::Tuple(Rc::new(values)));
            }
            b'a' => {
                let value = self.pop()?;
                self.extend_list(vec![value])?;
            }
            b'e' => {
                let values = self.above_mark()?;
                self.extend_list(values)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(vec![key, value])?;
            }
            b'u' => {
                let values = self.above_mark()?;
                self.extend_dict(values)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.stack.push(storage(&id)?);
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.stack.push(call(&callable, &arguments)?);
            }
            // A state set on an object (an OrderedDict's `_metadata`) says nothing about the weights.
            b'b' => drop(self.pop()?),
            other => return Err(format!("instruction 0x{other:02x} has no place in a state dict")),
        }
        Ok(())
    }

    fn extend_list(&mut self, values: Vec<Value>) -> Parsed<()> {
        match self.stack.last_mut() {
            Some(Value::List(list)) => Rc::make_mut(list).extend(values),
            _ => return Err("values are added to what is no list".into()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, values: Vec<Value>) -> Parsed<()> {
        let Some(Value::Dict(dict)) = self.stack.last_mut() else {
            return Err("entries are added to what is no dict".into());
        };
        let dict = Rc::make_mut(dict);
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            dict.push((key, value));
        }
        Ok(())
    }
}

/// `('storage', type, key, place, count, view)`.
fn storage(id: &Value) -> Parsed<Value> {
    let Value::Tuple(id) = id else { return Err("a persistent id is no tuple".into()) };
    match id.as_slice() {
        [Value::Text(tag), Value::Name(kind), Value::Text(key), _, Value::Int(count), ..] if &**tag == "storage" => {
            let count = usize::try_from(*count).map_err(|_| "a storage's size is negative")?;
            Ok(Value::Storage { kind: kind.clone(), key: key.clone(), count })
        }
        _ => Err("a persistent id is no storage".into()),
    }
}

fn call(callable: &Value, arguments: &Value) -> Parsed<Value> {
    let (Value::Name(name), Value::Tuple(arguments)) = (callable, arguments) else {
        return Err("it calls what is no function".into());
    };
    match (&**name, arguments.as_slice()) {
        ("collections OrderedDict", []) => Ok(Value::Dict(Rc::default())),
        ("torch._utils _rebuild_parameter", [tensor, ..]) => Ok(tensor.clone()),
        (
            "torch._utils _rebuild_tensor_v2",
            [Value::Storage { kind, key, count }, Value::Int(offset), Value::Tuple(shape), Value::Tuple(stride), ..],
        ) => {
            let lazy = Lazy {
                kind: kind.clone(),
                key: key.clone(),
                count: *count,
                offset: usize::try_from(*offset).map_err(|_| "a tensor's offset is negative")?,
                shape: sizes(shape)?,
                stride: sizes(stride)?,
            };
            // A stride of zero could make a small file ask for a huge tensor.
            let elements = lazy.shape.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
            if lazy.shape.len() != lazy.stride.len() || elements.is_none_or(|n| n > lazy.count) {
                return Err(format!("a tensor {:?} does not fit its storage of {count}", lazy.shape));
            }
            Ok(Value::Tensor(Rc::new(lazy)))
        }
        _ => Err(format!("`{name}` is called with arguments it does not take")),
    }
}

fn sizes(values: &[Value]) -> Parsed<Vec<usize>> {
    let size = |v: &Value| match v {
        Value::Int(n) => usize::try_from(*n).map_err(|_| "a tensor's size is negative".to_owned()),
        _ => Err("a tensor's size is no number".to_owned()),
    };
    values.iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &[u8] = include_bytes!("../../tests/golden/legacy.pth");

    fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
        read_legacy(bytes, Path::new("x.pth"), &Device::Cpu)
    }

    #[test]
    fn reads_what_torch_saved() {
        let tensors = read(SMALL).unwrap();
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(names, ["a.weight", "steps", "transposed"]);
        assert_eq!(tensors["a.weight"].to_vec2::<f32>().unwrap(), [[0.0, 1.5, 3.0], [4.5, 6.0, 7.5]]);
        assert_eq!(tensors["transposed"].to_vec2::<f32>().unwrap(), [[0.0, 4.5], [1.5, 6.0], [3.0, 7.5]]);
        assert_eq!(tensors["steps"].to_scalar::<f32>().unwrap(), 7.0);
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..SMALL.len() {
            assert!(read(&SMALL[..end]).is_err(), "{end} of {} bytes", SMALL.len());
        }
    }

    #[test]
    fn no_damaged_byte_panics() {
        for at in 0..SMALL.len() {
            for value in [0, 0x28, 0x52, 0xff] {
                let mut bytes = SMALL.to_vec();
                bytes[at] = value;
                drop(read(&bytes));
            }
        }
    }

    #[test]
    fn nothing_is_executed() {
        let magic = [&[0x80, 2, 0x8a, 10], MAGIC.as_slice(), b"."].concat();
        let hostile = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.";
        let bytes = [magic.as_slice(), b"\x80\x02M\xe9\x03.", b"\x80\x02}.", hostile].concat();
        let message = read(&bytes).unwrap_err().to_string();
        assert!(message.contains("`os.system`") && message.contains("refused"), "{message}");
    }
}
