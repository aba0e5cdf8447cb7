//! `[model.rename]`: names of a file made those of a network.
//!
//! A rule is `"theirs" = "ours"`. A `*` stands for any run of letters, and the `*`s of ours repeat those of theirs in
//! order. Exact names come before patterns, longer patterns before shorter ones; an empty name drops the tensor.

use std::collections::BTreeMap;

use crate::error::{Error, Result, nearest};

/// The table of a study file.
pub type Rules = BTreeMap<String, String>;

/// Renames the keys of a map; the rest keep theirs.
pub(super) fn rename<T>(tensors: BTreeMap<String, T>, rules: &Rules) -> Result<BTreeMap<String, T>> {
    let ordered = ordered(rules)?;
    let mut used = vec![false; ordered.len()];
    let mut renamed: BTreeMap<String, (String, T)> = BTreeMap::new();
    let known: Vec<String> = if rules.is_empty() { Vec::new() } else { tensors.keys().cloned().collect() };
    for (theirs, tensor) in tensors {
        let rule = ordered.iter().position(|(pattern, _)| captures(pattern, &theirs).is_some());
        let ours = match rule {
            Some(i) => {
                used[i] = true;
                fill(ordered[i].1, &captures(ordered[i].0, &theirs).unwrap_or_default())
            }
            None => theirs.clone(),
        };
        if ours.is_empty() {
            continue;
        }
        if let Some((other, _)) = renamed.get(&ours) {
            let problem = format!("`{other}` and `{theirs}` would both be called `{ours}`");
            return Err(Error::key("model.rename", problem, "drop one of them by giving it the name \"\""));
        }
        renamed.insert(ours, (theirs, tensor));
    }
    if let Some(i) = used.iter().position(|used| !used) {
        let pattern = ordered[i].0;
        let near = nearest(pattern, known.iter().map(String::as_str));
        let problem = format!("no tensor left in the file is called `{pattern}`");
        return Err(Error::key("model.rename", problem, format!("the nearest are {}", near.join(", "))));
    }
    Ok(renamed.into_iter().map(|(ours, (_, tensor))| (ours, tensor)).collect())
}

/// The most particular rule first.
fn ordered(rules: &Rules) -> Result<Vec<(&str, &str)>> {
    for (theirs, ours) in rules {
        if !ours.is_empty() && stars(theirs) != stars(ours) {
            let problem = format!("`{theirs}` has {} `*`, `{ours}` has {}", stars(theirs), stars(ours));
            return Err(Error::key("model.rename", problem, "write as many on both sides: each repeats one"));
        }
    }
    let mut ordered: Vec<(&str, &str)> = rules.iter().map(|(t, o)| (t.as_str(), o.as_str())).collect();
    ordered.sort_by_key(|(theirs, _)| (stars(theirs) > 0, std::cmp::Reverse(theirs.len() - stars(theirs))));
    Ok(ordered)
}

fn stars(pattern: &str) -> usize {
    pattern.matches('*').count()
}

/// What the `*`s of a pattern stand for in a name, as short as can be from the left; `None` where it does not match.
pub(super) fn captures<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let mut parts = pattern.split('*');
    let mut rest = name.strip_prefix(parts.next()?)?;
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty().then(Vec::new) };
    let mut found = Vec::with_capacity(parts.len());
    for part in middle {
        let (captured, after) = rest.split_once(part)?;
        found.push(captured);
        rest = after;
    }
    found.push(rest.strip_suffix(last)?);
    Some(found)
}

/// A pattern with its `*`s replaced, in order.
pub(super) fn fill(pattern: &str, found: &[&str]) -> String {
    let mut found = found.iter();
    let parts = pattern.split('*').enumerate();
    parts.fold(
        String::new(),
        |out, (i, part)| if i == 0 { part.to_owned() } else { out + found.next().unwrap_or(&"") + part },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(names: &[&str], rules: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let tensors = names.iter().map(|n| ((*n).to_owned(), (*n).to_owned())).collect();
        let rules = rules.iter().map(|(t, o)| ((*t).to_owned(), (*o).to_owned())).collect();
        Ok(rename(tensors, &rules)?.into_iter().collect())
    }

    fn names(names: &[&str], rules: &[(&str, &str)]) -> Vec<String> {
        renamed(names, rules).unwrap().into_iter().map(|(ours, theirs)| format!("{theirs}>{ours}")).collect()
    }

    #[test]
    fn stars_repeat_what_they_stood_for() {
        assert_eq!(captures("a.*.w", "a.1.w"), Some(vec!["1"]));
        assert_eq!(captures("a.*.w", "a.b.w.c.w"), Some(vec!["b.w.c"]));
        assert_eq!(captures("*.*", "a.b.c"), Some(vec!["a", "b.c"]));
        assert_eq!(captures("a", "ab"), None);
        assert_eq!(captures("ab*ba", "aba"), None);
        assert_eq!(
            names(&["encoder.layer.3.weight", "x"], &[("encoder.layer.*.weight", "blocks.*.weight")]),
            ["encoder.layer.3.weight>blocks.3.weight", "x>x"]
        );
        assert_eq!(names(&["backbone.a.b"], &[("backbone.*", "*")]), ["backbone.a.b>a.b"]);
    }

    #[test]
    fn particular_rules_come_first_and_empty_names_drop() {
        let rules = [("h.*", "head.*"), ("h.bias", "b"), ("old.*", "")];
        assert_eq!(names(&["h.bias", "h.weight", "old.x"], &rules), ["h.bias>b", "h.weight>head.weight"]);
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        let message = |names: &[&str], rules: &[(&str, &str)]| renamed(names, rules).unwrap_err().to_string();
        assert!(message(&["a", "b"], &[("a", "b")]).contains("both be called `b`"));
        assert!(message(&["conv1"], &[("conv2", "b")]).contains("nearest are conv1"));
        assert!(message(&["a"], &[("a*", "b")]).contains("has 1 `*`"));
    }

    proptest::proptest! {
        #[test]
        fn what_stars_stood_for_makes_the_name_again(pattern in "[ab.*]{0,8}", name in "[ab.]{0,12}") {
            if let Some(found) = captures(&pattern, &name) {
                assert_eq!((found.len(), fill(&pattern, &found)), (stars(&pattern), name));
            }
        }
    }
}
