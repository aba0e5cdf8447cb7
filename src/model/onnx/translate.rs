//! Nodes of the file one by one, each after those whose results it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{Result, bail};

use super::build::{Alias, Build};
use super::call::Call;
use super::operators;
use super::pattern::{self, Pattern, Patterns};
use super::proto::tensor_shape_proto::dimension;
use super::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use super::value::{Array, Source, Value};

/// Height and width that are taken where a file leaves them free.
const SIZE: usize = 224;
/// Numbers that constants may be made of beside those of the file.
const SPARE: usize = 1 << 24;
/// Problems that are told at most.
const TOLD: usize = 20;

/// A network as nodes to be, and what stood in the way.
#[derive(Debug)]
pub(super) struct Translation {
    pub(super) build: Build,
    /// Names and values of the outputs.
    pub(super) outputs: Vec<(String, Value)>,
    /// Operators or settings that are not supported, with their nodes.
    pub(super) problems: Vec<String>,
}

/// Translates a network.
///
/// # Errors
/// When the file is no network: it lacks an input, or its nodes do not follow from each other.
pub(super) fn translate(model: &ModelProto, folder: &Path) -> Result<Translation> {
    let Some(graph) = &model.graph else { bail!("it has no graph") };
    let opset = opset(model)?;
    let (name, shape, axes) = input(graph)?;
    let problems = unknown(graph, opset);
    let mut translator = Translator {
        build: Build::new(shape, SPARE, folder),
        values: BTreeMap::from([(name.to_owned(), Array::node(0, shape.to_vec()).seen(axes))]),
        initialisers: graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
        uses: uses(graph),
        lost: BTreeSet::new(),
        patterns: pattern::find(graph),
        problems,
        opset,
    };
    let order = in_order(graph, name)?;
    if translator.problems.is_empty() {
        for node in order {
            translator.node(graph, node);
        }
    }
    let outputs = graph.output.iter().filter_map(|o| Some((o.name.clone(), translator.values.get(&o.name)?.clone())));
    Ok(Translation { outputs: outputs.collect(), build: translator.build, problems: translator.problems })
}

/// Version of ONNX's own operators.
pub(super) fn opset(model: &ModelProto) -> Result<i64> {
    let own = model.opset_import.iter().find(|o| is_own(&o.domain));
    match own.map(|o| o.version) {
        Some(version @ 7..=24) => Ok(version),
        Some(version) => bail!("its operators are those of version {version} (opset), 7 to 24 are read"),
        None => bail!("it does not tell the version of its operators (opset)"),
    }
}

fn is_own(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Operators that no function here translates.
fn unknown(graph: &GraphProto, opset: i64) -> Vec<String> {
    let is_known = |n: &&NodeProto| is_own(&n.domain) && operators::find(&n.op_type).is_some();
    graph.node.iter().filter(|n| !is_known(n)).map(|n| unsupported(n, opset)).collect()
}

fn unsupported(node: &NodeProto, opset: i64) -> String {
    let domain = if is_own(&node.domain) { String::new() } else { format!("{}.", node.domain) };
    format!("operator {domain}{} (node `{}`, opset {opset}) is not supported", node.op_type, label(node))
}

/// A node's name, or its first output's where it has none.
pub(super) fn label(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}

/// Sizes of a declared shape; free ones are `None`.
pub(super) fn declared(info: &ValueInfoProto) -> Vec<Option<usize>> {
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Vec::new();
    };
    let size = |value: &Option<dimension::Value>| match value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(*size).ok().filter(|s| *s > 0),
        _ => None,
    };
    tensor.shape.iter().flat_map(|s| &s.dim).map(|d| size(&d.value)).collect()
}

/// The inputs that no tensor of the file stands for.
pub(super) fn free_inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
    let given: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    graph.input.iter().filter(|i| !given.contains(i.name.as_str())).collect()
}

/// Name of the input, its shape `[channel, height, width]`, and where ONNX's axes are in it.
type Input<'a> = (&'a str, [usize; 3], Vec<Option<usize>>);

fn input(graph: &GraphProto) -> Result<Input<'_>> {
    let inputs = free_inputs(graph);
    let [info] = inputs[..] else {
        let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
        bail!("it has {} inputs ({}), networks of one are supported", names.len(), names.join(", "));
    };
    let dims = declared(info);
    let free = |size: Option<usize>| size.unwrap_or(SIZE);
    let is_colour = |size: Option<usize>| matches!(size, Some(1 | 3));
    let (shape, axes) = match dims[..] {
        [_, rows, columns, last] if is_colour(last) && !is_colour(rows) => {
            ([free(last), free(rows), free(columns)], vec![None, Some(1), Some(2), Some(0)])
        }
        [_, channels, rows, columns] => {
            ([channels.unwrap_or(3), free(rows), free(columns)], vec![None, Some(0), Some(1), Some(2)])
        }
        [_, Some(channels), Some(length)] => ([channels, 1, length], vec![None, Some(0), Some(2)]),
        [_, Some(features)] => ([features, 1, 1], vec![None, Some(0)]),
        _ => bail!(
            "its input `{}` is {dims:?}: [batch, channel, height, width], [batch, height, width, channel], \
             [batch, channel, length] and [batch, feature] are supported",
            info.name
        ),
    };
    if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_none_or(|n| n > 1 << 28) {
        bail!("its input `{}` is {dims:?}", info.name);
    }
    Ok((&info.name, shape, axes))
}

/// How many nodes take each value; the network's outputs count twice, so that nothing is put into them.
pub(super) fn uses(graph: &GraphProto) -> BTreeMap<&str, usize> {
    let mut uses = BTreeMap::new();
    let taken = graph.node.iter().flat_map(|n| &n.input);
    let kept = graph.output.iter().flat_map(|o| [&o.name; 2]);
    taken.chain(kept).for_each(|name| *uses.entry(name.as_str()).or_default() += 1);
    uses
}

/// The node that gives each value; the last where there are several.
pub(super) fn makers(graph: &GraphProto) -> BTreeMap<&str, usize> {
    let outputs = graph.node.iter().enumerate().flat_map(|(i, node)| node.output.iter().map(move |o| (o.as_str(), i)));
    outputs.filter(|(name, _)| !name.is_empty()).collect()
}

/// Nodes in an order in which each comes after those it takes from.
fn in_order(graph: &GraphProto, input: &str) -> Result<Vec<usize>> {
    let makers = makers(graph);
    let given = graph.node.iter().flat_map(|n| &n.output).filter(|o| !o.is_empty()).count();
    if given > makers.len() {
        bail!("two nodes give the same value");
    }
    let given: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).chain([input]).collect();
    let mut waits = vec![0usize; graph.node.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.input.iter().filter(|name| !name.is_empty() && !given.contains(name.as_str())) {
            match makers.get(name.as_str()) {
                Some(maker) => {
                    waits[i] += 1;
                    followers[*maker].push(i);
                }
                None => bail!("node `{}` takes `{name}`, which nothing gives", label(node)),
            }
        }
    }
    let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|i| waits[*i] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for follower in &followers[i] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                ready.insert(*follower);
            }
        }
    }
    match waits.iter().position(|w| *w > 0) {
        Some(i) => bail!("node `{}` waits for itself: its nodes go in a circle", label(&graph.node[i])),
        None => Ok(order),
    }
}

struct Translator<'a> {
    build: Build,
    values: BTreeMap<String, Value>,
    initialisers: BTreeMap<&'a str, &'a TensorProto>,
    uses: BTreeMap<&'a str, usize>,
    /// Values that follow from a node with a problem.
    lost: BTreeSet<&'a str>,
    patterns: Patterns<'a>,
    problems: Vec<String>,
    opset: i64,
}

impl<'a> Translator<'a> {
    fn node(&mut self, graph: &'a GraphProto, number: usize) {
        let node = &graph.node[number];
        if self.patterns.parts.contains_key(&number) {
            return;
        }
        if self.problems.len() >= TOLD || node.input.iter().any(|name| self.lost.contains(name.as_str())) {
            self.lost.extend(node.output.iter().map(String::as_str));
            return;
        }
        let first = self.build.drafts.len();
        let run = match self.patterns.last.get(&number).copied() {
            Some(pattern) => self.run_pattern(pattern),
            None => self.run(node),
        };
        match run {
            Ok(values) => {
                self.bind(node, values, first);
                self.name_parts(graph, number);
            }
            Err(e) => {
                let problem = format!("{} (node `{}`, opset {}): {e}", node.op_type, label(node), self.opset);
                self.problems.push(problem);
                self.build.name_helpers(first, label(node));
                self.lost.extend(node.output.iter().map(String::as_str));
            }
        }
    }

    fn run(&mut self, node: &'a NodeProto) -> Result<Vec<Value>> {
        let inputs = node.input.iter().map(|name| self.value(name)).collect::<Result<_>>()?;
        let call = Call { node, inputs, opset: self.opset };
        let Some(operator) = operators::find(&node.op_type) else { bail!("it is not supported") };
        let values = operator(&mut self.build, &call)?;
        if node.output.iter().skip(values.len()).any(|name| !name.is_empty() && self.uses.contains_key(name.as_str())) {
            bail!("only its first {} outputs are supported", values.len());
        }
        Ok(values)
    }

    fn run_pattern(&mut self, pattern: Pattern<'a>) -> Result<Vec<Value>> {
        let (Pattern::Normal { x: name, .. } | Pattern::Gelu { x: name }) = pattern;
        let Some(x) = self.value(name)? else { bail!("`{name}` has no value") };
        let value = match pattern {
            Pattern::Normal { axis, epsilon, .. } => operators::normal(&mut self.build, &x, axis, epsilon),
            Pattern::Gelu { .. } => operators::gelu(&mut self.build, &x),
        };
        Ok(vec![value?])
    }

    /// The names of a pattern's inner nodes are those of its parts.
    fn name_parts(&mut self, graph: &'a GraphProto, last: usize) {
        let Some(Value { array: Array { source: Source::Node(made), .. }, .. }) =
            graph.node[last].output.first().and_then(|name| self.values.get(name))
        else {
            return;
        };
        let made = *made;
        let parts: Vec<usize> = self.patterns.parts.iter().filter(|(_, of)| **of == last).map(|(p, _)| *p).collect();
        for part in parts {
            self.build.alias(label(&graph.node[part]), Alias::Part(made));
        }
    }

    /// What a name stands for; nothing where an input is left out.
    fn value(&mut self, name: &str) -> Result<Option<Value>> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        let Some(proto) = self.initialisers.get(name) else { bail!("`{name}` has no value") };
        let value = operators::initialiser(proto, self.build.folder())?;
        self.build.earn(value.array.shape.iter().product());
        self.values.insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    /// Gives a node's results their names.
    fn bind(&mut self, node: &'a NodeProto, values: Vec<Value>, first: usize) {
        let several = values.len() > 1;
        for (value, output) in values.into_iter().zip(&node.output) {
            self.build.name(&value.array, if several { output } else { label(node) });
            if let Source::Node(node) = value.array.source {
                self.build.alias(output, Alias::Same(node));
            }
            let sole = value.sole && self.uses.get(output.as_str()).is_none_or(|uses| *uses == 1);
            self.values.insert(output.clone(), Value { sole, ..value });
        }
        self.build.name_helpers(first, label(node));
        // Large tensors are not kept beyond their last use.
        for name in &node.input {
            if let Some(uses) = self.uses.get_mut(name.as_str()) {
                *uses = uses.saturating_sub(1);
                if *uses == 0 {
                    self.values.remove(name);
                }
            }
        }
    }
}
