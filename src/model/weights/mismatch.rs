//! What to say when a file's tensors are not a network's, and which names could be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::rename::{Rules, captures, fill};

/// Names with their shapes; `None` where the shape is not known.
pub(super) type Shapes<'a> = BTreeMap<&'a str, Option<&'a [usize]>>;

/// Names shown of each kind, at most.
const SHOWN: usize = 4;
/// Names looked at for a table of renames, on each side.
const LOOKED_AT: usize = 1000;
/// Lines of the table of renames.
const RULES: usize = 24;

/// How a network and a file differ.
#[derive(Default)]
pub(super) struct Mismatch<'a> {
    /// Wanted, and not in the file.
    pub(super) missing: Shapes<'a>,
    /// In the file, and not wanted.
    pub(super) unexpected: Shapes<'a>,
    /// Name, shape in the file, shape wanted.
    pub(super) misshapen: Vec<(&'a str, &'a [usize], &'a [usize])>,
    /// Wanted, in the file, and why they cannot be read.
    pub(super) unreadable: Vec<(&'a str, &'a str)>,
}

impl Mismatch<'_> {
    /// What is wrong, in one line; `None` where nothing is.
    pub(super) fn problem(&self) -> Option<String> {
        let missing = self.missing.iter().map(|(name, shape)| match nearest(name, *shape, &self.unexpected) {
            Some(near) => format!("{name} (near: {near})"),
            None => (*name).to_owned(),
        });
        let shapes = self.misshapen.iter();
        let shapes = shapes
            .map(|(name, found, wanted)| format!("{name} is {found:?}, wanted {wanted:?}{}", order(found, wanted)));
        let parts = [
            part("missing", missing),
            part("unexpected", self.unexpected.keys().map(|name| (*name).to_owned())),
            part("of another shape", shapes),
            part("unreadable", self.unreadable.iter().map(|(name, why)| format!("{name} {why}"))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// A table for the study file that gives names of the file to what is missing; `None` where no shapes agree.
    pub(super) fn table(&self) -> Option<String> {
        let rules = suggest(&self.unexpected, &self.missing);
        let lines: Vec<_> = rules.iter().take(RULES).collect();
        let mut text = String::from(
            "if the file is of another network, name that one (`cavern ls models`); if these names are the same tensors, write \
             in the study file\n\n[model.rename]\n",
        );
        for (theirs, ours) in &lines {
            writeln!(text, "{theirs:?} = {ours:?}").ok()?;
        }
        if rules.len() > lines.len() {
            writeln!(text, "# and {} more", rules.len() - lines.len()).ok()?;
        }
        (!rules.is_empty()).then(|| text.trim_end().to_owned())
    }
}

/// How many there are of a kind, and the first of them.
fn part(what: &str, mut names: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let count = names.len();
    let shown: Vec<String> = names.by_ref().take(SHOWN).collect();
    let more = if count > shown.len() { format!(" and {} more", count - shown.len()) } else { String::new() };
    (count > 0).then(|| format!("{count} {what}: {}{more}", shown.join(", ")))
}

/// Whether one shape is the other with its axes in another order, in words.
fn order(found: &[usize], wanted: &[usize]) -> &'static str {
    let sorted = |shape: &[usize]| {
        let mut shape = shape.to_vec();
        shape.sort_unstable();
        shape
    };
    match found.len() {
        2 if found[0] == *wanted.last().unwrap_or(&0) && sorted(found) == sorted(wanted) => {
            " (transposed: save it as `x.T`)"
        }
        3.. if sorted(found) == sorted(wanted) => " (axes in another order, as in channels-last files)",
        _ => "",
    }
}

/// The likeliest name, of the same shape if there is one.
fn nearest<'a>(name: &str, shape: Option<&[usize]>, others: &Shapes<'a>) -> Option<&'a str> {
    let score = |other: &str, found: Option<&[usize]>| likeness(other, name) + 10.0 * f64::from(found == shape);
    let scored = others.iter().take(LOOKED_AT).map(|(other, found)| (score(other, *found), *other));
    scored.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1))).map(|(_, other)| other)
}

/// Rules that make names of the file names that are missing: those that explain most first turned into patterns.
fn suggest(unexpected: &Shapes<'_>, missing: &Shapes<'_>) -> Rules {
    let pairs = pairs(unexpected, missing);
    let meant: BTreeMap<&str, &str> = pairs.iter().copied().collect();
    let mut rules = Rules::new();
    let mut explained = BTreeSet::new();
    for (theirs, ours) in &pairs {
        if explained.contains(theirs) {
            continue;
        }
        let (pattern, target) = generalise(theirs, ours);
        // A pattern has to be right about every name it matches.
        let matched = unexpected.keys().filter_map(|name| Some((*name, fill(&target, &captures(&pattern, name)?))));
        let matched: Vec<(&str, String)> = matched.collect();
        if matched.iter().all(|(name, becomes)| meant.get(name).is_some_and(|ours| ours == becomes)) {
            explained.extend(matched.into_iter().map(|(name, _)| name));
            rules.insert(pattern, target);
        } else {
            explained.insert(theirs);
            rules.insert((*theirs).to_owned(), (*ours).to_owned());
        }
    }
    rules
}

/// Pairs of names with one shape, the likeliest first, each name once; in the order of the file's names.
fn pairs<'a>(unexpected: &Shapes<'a>, missing: &Shapes<'a>) -> Vec<(&'a str, &'a str)> {
    let mut scored = Vec::new();
    for (theirs, shape) in unexpected.iter().take(LOOKED_AT) {
        let alike = missing.iter().take(LOOKED_AT).filter(|(_, wanted)| shape.is_some() && *wanted == shape);
        scored.extend(alike.map(|(ours, _)| (likeness(theirs, ours), *theirs, *ours)));
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut given, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for (_, theirs, ours) in scored {
        if !given.contains(theirs) && !taken.contains(ours) {
            given.insert(theirs);
            taken.insert(ours);
            pairs.push((theirs, ours));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Names are alike that end alike, have the same numbers, and share letters.
fn likeness(theirs: &str, ours: &str) -> f64 {
    let ends = theirs.rsplit('.').zip(ours.rsplit('.')).take_while(|(a, b)| a == b).count();
    let same_numbers = numbers(theirs) == numbers(ours);
    ends.min(4) as f64 + 2.0 * f64::from(same_numbers) + strsim::jaro_winkler(theirs, ours)
}

fn numbers(name: &str) -> Vec<&str> {
    name.split('.').filter(|part| is_number(part)).collect()
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}

/// A rule for a pair of names: their common end becomes a `*`, and so do the numbers where both have the same.
fn generalise(theirs: &str, ours: &str) -> (String, String) {
    let (a, b): (Vec<&str>, Vec<&str>) = (theirs.split('.').collect(), ours.split('.').collect());
    let shared = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - shared], &b[..b.len() - shared]);
    let only_numbers =
        |parts: &[&str]| -> Vec<String> { parts.iter().filter(|p| is_number(p)).map(|p| (*p).to_owned()).collect() };
    let star = only_numbers(a) == only_numbers(b);
    let pattern = |parts: &[&str]| {
        let mut parts: Vec<&str> = parts.iter().map(|p| if star && is_number(p) { "*" } else { p }).collect();
        if shared > 0 {
            parts.push("*");
        }
        parts.join(".")
    };
    (pattern(a), pattern(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(theirs: &[(&str, &[usize])], ours: &[(&str, &[usize])]) -> Vec<String> {
        let theirs: Shapes<'_> = theirs.iter().map(|(n, s)| (*n, Some(*s))).collect();
        let ours: Shapes<'_> = ours.iter().map(|(n, s)| (*n, Some(*s))).collect();
        suggest(&theirs, &ours).into_iter().map(|(t, o)| format!("{t} = {o}")).collect()
    }

    #[test]
    fn a_wrapper_is_one_rule() {
        let theirs: &[(&str, &[usize])] =
            &[("net.a.0.weight", &[2, 3]), ("net.a.1.weight", &[2, 3]), ("net.fc.bias", &[5])];
        let ours: &[(&str, &[usize])] = &[("a.0.weight", &[2, 3]), ("a.1.weight", &[2, 3]), ("fc.bias", &[5])];
        assert_eq!(table(theirs, ours), ["net.* = *"]);
    }

    #[test]
    fn numbers_and_ends_become_stars() {
        let theirs: &[(&str, &[usize])] = &[
            ("encoder.layer.0.attention.query.weight", &[4, 4]),
            ("encoder.layer.1.attention.query.weight", &[4, 4]),
            ("encoder.layer.0.attention.query.bias", &[4]),
            ("encoder.layer.1.attention.query.bias", &[4]),
            ("pooler.weight", &[9, 9]),
        ];
        let ours: &[(&str, &[usize])] = &[
            ("blocks.0.attn.q.weight", &[4, 4]),
            ("blocks.1.attn.q.weight", &[4, 4]),
            ("blocks.0.attn.q.bias", &[4]),
            ("blocks.1.attn.q.bias", &[4]),
        ];
        assert_eq!(table(theirs, ours), ["encoder.layer.*.attention.query.* = blocks.*.attn.q.*"]);
    }

    #[test]
    fn a_pattern_that_would_be_wrong_about_a_name_is_not_suggested() {
        let theirs: &[(&str, &[usize])] = &[("old.x.weight", &[2]), ("old.y.weight", &[3])];
        let ours: &[(&str, &[usize])] = &[("new.x.weight", &[2]), ("new.z.weight", &[3])];
        assert_eq!(table(theirs, ours), ["old.x.weight = new.x.weight", "old.y.* = new.z.*"]);
        assert!(table(&[("a", &[1])], &[("b", &[2])]).is_empty());
    }

    #[test]
    fn axes_in_another_order_are_pointed_out() {
        assert!(order(&[3, 5], &[5, 3]).contains("transposed"));
        assert!(order(&[3, 3, 8, 16], &[16, 8, 3, 3]).contains("channels-last"));
        assert_eq!(order(&[3, 5], &[5, 4]), "");
        assert_eq!(order(&[3], &[4]), "");
    }
}
