//! `--help` at 80 columns: texts are broken where they stand beside what they explain.
//!
//! clap's own breaking asks the terminal for its width by another crate; a fixed width reads well everywhere.

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;

/// A space at which no line ends.
const UNBROKEN: char = '\u{a0}';
/// Columns of a line.
const COLUMNS: usize = 80;
/// What an explanation has at least, however long the name before it is.
const LEAST: usize = 30;

/// The command line, parsed; ends the process on `--help` and mistakes.
pub fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The whole command line, with help that fits.
fn command() -> Command {
    let mut command = Cli::command();
    // Names of arguments are known in full only then.
    command.build();
    match command.get_about().map(|about| lines(about, 0)) {
        Some(about) => broken(command).about(about),
        None => broken(command),
    }
}

/// A command whose help fits.
fn broken(command: Command) -> Command {
    let width = |positional: bool| {
        let own = command.get_arguments().filter(|arg| arg.is_positional() == positional);
        own.map(|arg| margin(arg) + arg.to_string().chars().count()).max().unwrap_or(0)
    };
    let widths = [width(false), width(true)];
    let names = command.get_subcommands().map(|c| 4 + c.get_name().len()).max().unwrap_or(0);
    let command = command.mut_args(|arg| explained(arg, widths));
    let command = command.mut_subcommands(|sub| match sub.get_about().map(|about| lines(about, names)) {
        Some(about) => broken(sub).about(about),
        None => broken(sub),
    });
    match command.get_after_help().map(|text| lines(text, 0)) {
        Some(text) => command.after_help(text),
        None => command,
    }
}

/// Columns before and after the name of an argument: options have room for a short form.
fn margin(arg: &Arg) -> usize {
    if arg.is_positional() { 4 } else { 8 }
}

/// An argument whose explanation is broken, with the default at its end.
fn explained(arg: Arg, [options, positionals]: [usize; 2]) -> Arg {
    let Some(help) = arg.get_help() else { return arg };
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let shows = !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values();
    let between = arg.get_value_delimiter().unwrap_or(' ').to_string();
    let default = if shows { format!(" [default:{UNBROKEN}{}]", defaults.join(&between)) } else { String::new() };
    let text = StyledStr::from(format!("{help}{default}"));
    let text = lines(&text, if arg.is_positional() { positionals } else { options });
    arg.help(text).hide_default_value(true)
}

/// A text in lines that fit beside `before` columns. What can be copied, examples, stays on its line; what stands on lines
/// between is a paragraph.
fn lines(text: &StyledStr, before: usize) -> String {
    let width = COLUMNS.saturating_sub(before).max(LEAST);
    let (mut out, mut paragraph) = (Vec::new(), Vec::new());
    for line in text.to_string().lines() {
        if line.is_empty() || line.starts_with("  ") || line.starts_with("Example") {
            out.extend(filled(&mut paragraph, width));
            out.push(line.to_owned());
        } else {
            paragraph.push(line.to_owned());
        }
    }
    out.extend(filled(&mut paragraph, width));
    out.join("\n").replace(UNBROKEN, " ")
}

/// What was gathered, as lines; none where nothing was.
fn filled(paragraph: &mut Vec<String>, width: usize) -> Option<String> {
    let text = std::mem::take(paragraph).join(" ");
    (!text.is_empty()).then(|| fill(&text, width))
}

/// Words in as few lines as they fit in.
fn fill(text: &str, width: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 {
            let fits = column + 1 + length <= width;
            out.push(if fits { ' ' } else { '\n' });
            column = if fits { column + 1 } else { 0 };
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fill_lines() {
        assert_eq!(fill("a bc def g", 6), "a bc\ndef g");
        assert_eq!(fill("longer than that", 4), "longer\nthan\nthat");
        let text = StyledStr::from("one\ntwo\n\nExample: three\n  four\nfive\nsix");
        assert_eq!(lines(&text, 0), "one two\n\nExample: three\n  four\nfive six");
    }

    #[test]
    fn only_examples_are_wider_than_a_terminal() {
        fn check(mut command: Command) {
            for line in command.render_help().to_string().lines() {
                let example = line.starts_with("  cavern ") || line.starts_with("Example");
                assert!(example || line.chars().count() <= COLUMNS, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(|sub| check(sub.clone()));
        }
        check(command());
    }
}
