//! Long tables as data: a page with a hundred thousand numbers opens at once if their rows are made when they are looked at.

use std::collections::HashMap;

use serde::Serialize;

use super::super::row::MetricRow;

/// A page with more numbers than this makes its tables when they are opened.
const MOST_WRITTEN: usize = 20_000;

/// Whether a page leaves its long tables, and what belongs to single concepts, until they are looked at.
pub(super) fn is_long(rows: &[MetricRow]) -> bool {
    rows.len() > MOST_WRITTEN
}

/// The rows of a table, packed. A row is its cells' numbers in the list of words, in base 36, with commas between; a cell that
/// repeats the one above it is empty, and so is what follows the last that does not. `reports/page.js` unpacks it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Packed {
    words: Vec<String>,
    /// Rows with semicolons between.
    rows: String,
}

/// Packs rows of equally many cells.
pub(super) fn packed<const N: usize>(rows: &[[String; N]]) -> Packed {
    let mut words = Words::default();
    let mut above: &[String; N] = &std::array::from_fn(|_| String::new());
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(above)
            .map(|(own, above)| if own == above { String::new() } else { base36(words.number(own)) })
            .collect();
        lines.push(cells.join(",").trim_end_matches(',').to_owned());
        above = row;
    }
    Packed { words: words.list.into_iter().map(str::to_owned).collect(), rows: lines.join(";") }
}

/// Words in the order in which they were first met.
#[derive(Default)]
struct Words<'a> {
    list: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Words<'a> {
    fn number(&mut self, word: &'a str) -> usize {
        *self.numbers.entry(word).or_insert_with(|| {
            self.list.push(word);
            self.list.len() - 1
        })
    }
}

fn base36(mut number: usize) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(char::from_digit((number % 36) as u32, 36));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_like_the_one_above_is_not_written_again() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let found = packed(&[row(["", "a", "b"]), row(["", "a", "a"]), row(["c", "a", "a"])]);
        assert_eq!(found.words, ["a", "b", "c"]);
        assert_eq!(found.rows, ",0,1;,,0;2");
    }

    #[test]
    fn numbers_are_written_in_base_36() {
        assert_eq!([0, 35, 36, 46_655].map(base36), ["0", "z", "10", "zzz"]);
    }
}
