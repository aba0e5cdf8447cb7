//! Progress on stderr: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Seconds between two plain lines of one stage.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of one stage.
pub struct Progress {
    stage: &'static str,
    total: usize,
    done: usize,
    computed: usize,
    started: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts a stage of `total` steps.
    pub fn start(stage: &'static str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template("{prefix:>9} {bar:40} {pos}/{len} {per_sec} {eta} left {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(stage);
            bar
        });
        let now = Instant::now();
        Self { stage, total, done: 0, computed: 0, started: now, said: now, bar }
    }

    /// Counts steps; `computed` is false for what the store had already.
    pub fn advance(&mut self, steps: usize, computed: bool) {
        self.done += steps;
        self.computed += if computed { steps } else { 0 };
        match &self.bar {
            Some(bar) => bar.inc(steps as u64),
            None if self.said.elapsed() >= PLAIN_INTERVAL => {
                self.said = Instant::now();
                let rate = self.done as f64 / self.started.elapsed().as_secs_f64();
                let left = (self.total.saturating_sub(self.done)) as f64 / rate.max(1e-9);
                tracing::info!("{}: {}/{} ({rate:.1}/s, {left:.0} s left)", self.stage, self.done, self.total);
            }
            None => {}
        }
    }

    /// Ends the stage with one line: how much, how long, how much was new.
    pub fn finish(self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let note = if self.computed == 0 { ", nothing new".to_owned() } else { format!(", {} new", self.computed) };
        tracing::info!("{}: {} {what}{note} ({seconds:.1} s)", self.stage, self.done);
    }
}
