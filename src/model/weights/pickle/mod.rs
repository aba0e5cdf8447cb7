//! Python's pickles, as far as checkpoints need them: values are built, nothing is executed.
//!
//! A pickle is a program for a small stack machine. This one knows the instructions that build plain data, and the names
//! in [`names`]; an instruction or name outside these lists is refused. Values live on one heap and refer to each other
//! by number, so neither nesting nor cycles need any care, and texts stay in the file.

mod names;
mod object;
mod tables;

use std::collections::HashMap;

use super::Parsed;
pub(super) use object::Stored;
use object::{Object, Value};
pub(super) use tables::tables;

/// Values a pickle may push: a checkpoint of a network has some twenty for every tensor.
const MAX_VALUES: usize = 1 << 22;

/// A pickle that has run to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    heap: Vec<Object<'a>>,
    root: Value<'a>,
    /// Where the next one starts.
    pub(super) end: usize,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle that starts at a byte.
    pub(super) fn run(bytes: &'a [u8], start: usize) -> Parsed<Self> {
        let mut machine =
            Machine { bytes, at: start, pushed: 0, stack: Vec::new(), memo: HashMap::new(), heap: Vec::new() };
        loop {
            let at = machine.at;
            let code = machine.take(1)?[0];
            if code == b'.' {
                let root = machine.pop()?;
                return Ok(Self { heap: machine.heap, root, end: machine.at });
            }
            machine.step(code).map_err(|e| format!("{e} (byte {at})"))?;
        }
    }

    /// Whether it is just these bytes.
    pub(super) fn is_bytes(&self, wanted: &[u8]) -> bool {
        matches!(self.root, Value::Bytes(b) if b == wanted)
    }

    /// The texts of a list; `None` where it is something else.
    pub(super) fn texts(&self) -> Option<Vec<&'a str>> {
        let Value::Object(id) = self.root else { return None };
        let Object::List(items) = self.heap.get(id)? else { return None };
        items.iter().map(|item| if let Value::Text(text) = item { Some(*text) } else { None }).collect()
    }

    /// Every storage it refers to.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Stored<'a>> {
        self.heap.iter().filter_map(|o| if let Object::Storage(stored) = o { Some(stored) } else { None })
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pushed: usize,
    stack: Vec<Value<'a>>,
    memo: HashMap<usize, Value<'a>>,
    heap: Vec<Object<'a>>,
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|e| *e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("truncated: {count} bytes wanted at {}", self.at))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    /// A little-endian number of `width` bytes.
    fn unsigned(&mut self, width: usize) -> Parsed<usize> {
        Ok(self.take(width)?.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    /// A length of `width` bytes, and as many bytes.
    fn counted(&mut self, width: usize) -> Parsed<&'a [u8]> {
        let count = self.unsigned(width)?;
        self.take(count)
    }

    fn line(&mut self) -> Parsed<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(1000).position(|b| *b == b'\n').ok_or("a name has no end")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name is no text".into())
    }

    fn push(&mut self, value: Value<'a>) -> Parsed<()> {
        self.pushed += 1;
        if self.pushed > MAX_VALUES {
            return Err(format!("it makes more than {MAX_VALUES} values"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn make(&mut self, object: Object<'a>) -> Parsed<()> {
        self.heap.push(object);
        self.push(Value::Object(self.heap.len() - 1))
    }

    fn pop(&mut self) -> Parsed<Value<'a>> {
        self.stack.pop().ok_or_else(|| "the pickle's stack is empty".to_owned())
    }

    fn double(&mut self) -> Parsed<()> {
        let top = *self.stack.last().ok_or("the pickle's stack is empty")?;
        self.push(top)
    }

    /// Everything above the last mark.
    fn above_mark(&mut self) -> Parsed<Vec<Value<'a>>> {
        let mark = self.stack.iter().rposition(|v| *v == Value::Mark).ok_or("the pickle's mark is missing")?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    /// Runs one instruction of `pickletools`' list.
    fn step(&mut self, code: u8) -> Parsed<()> {
        match code {
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.push(Value::Mark)?,
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => self.double()?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.name(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.name(module, name)?,
                _ => return Err("a name is no text".into()),
            },
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memory(code)?,
            b'N' | 0x88 | 0x89 | b'G' | b'J' | b'K' | b'M' | 0x8a | 0x8b => self.number(code)?,
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e => self.text(code)?,
            b')' | b't' | 0x85..=0x87 | b']' | 0x8f | 0x91 | b'}' => self.container(code)?,
            b'a' | b'e' | 0x90 | b's' | b'u' => self.fill(code)?,
            b'Q' | b'R' | 0x81 | 0x92 | b'b' => self.object(code)?,
            other => return Err(format!("instruction 0x{other:02x} has no place in a checkpoint")),
        }
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Parsed<()> {
        let refused = || format!("it wants to use `{module}.{name}`, which no table of weights needs: refused");
        self.push(Value::Name(names::meaning(module, name).ok_or_else(refused)?))
    }

    fn memory(&mut self, code: u8) -> Parsed<()> {
        let index = match code {
            0x94 => self.memo.len(),
            b'q' | b'h' => self.unsigned(1)?,
            _ => self.unsigned(4)?,
        };
        if matches!(code, b'h' | b'j') {
            let value = self.memo.get(&index).copied().ok_or_else(|| format!("nothing was remembered as {index}"))?;
            return self.push(value);
        }
        let top = self.stack.last().copied().ok_or("there is nothing to remember")?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn number(&mut self, code: u8) -> Parsed<()> {
        let value = match code {
            b'G' => self.take(8).map(|_| Value::Beside)?,
            b'J' => Value::Int(i64::from(self.unsigned(4)? as u32 as i32)),
            b'K' => Value::Int(self.unsigned(1)? as i64),
            b'M' => Value::Int(self.unsigned(2)? as i64),
            0x8a => long(self.counted(1)?),
            0x8b => long(self.counted(4)?),
            _ => Value::Beside,
        };
        self.push(value)
    }

    fn text(&mut self, code: u8) -> Parsed<()> {
        let bytes = match code {
            b'U' | b'C' | 0x8c => self.counted(1)?,
            0x8d | 0x8e => self.counted(8)?,
            _ => self.counted(4)?,
        };
        let is_text = !matches!(code, b'B' | b'C' | 0x8e);
        let text = std::str::from_utf8(bytes).ok().filter(|_| is_text);
        self.push(text.map_or(Value::Bytes(bytes), Value::Text))
    }

    fn container(&mut self, code: u8) -> Parsed<()> {
        let object = match code {
            b')' => Object::Tuple(Vec::new()),
            b't' => Object::Tuple(self.above_mark()?),
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(code - 0x84)).ok_or("the pickle's stack is empty")?;
                Object::Tuple(self.stack.split_off(at))
            }
            0x91 => Object::List(self.above_mark()?),
            b']' | 0x8f => Object::List(Vec::new()),
            _ => Object::Dict(Vec::new()),
        };
        self.make(object)
    }

    /// Adds to the list, set or dict below the values.
    fn fill(&mut self, code: u8) -> Parsed<()> {
        let values = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.above_mark()?,
        };
        let in_pairs = matches!(code, b's' | b'u');
        let target = match self.stack.last() {
            Some(Value::Object(id)) => &mut self.heap[*id],
            // What is beside the weights is not looked at.
            Some(Value::Beside) => return Ok(()),
            _ => return Err("values are added to what holds none".into()),
        };
        match target {
            Object::List(list) if !in_pairs => list.extend(values),
            Object::Dict(dict) if in_pairs => dict.extend(values.as_chunks::<2>().0.iter().map(|[k, v]| (*k, *v))),
            _ => return Err("values are added to what holds none".into()),
        }
        Ok(())
    }

    fn object(&mut self, code: u8) -> Parsed<()> {
        match code {
            b'Q' => {
                let id = self.pop()?;
                let stored = object::stored(&self.heap, id)?;
                self.make(Object::Storage(stored))
            }
            // A state set on an object (an OrderedDict's `_metadata`) says nothing about the weights.
            b'b' => self.pop().map(drop),
            _ => {
                if code == 0x92 {
                    self.pop()?;
                }
                let (arguments, callable) = (self.pop()?, self.pop()?);
                match object::build(&self.heap, callable, arguments)? {
                    object::Built::Value(value) => self.push(value),
                    object::Built::Object(object) => self.make(object),
                }
            }
        }
    }
}

/// A little-endian two's complement integer; longer ones stay bytes.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Bytes(bytes);
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let start = if negative { -1i64 } else { 0 };
    Value::Int(bytes.iter().rev().fold(start, |n, b| n << 8 | i64::from(*b)))
}
