//! `cavern completions`: what a shell needs to complete cavern's commands and options.

use std::io::Write;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};

/// Prints the script of a shell.
///
/// # Errors
/// When it cannot be written.
pub fn run(args: &CompletionsArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    // In memory first: the generator panics where a reader has gone.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cavern", &mut script);
    out.write_all(&script).context("cannot write to stdout")
}
