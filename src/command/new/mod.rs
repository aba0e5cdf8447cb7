//! `cavern new`: files to start from.

use std::io::Write;

use anyhow::Context as _;

use crate::cli::{NewArgs, NewSchema, NewStudy, NewWhat};
use crate::store::file::write_new;
use crate::study::schema;

/// A study on one's own pictures, to be filled in.
const TEMPLATE: &str = include_str!("study.toml");
/// A study that runs as it is.
const EXAMPLE: &str = include_str!("../../../probes/quickstart.toml");

/// What a study's schema is called where nothing else was asked for.
const SCHEMA: &str = "study.schema.json";

/// Writes what was asked for; the last line on stdout is the file.
///
/// # Errors
/// When the file is there already, or cannot be written.
pub fn run(args: &NewArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match &args.what {
        NewWhat::Study(args) => study(args, out),
        NewWhat::Schema(args) => write_schema(args, out),
    }
}

fn study(args: &NewStudy, out: &mut dyn Write) -> anyhow::Result<()> {
    let text = if args.example { EXAMPLE } else { TEMPLATE };
    // The first line that editors look for, where it leads somewhere.
    let has_schema = args.file.with_file_name(SCHEMA).is_file();
    let line = if has_schema { format!("#:schema ./{SCHEMA}\n") } else { String::new() };
    write_new(&args.file, format!("{line}{text}").as_bytes())?;
    let file = args.file.display();
    let next = if args.example { "run" } else { "edit it, then check it with" };
    let command = if args.example { "run" } else { "validate" };
    tracing::info!("next: {next} `cavern {command} {file}`");
    writeln!(out, "{file}").context("cannot write to stdout")
}

fn write_schema(args: &NewSchema, out: &mut dyn Write) -> anyhow::Result<()> {
    let schema = if args.survey { schema::survey() } else { schema::study() };
    write_new(&args.file, format!("{schema:#}\n").as_bytes())?;
    let file = args.file.display();
    tracing::info!("next: let a study's first line be `#:schema ./{file}`");
    writeln!(out, "{file}").context("cannot write to stdout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Study;

    #[test]
    fn both_are_studies_and_every_setting_of_the_template_is_explained() {
        for text in [TEMPLATE, EXAMPLE] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("study.toml");
            std::fs::write(&path, text).unwrap();
            Study::read(&path, &[]).unwrap();
        }
        let lines: Vec<&str> = TEMPLATE.lines().collect();
        let settings = |l: &str| !l.is_empty() && !l.starts_with('#');
        for [before, line] in lines.array_windows() {
            assert!(!settings(line) || before.starts_with("# "), "without a word before it: {line}");
        }
    }

    #[test]
    fn a_study_beside_a_schema_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let new = |what: NewWhat| run(&NewArgs { what }, &mut Vec::new()).unwrap();
        new(NewWhat::Study(NewStudy { file: at("before.toml"), example: false }));
        new(NewWhat::Schema(NewSchema { file: at(SCHEMA), survey: false }));
        new(NewWhat::Study(NewStudy { file: at("after.toml"), example: true }));
        let text = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        assert_eq!(text("before.toml"), TEMPLATE);
        assert_eq!(text("after.toml"), format!("#:schema ./study.schema.json\n{EXAMPLE}"));
        Study::read(&at("after.toml"), &[]).unwrap();
    }
}
