//! Small tables of comma-separated values with a header line.

use std::path::Path;

use csv::{ErrorKind, Position, StringRecord};

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
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or a row has more or fewer cells than the header.
    pub fn read(path: &Path, hint: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(path, "there is no such file", hint),
            _ => Error::file(path, format!("cannot be read: {e}"), hint),
        })?;
        let wrong = |e: csv::Error| match e.kind() {
            ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(0, |pos| line(&text, pos));
                Error::file(path, format!("line {line} has {len} cells, the header {expected_len}"), hint)
            }
            _ => Error::file(path, format!("cannot be read: {e}"), hint),
        };
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let cells = |record: &StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
        let columns = cells(reader.headers().map_err(wrong)?);
        let rows = reader.records().map(|row| Ok(cells(&row.map_err(wrong)?))).collect::<Result<_>>()?;
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

/// The line a record stands on. Its position is where the one before ended: line ends and empty lines come first.
fn line(text: &str, position: &Position) -> usize {
    let (before, behind) = text.split_at_checked(position.byte() as usize).unwrap_or((text, ""));
    let ends = behind.find(|c| c != '\r' && c != '\n').unwrap_or(behind.len());
    1 + [before, &behind[..ends]].iter().map(|part| part.matches('\n').count()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "w,x,y,z\na,,\"b, \"\"c\"\"\",d\n").unwrap();
        assert_eq!(Table::read(&path, "help").unwrap().rows, [["a", "", r#"b, "c""#, "d"]]);
        std::fs::write(&path, "").unwrap();
        assert!(Table::read(&path, "help").unwrap().columns.is_empty());
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
