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
            let own = error.downcast_ref::<cavern::Error>();
            let message = own.map_or_else(|| format!("{error:#}"), ToString::to_string);
            tracing::error!("error: {message}");
            ExitCode::from(if own.is_some_and(cavern::Error::is_users_mistake) { 2 } else { 1 })
        }
    }
}
