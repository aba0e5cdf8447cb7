//! Names of classes from a file.

use std::path::Path;

use crate::error::{Error, Result};

/// The names in a file, one a line; empty lines at the end are left out.
///
/// # Errors
/// When the file cannot be read, or a line in it is empty.
pub fn read_labels(path: &Path) -> Result<Vec<String>> {
    let hint = "wanted a text file with the name of a class on every line, in the order of the logits";
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, format!("cannot be read: {e}"), hint))?;
    let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match names.iter().position(String::is_empty) {
        Some(line) => Err(Error::file(path, format!("line {} has no name", line + 1), hint)),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo::{Options, outline};

    #[test]
    fn names_are_lines_and_as_many_as_logits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.txt");
        std::fs::write(&path, "cat\r\ndog \nsea horse\n\n").unwrap();
        let names = read_labels(&path).unwrap();
        assert_eq!(names, ["cat", "dog", "sea horse"]);
        let options = |classes| Options { classes: Some(classes), ..Options::default() };
        let mut graph = outline("mlp", &options(3)).unwrap();
        graph.name_classes(names.clone()).unwrap();
        assert_eq!(graph.classes(), names);
        let message = outline("mlp", &options(4)).unwrap().name_classes(names).unwrap_err().to_string();
        assert!(message.contains("3 names for 4 logits"), "{message}");
    }

    #[test]
    fn a_line_without_a_name_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.txt");
        std::fs::write(&path, "cat\n\ndog\n").unwrap();
        let message = read_labels(&path).unwrap_err().to_string();
        assert!(message.contains("labels.txt") && message.contains("line 2"), "{message}");
        assert!(read_labels(&dir.path().join("none.txt")).is_err());
    }
}
