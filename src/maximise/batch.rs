//! Which pictures are climbed together.

use std::ops::Range;

use super::objective::Objective;

/// Cuts a list into batches of at most `most`, of objectives that read the same layers. Neighbours with one label are the
/// seeds of an objective; where they look at each other, they stay together, also if they are more.
pub fn batches<T>(
    all: &[T],
    most: usize,
    seeds_look: bool,
    of: impl Fn(&T) -> &Objective,
    label: impl Fn(&T) -> String,
) -> Vec<&[T]> {
    let alike = all.chunk_by(|a, b| of(a).nodes() == of(b).nodes());
    if !seeds_look {
        return alike.flat_map(|alike| alike.chunks(most)).collect();
    }
    let mut out = Vec::new();
    for mut rest in alike {
        while let Some(first) = seeds(rest, &label).first() {
            let ends = seeds(rest, &label).into_iter().map(|seeds| seeds.end);
            let end = ends.take_while(|end| *end <= most).last().unwrap_or(first.end);
            out.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out
}

/// The ranges of neighbours with one label. Two directions may be equal by chance, and are not each other's seeds.
pub(super) fn seeds<T>(all: &[T], label: impl Fn(&T) -> String) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |seeds: &[T]| {
        end += seeds.len();
        end - seeds.len()..end
    };
    all.chunk_by(|a, b| label(a) == label(b)).map(range).collect()
}
