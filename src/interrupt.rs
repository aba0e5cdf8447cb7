//! The wish to stop: Ctrl-C, or the system's request to end.
//!
//! A process has one of it, so it is kept once. The first request ends the piece of work at hand, which is then kept; a
//! second one ends the process at once, and loses only that piece.

use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

/// The exit code of a process that was asked to stop: what a shell reports of Ctrl-C.
pub const EXIT_CODE: u8 = 130;

static WISHED: AtomicBool = AtomicBool::new(false);

/// From here on the first Ctrl-C is a wish: for commands that ask for it between two pieces of work. Others end as
/// any program does.
///
/// # Errors
/// When the system refuses.
pub fn listen() -> Result<()> {
    let refused = |e: std::io::Error| Error::Failure(format!("cannot wait for Ctrl-C: {e}"));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first request finds no wish yet, and leaves one.
        flag::register_conditional_shutdown(signal, i32::from(EXIT_CODE), &WISHED).map_err(refused)?;
        flag::register(signal, &WISHED).map_err(refused)?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(refused)?;
    let answer = move || {
        if signals.forever().next().is_some() {
            tracing::warn!("stopping after the piece of work at hand; once more to stop at once");
        }
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(answer).map(drop).map_err(refused)
}

/// Whether there is a wish to stop.
pub fn is_wished() -> bool {
    WISHED.load(Ordering::Relaxed)
}

/// Ends work of which nothing is kept.
///
/// # Errors
/// When there is a wish to stop; `doing` says what was going on, as in "waiting for another run".
pub fn check(doing: &str) -> Result<()> {
    if is_wished() {
        return Err(Error::Interrupted { doing: doing.to_owned(), hint: "the same command starts again".to_owned() });
    }
    Ok(())
}
