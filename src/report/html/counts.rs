//! Samples by concept and part.

use serde::Serialize;

use super::super::page::ConceptCount;
use super::super::select::sorted;

/// One table: a line a concept, three numbers a part.
#[derive(Debug, Serialize)]
pub(super) struct Counts {
    parts: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    concept: String,
    cells: Vec<Option<ConceptCount>>,
}

/// In the order in which a part is used.
fn place(part: &str) -> usize {
    ["fit", "val", "test", "out"].iter().position(|p| *p == part).unwrap_or(usize::MAX)
}

pub(super) fn counts(counts: &[ConceptCount]) -> Counts {
    let mut parts = sorted(counts.iter().map(|c| c.part.as_str()));
    parts.sort_by_key(|p| place(p));
    let line = |concept: &str| Line {
        concept: concept.to_owned(),
        cells: parts
            .iter()
            .map(|part| counts.iter().find(|c| c.concept == concept && c.part == *part).cloned())
            .collect(),
    };
    let lines = sorted(counts.iter().map(|c| c.concept.as_str())).into_iter().map(line).collect();
    Counts { lines, parts: parts.into_iter().map(ToOwned::to_owned).collect() }
}
