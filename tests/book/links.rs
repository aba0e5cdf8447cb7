//! Links that lead nowhere, and pages that the book forgets.

use std::collections::BTreeSet;
use std::path::Path;

use super::{pages, root};

/// Lines outside blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced && !line.starts_with("    ")
    })
}

/// Targets of links and pictures.
fn targets(text: &str) -> Vec<String> {
    let joined = prose(text).collect::<Vec<_>>().join("\n");
    // Code in a line is no link.
    let plain: String = joined.split('`').step_by(2).collect::<Vec<_>>().join("``");
    let ends = plain.match_indices("](").map(|(at, _)| &plain[at + 2..]);
    ends.filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned())).collect()
}

/// The names that headings are reached by, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let titles = prose(text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    let mut found = BTreeSet::new();
    for title in titles {
        let anchor: String = title.chars().filter_map(kept).collect();
        let mut name = anchor.clone();
        // A title that stands there again has a number.
        let mut number = 0;
        while !found.insert(name.clone()) {
            number += 1;
            name = format!("{anchor}-{number}");
        }
    }
    found
}

fn broken(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let is_broken = |target: &String| {
        if target.contains("://") || target.starts_with("mailto:") {
            return false;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let file = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
        let there = file.exists();
        let reached = || anchor.is_empty() || anchors(&std::fs::read_to_string(&file).unwrap()).contains(anchor);
        !there || !reached()
    };
    let said = |target: String| format!("{}: {target}", page.strip_prefix(root()).unwrap().display());
    targets(&text).into_iter().filter(is_broken).map(said).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let all: Vec<String> = pages().iter().flat_map(|page| broken(page)).collect();
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn every_page_is_in_the_book() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<String> = targets(&summary).into_iter().collect();
    for page in pages().iter().filter(|page| page.starts_with(root().join("docs"))) {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(name == "SUMMARY.md" || listed.contains(name), "docs/SUMMARY.md lacks {name}");
    }
}
