//! `cavern man`: the manual pages.

use std::io::Write;

use anyhow::Context as _;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::{Cli, ManArgs};
use crate::store::file::write_atomic;

/// Prints the main page; with a folder, writes a page for every command there and prints the folder.
///
/// # Errors
/// When a page cannot be written.
pub fn run(args: &ManArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.folder else {
        return out.write_all(&page(&Man::new(command))?).context("cannot write to stdout");
    };
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().cloned());
        let man = Man::new(command);
        write_atomic(&folder.join(man.get_filename()), &page(&man)?)?;
    }
    writeln!(out, "{}", folder.display()).context("cannot write to stdout")
}

fn page(man: &Man) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    man.render(&mut bytes)?;
    Ok(bytes)
}
