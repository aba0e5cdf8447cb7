//! The book says what is so: its commands run, its links lead somewhere, its reference is that of the types.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod commands;
#[path = "../common/fixtures.rs"]
mod fixtures;
mod links;
mod reference;
mod schema;

use std::path::{Path, PathBuf};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of the book, and what else is written for readers.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|p| root().join(p)).to_vec();
    let markdown = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let reports = std::fs::read_dir(root().join("reports")).unwrap().map(|e| e.unwrap().path());
    pages.extend(markdown(root().join("docs")));
    pages.extend(reports.map(|folder| folder.join("README.md")).filter(|page| page.is_file()));
    pages.retain(|page| page.extension().is_some_and(|e| e == "md"));
    pages.sort();
    pages
}

/// Files of the book that are made from the types; `CAVERN_BOOK=write` makes them anew.
#[test]
fn what_is_made_from_the_types_is_as_they_are() {
    use cavern::study::schema::{study, survey};
    let files = [
        ("docs/study.schema.json", format!("{:#}\n", study())),
        ("docs/survey.schema.json", format!("{:#}\n", survey())),
        ("docs/study.md", reference::page(&study(), &survey())),
    ];
    for (file, text) in files {
        let path = root().join(file);
        if std::env::var_os("CAVERN_BOOK").is_some_and(|v| v == "write") {
            std::fs::write(&path, &text).unwrap();
        }
        let is = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(is == text, "{file} is not what the types say: `just reference` makes it anew");
    }
}
