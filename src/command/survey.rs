//! `cavern survey`: activation maximisation over several networks.

use std::io::Write;

use anyhow::Context as _;

use super::stage::set_threads;
use crate::cli::StudyArgs;
use crate::error::Error;
use crate::stage::{Settings, survey};
use crate::study::Survey;

/// Runs a survey and prints its folder.
///
/// # Errors
/// When the file, a network or a dataset cannot be read, or a part of the survey fails.
pub fn run(args: &StudyArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let survey = Survey::read(&args.study, &args.run.set)?;
    if let Some((key, path)) = survey.missing_files().into_iter().next() {
        let problem = format!("{} is not there", path.display());
        return Err(Error::key(key, problem, "train the network, or give the path by --set").into());
    }
    set_threads(args.run.threads)?;
    let settings =
        Settings { out: args.run.out.clone(), store: args.run.store.clone(), device: args.run.device.clone() };
    let folder = survey::run(&survey, &settings)?;
    writeln!(out, "{}", folder.display()).context("cannot write to stdout")
}
