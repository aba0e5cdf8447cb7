//! Units by name: what is typed for an objective.
//!
//! ```text
//! LAYER:12            channel 12 (its mean over positions), or number 12 of a vector: a logit
//! LAYER:tabby         the logit of a class, by its name
//! LAYER:12@3,4        one position, row 3 and column 4: a neuron, a patch
//! LAYER:12@centre     the middle position
//! LAYER:12@class      the class token
//! LAYER:head2         an attention head of a layer `...attn.heads`: the mean norm of its output
//! A + 0.5*B - C       a weighted sum
//! ```

use super::objective::{Objective, Reading, Term};
use super::view::View;
use crate::error::{Error, Result};
use crate::model::graph::{Graph, Op};

/// The objective that `text` names.
///
/// # Errors
/// When the text has no such form, or the network no such layer, unit or position; the message says what there is.
pub fn parse(graph: &Graph, text: &str) -> Result<Objective> {
    let terms = pieces(text).map(|(sign, piece)| {
        let (weight, name) = weighted(piece);
        let (node, reading) = unit(graph, name)?;
        Ok(Term { weight: sign * weight, node, reading })
    });
    let terms = terms.collect::<Result<Vec<_>>>()?;
    if terms.is_empty() {
        return Err(malformed(text, "nothing is named"));
    }
    Ok(Objective { terms })
}

/// The parts of a sum with their signs; a sign stands between spaces, as layers' names may hold one.
fn pieces(text: &str) -> impl Iterator<Item = (f64, &str)> {
    let mut sign = 1.0;
    let mut rest = text.trim();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = [" + ", " - "].iter().filter_map(|s| rest.find(s).map(|at| (at, *s))).min();
        let (piece, own) = (rest[..next.map_or(rest.len(), |(at, _)| at)].trim(), sign);
        (sign, rest) = match next {
            Some((at, separator)) => (if separator == " - " { -1.0 } else { 1.0 }, rest[at + 3..].trim()),
            None => (1.0, ""),
        };
        Some((own, piece))
    })
}

/// A factor before a star, or a leading minus.
fn weighted(piece: &str) -> (f64, &str) {
    if let Some((factor, rest)) = piece.split_once('*')
        && let Ok(factor) = factor.trim().parse::<f64>()
        && factor.is_finite()
    {
        return (factor, rest.trim());
    }
    piece.strip_prefix('-').map_or((1.0, piece), |rest| (-1.0, rest.trim()))
}

fn malformed(text: &str, problem: &str) -> Error {
    Error::data(format!("unit `{text}`"), problem, "write LAYER:UNIT, as in `logits:12` or `features.4:3@centre`")
}

fn unit(graph: &Graph, text: &str) -> Result<(usize, Reading)> {
    let Some((layer, unit)) = text.split_once(':') else { return Err(malformed(text, "it has no colon")) };
    let node = graph.layer(layer.trim())?;
    let view = View::of(graph.layout(node));
    let (unit, place) = unit.split_once('@').map_or((unit.trim(), None), |(unit, at)| (unit.trim(), Some(at.trim())));
    if let Some(head) = unit.strip_prefix("head").and_then(|n| n.trim().parse::<usize>().ok()) {
        return Ok((node, Reading::Norm(head_channels(graph, node, text, head)?)));
    }
    let channel = channel(graph, node, &view, unit)?;
    let mut direction = vec![0.0; view.channels];
    direction[channel] = 1.0;
    let reading = match place {
        None => Reading::Mean { direction, power: 0.0 },
        Some("class") => {
            if view.tokens() == view.positions() {
                return Err(malformed(text, "the layer has no class token"));
            }
            Reading::Token { direction, token: 0 }
        }
        Some(place) => Reading::Position { direction, power: 0.0, at: position(text, &view, place)? },
    };
    Ok((node, reading))
}

/// A channel by its number, or by a class's name where the layer has a value a class.
fn channel(graph: &Graph, node: usize, view: &View, unit: &str) -> Result<usize> {
    let (layer, classes) = (graph.layer_name(node), graph.classes());
    if let Ok(number) = unit.parse::<usize>() {
        if number < view.channels {
            return Ok(number);
        }
        let problem = format!("there is no unit {number}");
        let hint = format!("it has {}: 0 to {}", view.channels, view.channels.saturating_sub(1));
        return Err(Error::data(format!("layer `{layer}`"), problem, hint));
    }
    if classes.len() == view.channels && view.positions() == 1 {
        let found = classes.iter().position(|class| class.eq_ignore_ascii_case(unit));
        return found.ok_or_else(|| Error::unknown("class", unit, classes.iter().map(String::as_str)));
    }
    Err(malformed(unit, &format!("is no number, and `{layer}` has no classes")))
}

fn position(text: &str, view: &View, place: &str) -> Result<(usize, usize)> {
    let [height, width] = view.grid;
    if place == "centre" || place == "center" {
        return Ok((height / 2, width / 2));
    }
    let numbers = place.split_once(',').and_then(|(y, x)| Some((y.trim().parse().ok()?, x.trim().parse().ok()?)));
    match numbers {
        Some((y, x)) if y < height && x < width => Ok((y, x)),
        _ => {
            let problem = format!("`@{place}` is no position of its grid of {height} x {width}");
            Err(Error::data(format!("unit `{text}`"), problem, "write @ROW,COLUMN, @centre or @class"))
        }
    }
}

fn head_channels(graph: &Graph, node: usize, text: &str, head: usize) -> Result<std::ops::Range<usize>> {
    let Op::Attention { heads } = graph.op(node) else {
        return Err(malformed(text, "only layers that give the heads of an attention have heads"));
    };
    if head >= *heads {
        let problem = format!("there is no head {head}");
        return Err(Error::data(format!("unit `{text}`"), problem, format!("it has {heads}: 0 to {}", heads - 1)));
    }
    let size = View::of(graph.layout(node)).channels / heads;
    Ok(head * size..(head + 1) * size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo;
    use crate::seed::Seed;

    fn one(graph: &Graph, text: &str) -> Term {
        parse(graph, text).unwrap().terms.remove(0)
    }

    #[test]
    fn units_of_a_vision_transformer() {
        let graph = zoo::random("vit_tiny_patch16", Seed(1)).unwrap();
        let Reading::Mean { direction, .. } = one(&graph, "blocks.3.mlp.fc1:700").reading else { panic!("a mean") };
        assert_eq!((direction.len(), direction[700]), (768, 1.0));
        assert!(matches!(one(&graph, "blocks.3:5@class").reading, Reading::Token { token: 0, .. }));
        assert!(matches!(one(&graph, "blocks.3:5@2,13").reading, Reading::Position { at: (2, 13), .. }));
        assert!(matches!(one(&graph, "blocks.3:5@centre").reading, Reading::Position { at: (7, 7), .. }));
        assert!(matches!(one(&graph, "blocks.3.attn.heads:head2").reading, Reading::Norm(r) if r == (128..192)));
        let Reading::Mean { direction, .. } = one(&graph, "logits:tiger cat").reading else { panic!("a mean") };
        assert_eq!(direction[282], 1.0);
    }

    #[test]
    fn sums_have_weights_and_signs() {
        let graph = zoo::random("vit_tiny_patch16", Seed(1)).unwrap();
        let objective = parse(&graph, "logits:1 - 0.5*blocks.3:2 + -blocks.11:7@class").unwrap();
        let weights: Vec<f64> = objective.terms.iter().map(|t| t.weight).collect();
        assert_eq!(weights, [1.0, -0.5, -1.0]);
        assert_eq!(objective.nodes().len(), 3);
    }

    #[test]
    fn what_does_not_exist_is_told_with_what_does() {
        let graph = zoo::random("vit_tiny_patch16", Seed(1)).unwrap();
        for (text, part) in [
            ("logits", "no colon"),
            ("", "nothing is named"),
            ("logit:1", "`logits`"),
            ("logits:1000", "0 to 999"),
            ("logits:tigercat", "tiger cat"),
            ("blocks.3:cat", "is no number"),
            ("blocks.3:1@14,0", "14 x 14"),
            ("logits:1@class", "no class token"),
            ("blocks.3:head0", "attention"),
            ("blocks.3.attn.heads:head3", "0 to 2"),
        ] {
            let message = parse(&graph, text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
