//! What is said on stderr: messages, and below them the bar of what is going on, where somebody watches.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle, WeakProgressBar};

/// The bar that messages are written above.
static BAR: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// Whether bars are drawn: on a terminal that can move its cursor, and unless the user wants quiet.
pub fn draws_bars() -> bool {
    is_drawable(io::stderr().is_terminal(), std::env::var("TERM").ok().as_deref())
        && tracing::enabled!(tracing::Level::INFO)
}

fn is_drawable(is_terminal: bool, term: Option<&str>) -> bool {
    is_terminal && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// A bar on the terminal; one at a time. `total` is `None` where it is not known.
pub fn bar(template: &str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    // The time goes on while a step takes long.
    bar.enable_steady_tick(Duration::from_secs(1));
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
    bar
}

/// Stderr, where every write is a whole message: it goes above the bar. What cannot be said is lost, and stops no work.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
        let write = || io::stderr().write_all(message);
        let _lost = bar.map_or_else(write, |bar| bar.suspend(write));
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_need_a_terminal_that_moves_its_cursor() {
        assert!(is_drawable(true, Some("xterm-256color")));
        for (is_terminal, term) in [(false, Some("xterm")), (true, Some("dumb")), (true, Some("")), (true, None)] {
            assert!(!is_drawable(is_terminal, term));
        }
    }
}
