//! Parse, start logging, run, and turn an error into an exit code: 2 for the user's mistakes, 1 for failures.

use std::process::ExitCode;

use cavern::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_ansi(false)
        .init();
    match cavern::command::dispatch(cli, &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The library's messages are whole; other errors need their causes beside them.
            match error.downcast_ref::<cavern::Error>() {
                Some(own) => tracing::error!("error: {own}"),
                None => tracing::error!("error: {error:#}"),
            }
            let mistake = error.downcast_ref::<cavern::Error>().is_some_and(cavern::Error::is_users_mistake);
            ExitCode::from(if mistake { 2 } else { 1 })
        }
    }
}
