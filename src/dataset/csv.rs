//! Small tables of comma-separated values with a header line.

use std::path::Path;

use crate::error::{Error, Result};

/// A table: names of columns, and rows of as many cells.
#[derive(Debug)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a file. Cells may stand in double quotes, but not run over lines.
    ///
    /// # Errors
    /// When it cannot be read, or a row has more or fewer cells than the header.
    pub fn read(path: &Path, hint: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(path, "there is no such file", hint),
            _ => Error::file(path, format!("cannot be read: {e}"), hint),
        })?;
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let columns = lines.next().map_or_else(Vec::new, |(_, line)| cells(line));
        let mut rows = Vec::new();
        for (number, line) in lines {
            let row = cells(line);
            if row.len() != columns.len() {
                let (line, found, wanted) = (number + 1, row.len(), columns.len());
                return Err(Error::file(path, format!("line {line} has {found} cells, the header {wanted}"), hint));
            }
            rows.push(row);
        }
        Ok(Self { columns, rows })
    }

    /// The place of a column.
    ///
    /// # Errors
    /// When there is none of this name; `path` is the file.
    pub fn column(&self, name: &str, path: &Path, hint: &str) -> Result<usize> {
        let found = self.columns.iter().position(|c| c == name);
        found.ok_or_else(|| Error::file(path, format!("has no column `{name}`"), hint))
    }
}

/// The cells of a line; a double quote inside quotes is written twice.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            _ => cell.push(letter),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas() {
        assert_eq!(cells(r#"a,,"b, ""c""",d"#), ["a", "", r#"b, "c""#, "d"]);
        assert_eq!(cells(""), [""]);
    }

    #[test]
    fn rows_are_as_long_as_the_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "a,b\r\n1,2\r\n\r\n3\r\n").unwrap();
        let message = Table::read(&path, "help").unwrap_err().to_string();
        assert!(message.contains("line 4 has 1 cells, the header 2"), "{message}");
        std::fs::write(&path, "a,b\r\n1,2\r\n").unwrap();
        let table = Table::read(&path, "help").unwrap();
        assert_eq!(table.rows, [["1", "2"]]);
        assert!(table.column("c", &path, "help").unwrap_err().to_string().contains("`c`"));
        assert!(Table::read(&dir.path().join("x"), "help").unwrap_err().to_string().contains("no such file"));
    }
}
