//! One file a sub-command: what it takes from the command line, and what it prints.

pub mod attack;
pub mod stage;
pub mod validate;

pub mod compare;
pub mod completions;
pub mod dataset;
pub mod export;
pub mod help;
pub mod inspect;
pub mod ls;
pub mod man;
pub mod maximise;
pub mod new;
pub mod predict;
pub mod profile;
pub mod survey;
pub mod train;

use std::io::Write;

use crate::cli::{Cli, Command};
use crate::interrupt;

/// Runs the command; results go to `out`, everything else to stderr.
///
/// # Errors
/// What went wrong, with what it was about.
pub fn dispatch(cli: Cli, out: &mut dyn Write) -> anyhow::Result<()> {
    use stage::Stage;
    if goes_on(&cli.command) {
        interrupt::listen()?;
    }
    match cli.command {
        Command::Run(args) => stage::run(&args, &Stage::ALL, out),
        Command::Extract(args) => stage::run(&args, &[Stage::Extract], out),
        Command::Fit(args) => stage::run(&args, &[Stage::Fit], out),
        Command::Localise(args) => stage::run(&args, &[Stage::Localise], out),
        Command::Maximise(args) => maximise::run(&args, out),
        Command::Score(args) => stage::run(&args, &[Stage::Score], out),
        Command::Sensitivity(args) => stage::run(&args, &[Stage::Sensitivity], out),
        Command::Report(args) => stage::run(&args, &[Stage::Report], out),
        Command::Compare(args) => compare::run(&args, out),
        Command::Survey(args) => survey::run(&args, out),
        Command::Train(args) => train::run(&args, out),
        Command::Validate(args) => validate::run(&args, out),
        Command::Dataset(args) => dataset::run(&args, out),
        Command::Export(args) => export::run(&args, out),
        Command::Ls(args) => ls::run(&args, out),
        Command::New(args) => new::run(&args, out),
        Command::Inspect(args) => inspect::run(&args, out),
        Command::Predict(args) => predict::run(&args, out),
        Command::Profile(args) => profile::run(&args, out),
        Command::Completions(args) => completions::run(&args, out),
        Command::Man(args) => man::run(&args, out),
        Command::Attack(args) => attack::run(&args, out),
    }
}

/// Whether a command asks between two pieces of work whether to stop.
fn goes_on(command: &Command) -> bool {
    use Command::{Attack, Extract, Fit, Localise, Maximise, Report, Run, Score, Sensitivity, Survey, Train};
    matches!(
        command,
        Run(_)
            | Extract(_)
            | Fit(_)
            | Localise(_)
            | Maximise(_)
            | Score(_)
            | Sensitivity(_)
            | Report(_)
            | Survey(_)
            | Train(_)
            | Attack(_)
    )
}
