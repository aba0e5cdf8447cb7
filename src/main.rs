//! Parse, start logging, run, and turn an error into an exit code: 2 for the user's mistakes, 1 for failures, 130 for a
//! run that was asked to stop.

use std::io::ErrorKind;
use std::process::ExitCode;

use cavern::command::help;
use cavern::interrupt;
use cavern::terminal::Stderr;

fn main() -> ExitCode {
    let cli = help::parse();
    tracing_subscriber::fmt()
        .with_writer(|| Stderr)
        .with_max_level(cli.level())
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_ansi(false)
        .init();
    match cavern::command::dispatch(cli, &mut std::io::stdout().lock()) {
        // Asked to stop when nothing was left to do: what called this should stop, too.
        Ok(()) if interrupt::is_wished() => ExitCode::from(interrupt::EXIT_CODE),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => code(&error),
    }
}

/// Says what went wrong, if anybody is to know.
fn code(error: &anyhow::Error) -> ExitCode {
    // The library's messages are whole; other errors need their causes beside them.
    let own = error.downcast_ref::<cavern::Error>();
    let reader_left = |cause: &std::io::Error| cause.kind() == ErrorKind::BrokenPipe;
    if own.is_none() && error.root_cause().downcast_ref().is_some_and(reader_left) {
        // As in `cavern ls models | head`: who reads has seen enough.
        return ExitCode::SUCCESS;
    }
    // What commands write by themselves is their result.
    let stdout = if error.is::<std::io::Error>() { "cannot write to stdout: " } else { "" };
    let message = own.map_or_else(|| format!("{stdout}{error:#}"), ToString::to_string);
    if let Some(cavern::Error::Interrupted { .. }) = own {
        tracing::warn!("{message}");
        return ExitCode::from(interrupt::EXIT_CODE);
    }
    tracing::error!("error: {message}");
    ExitCode::from(if own.is_some_and(cavern::Error::is_users_mistake) { 2 } else { 1 })
}
