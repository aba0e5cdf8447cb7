//! A small front for trying train, predict and ls.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

mod cli;
mod command {
    pub mod ls;
    pub mod predict;
    pub mod train;
}

fn train(args: &cli::StudyArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let study: toml::Table = std::fs::read_to_string(&args.study)?.parse()?;
    let part = |name: &str| study[name].clone();
    let seed = cavern::seed::Seed(part("seed").try_into()?);
    let model = study["model"]["name"].as_str().unwrap_or_default();
    command::train::run(&part("dataset").try_into()?, model, &part("train").try_into()?, seed, &args.out, out)
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let done = match cli::Cli::parse().command {
        cli::Command::Train(args) => train(&args, &mut out),
        cli::Command::Ls(args) => command::ls::run(&args, &mut out),
        cli::Command::Predict(args) => command::predict::run(&args, &mut out),
        _ => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e:#}");
            let users = e.downcast_ref::<cavern::Error>().is_some_and(cavern::Error::is_users_mistake);
            ExitCode::from(if users { 2 } else { 1 })
        }
    }
}
