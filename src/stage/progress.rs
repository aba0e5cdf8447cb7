//! Progress on stderr: bars on a terminal, plain lines elsewhere; and the place where a stage stops when it is asked to.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::error::{Error, Result};
use crate::interrupt;
use crate::store::Store;
use crate::store::digest::Digest;
use crate::terminal;

/// Time between two plain lines of one stage.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// Fits 80 columns.
const TEMPLATE: &str = "{prefix:>11} {bar:24} {pos}/{len} {msg} {elapsed}";

/// The progress of one stage, in steps that cost alike. Some the store has already, and some are made: rate and time left
/// are of those.
pub struct Progress {
    stage: &'static str,
    what: &'static str,
    total: usize,
    found: usize,
    made: usize,
    /// Steps of those made that are kept, should the stage end here.
    kept: usize,
    weight: usize,
    started: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts a stage of `total` steps; `what` names them, in the plural.
    ///
    /// # Errors
    /// [`Error::Interrupted`], where the user wants to stop.
    pub fn start(stage: &'static str, what: &'static str, total: usize) -> Result<Self> {
        let bar = terminal::draws_bars().then(|| {
            let bar = terminal::bar(TEMPLATE, Some(total as u64));
            bar.set_prefix(stage);
            bar
        });
        let now = Instant::now();
        let progress = Self { stage, what, total, found: 0, made: 0, kept: 0, weight: 1, started: now, said: now, bar };
        progress.go_on()?;
        Ok(progress)
    }

    /// Of steps that are artifacts those that the store lacks, with their keys; the others are counted.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn lacking<T>(
        &mut self,
        store: &Store,
        kind: &str,
        all: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> Result<Digest>,
    ) -> Result<Vec<(T, Digest)>> {
        let mut lacking = Vec::new();
        for one in all {
            let key = key(&one)?;
            if store.has(kind, &key) {
                self.find(1);
            } else {
                lacking.push((one, key));
            }
        }
        Ok(lacking)
    }

    /// Counts steps that the store has already.
    pub fn find(&mut self, steps: usize) {
        self.found += steps * self.weight;
        self.show();
    }

    /// From here on a step counts this often: where steps do not cost alike.
    pub fn weigh(&mut self, weight: usize) {
        self.weight = weight;
    }

    /// Counts steps that are made, and lost if the stage ends before [`Progress::keep`].
    pub fn step(&mut self, steps: usize) {
        self.made += steps * self.weight;
        self.show();
    }

    /// All that was made is kept from here on, so that the stage may end.
    ///
    /// # Errors
    /// [`Error::Interrupted`], where the user wants to stop.
    pub fn keep(&mut self) -> Result<()> {
        self.kept = self.made;
        self.go_on()
    }

    /// Counts steps that are made and kept.
    ///
    /// # Errors
    /// As [`Progress::keep`].
    pub fn advance(&mut self, steps: usize) -> Result<()> {
        self.step(steps);
        self.keep()
    }

    /// Ends the stage with one line: how much, how long, how much was new.
    pub fn finish(self) {
        let Self { stage, what, found, made, started, .. } = &self;
        self.clear();
        let note = if *made == 0 { ", nothing new".to_owned() } else { format!(", {made} new") };
        tracing::info!("{stage}: {} {what}{note} ({:.1} s)", found + made, started.elapsed().as_secs_f64());
    }

    /// Lets the stage go on, or ends it.
    ///
    /// # Errors
    /// [`Error::Interrupted`], where the user wants to stop.
    pub fn go_on(&self) -> Result<()> {
        if !interrupt::is_wished() {
            return Ok(());
        }
        self.clear();
        let kept = self.found + self.kept;
        let doing = format!("{}: {kept} of {} {} are kept", self.stage, self.total, self.what);
        let hint = if kept == 0 { "the same command starts this stage again" } else { "the same command goes on" };
        Err(Error::Interrupted { doing, hint: hint.to_owned() })
    }

    fn show(&mut self) {
        let done = self.found + self.made;
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(self.rate().unwrap_or_default());
            }
            None if self.said.elapsed() >= PLAIN_INTERVAL => {
                self.said = Instant::now();
                let rate = self.rate().map_or(String::new(), |rate| format!(" ({rate})"));
                tracing::info!("{}: {done}/{} {}{rate}", self.stage, self.total, self.what);
            }
            None => {}
        }
    }

    /// Steps made a second, and the time that those left take at this rate; none before the first.
    fn rate(&self) -> Option<String> {
        let left = self.total.saturating_sub(self.found + self.made);
        rate(self.made, left, self.started.elapsed())
    }

    fn clear(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // An error is said below what came before, not in the middle of a bar.
        self.clear();
    }
}

fn rate(made: usize, left: usize, elapsed: Duration) -> Option<String> {
    let rate = made as f64 / elapsed.as_secs_f64();
    let digits = usize::from(rate < 10.0);
    (made > 0).then(|| format!("{rate:.digits$}/s, {} left", duration(left as f64 / rate)))
}

/// A time in seconds, as exact as an estimate is.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0..=1 => format!("{seconds:.0} s"),
        2..=119 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_what_is_made() {
        let mut progress = Progress::start("fit", "sets of probes", 100).unwrap();
        progress.find(90);
        assert_eq!(progress.rate(), None, "what was found says nothing of the time left");
        progress.weigh(2);
        progress.advance(2).unwrap();
        assert_eq!((progress.found, progress.made, progress.kept), (90, 4, 4));
        progress.step(3);
        assert_eq!((progress.made, progress.kept), (10, 4));
        assert_eq!(rate(4, 6, Duration::from_secs(2)).unwrap(), "2.0/s, 3 s left");
        assert_eq!(rate(100, 1000, Duration::from_secs(2)).unwrap(), "50/s, 20 s left");
    }

    #[test]
    fn times_are_as_exact_as_an_estimate() {
        let said = [7.4, 89.0, 90.0, 7140.0, 12000.0].map(duration);
        assert_eq!(said, ["7 s", "89 s", "2 min", "119 min", "3 h 20 min"]);
    }
}
