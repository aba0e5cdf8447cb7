//! Operations that exporters write as several nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::data;
use super::proto::{GraphProto, NodeProto, TensorProto};
use super::translate::{makers, uses};

/// What a node gives together with those before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pattern<'a> {
    /// `(x - mean) / sqrt(variance + epsilon)` along one axis.
    Normal { x: &'a str, axis: i64, epsilon: f32 },
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu { x: &'a str },
}

/// Patterns by the number of their last node, and the nodes that are parts of them.
#[derive(Debug, Default)]
pub(super) struct Patterns<'a> {
    pub(super) last: BTreeMap<usize, Pattern<'a>>,
    /// The pattern's last node by the part.
    pub(super) parts: BTreeMap<usize, usize>,
}

/// Looks for patterns none of whose inner values is used elsewhere.
pub(super) fn find(graph: &GraphProto) -> Patterns<'_> {
    let finder = Finder { graph, makers: makers(graph), uses: uses(graph), numbers: numbers(graph) };
    let mut found = Patterns::default();
    for last in 0..graph.node.len() {
        let matched = match graph.node[last].op_type.as_str() {
            "Div" => finder.normal(last),
            "Mul" => finder.gelu(last),
            _ => None,
        };
        let Some((pattern, parts)) = matched else { continue };
        let parts: BTreeSet<usize> = parts.into_iter().collect();
        if parts.iter().all(|part| !found.parts.contains_key(part)) {
            found.last.insert(last, pattern);
            found.parts.extend(parts.into_iter().map(|part| (part, last)));
        }
    }
    found
}

/// The constants that are few enough to be a setting.
fn numbers(graph: &GraphProto) -> BTreeMap<&str, &TensorProto> {
    let small = |t: &&TensorProto| t.dims.iter().product::<i64>() == 1;
    let constant = |n: &'_ NodeProto| n.op_type == "Constant" && n.output.len() == 1;
    let inner = graph.node.iter().filter(|n| constant(n)).filter_map(|n| {
        let value = n.attribute.iter().find(|a| a.name == "value")?.t.as_ref()?;
        Some((n.output[0].as_str(), value))
    });
    graph.initializer.iter().map(|t| (t.name.as_str(), t)).chain(inner).filter(|(_, t)| small(t)).collect()
}

struct Finder<'a> {
    graph: &'a GraphProto,
    makers: BTreeMap<&'a str, usize>,
    uses: BTreeMap<&'a str, usize>,
    numbers: BTreeMap<&'a str, &'a TensorProto>,
}

type Match<'a> = Option<(Pattern<'a>, Vec<usize>)>;

impl<'a> Finder<'a> {
    /// The node of this operator that gives a value with this many users.
    fn maker(&self, name: &str, operator: &str, users: usize) -> Option<(usize, &'a NodeProto)> {
        let number = *self.makers.get(name)?;
        let node = &self.graph.node[number];
        (node.op_type == operator && self.uses.get(name) == Some(&users)).then_some((number, node))
    }

    fn number(&self, name: &str) -> Option<f32> {
        let tensor = data::tensor(self.numbers.get(name)?, std::path::Path::new("")).ok()?;
        let float = tensor.to_dtype(candle_core::DType::F32).ok()?;
        float.flatten_all().ok()?.to_vec1().ok()?.first().copied()
    }

    fn is(&self, name: &str, wanted: f32) -> bool {
        self.number(name).is_some_and(|number| (number - wanted).abs() <= 1e-4 * wanted.abs())
    }

    /// The two inputs of a node, either way round.
    fn pairs(node: &'a NodeProto) -> Vec<(&'a str, &'a str)> {
        match &node.input[..] {
            [a, b] => vec![(a, b), (b, a)],
            _ => Vec::new(),
        }
    }

    /// The single axis of a mean that keeps it.
    fn mean(&self, name: &str) -> Option<(usize, &'a str, i64)> {
        let (number, node) = self.maker(name, "ReduceMean", 1)?;
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
        if attribute("keepdims").is_some_and(|a| a.i == 0) {
            return None;
        }
        let axis = match (attribute("axes"), node.input.get(1)) {
            (Some(axes), None) if axes.ints.len() == 1 => axes.ints[0],
            (None, Some(axes)) => self.number(axes)? as i64,
            _ => return None,
        };
        Some((number, node.input.first()?, axis))
    }

    fn normal(&self, last: usize) -> Match<'a> {
        let [centred, root] = &self.graph.node[last].input[..] else { return None };
        let (root, node) = self.maker(root, "Sqrt", 1)?;
        let (sum, node) = self.maker(node.input.first()?, "Add", 1)?;
        let (variance, epsilon) = Self::pairs(node).into_iter().find_map(|(v, e)| Some((v, self.number(e)?)))?;
        let (mean_of_squares, squares, axis) = self.mean(variance)?;
        let square = match self.maker(squares, "Pow", 1) {
            Some((square, node)) if node.input.first()? == centred && self.is(node.input.get(1)?, 2.0) => (square, 2),
            Some(_) => return None,
            None => {
                let (square, node) = self.maker(squares, "Mul", 1)?;
                (node.input.iter().all(|i| i == centred)).then_some((square, 3))?
            }
        };
        let (difference, node) = self.maker(centred, "Sub", square.1)?;
        let [x, mean] = &node.input[..] else { return None };
        let (mean, of, along) = self.mean(mean)?;
        if of != x || along != axis {
            return None;
        }
        Some((Pattern::Normal { x, axis, epsilon }, vec![root, sum, mean_of_squares, square.0, difference, mean]))
    }

    /// `(x e) / 2`, `(x / 2) e` or `x (e / 2)`, where e is one more than an error function.
    fn gelu(&self, last: usize) -> Match<'a> {
        for (a, b) in Self::pairs(&self.graph.node[last]) {
            if self.is(b, 0.5)
                && let Some((product, node)) = self.maker(a, "Mul", 1)
            {
                for (x, e) in Self::pairs(node) {
                    if let Some(parts) = self.one_more(x, e) {
                        return Some((Pattern::Gelu { x }, [parts, vec![product]].concat()));
                    }
                }
            }
            if let Some((half, node)) = self.maker(a, "Mul", 1)
                && let Some((x, _)) = Self::pairs(node).into_iter().find(|(_, half)| self.is(half, 0.5))
            {
                if let Some(parts) = self.one_more(x, b) {
                    return Some((Pattern::Gelu { x }, [parts, vec![half]].concat()));
                }
                if let Some(parts) = self.one_more(b, x) {
                    return Some((Pattern::Gelu { x: b }, [parts, vec![half]].concat()));
                }
            }
        }
        None
    }

    /// The nodes that give `1 + erf(x / sqrt 2)`.
    fn one_more(&self, x: &str, name: &str) -> Option<Vec<usize>> {
        let (sum, node) = self.maker(name, "Add", 1)?;
        let (erf, _) = Self::pairs(node).into_iter().find(|(_, one)| self.is(one, 1.0))?;
        let (erf, node) = self.maker(erf, "Erf", 1)?;
        let scaled = node.input.first()?;
        let scale = match (self.maker(scaled, "Div", 1), self.maker(scaled, "Mul", 1)) {
            (Some((scale, node)), _) => {
                (node.input.first()? == x && self.is(node.input.get(1)?, std::f32::consts::SQRT_2)).then_some(scale)
            }
            (_, Some((scale, node))) => {
                let by = |(of, by): &(&str, &str)| *of == x && self.is(by, std::f32::consts::FRAC_1_SQRT_2);
                Self::pairs(node).iter().any(by).then_some(scale)
            }
            _ => None,
        }?;
        Some(vec![sum, erf, scale])
    }
}
