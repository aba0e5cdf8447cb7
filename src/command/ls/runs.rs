//! `cavern ls runs`: the folders of runs, and what they hold.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use super::Row;
use crate::cli::LsRuns;
use crate::error::Result;
use crate::report;

/// What a run writes last.
const LAST: &str = "report.html";
/// What makes a folder a run's: one of these.
const FILES: [&str; 3] = ["manifest.json", "metrics.csv", LAST];

/// A run's folder.
#[derive(Debug, Serialize)]
pub(super) struct RunFolder {
    /// The folder's name.
    name: String,
    /// The name of its study or survey.
    study: String,
    /// When its page, or else the folder, was written: UTC, as `2026-01-31T12:00:00Z`.
    made: Option<String>,
    /// `cpu` or `cuda`; `None` where no manifest says so.
    device: Option<String>,
    layers: Vec<String>,
    /// Rows of `metrics.parquet`; `None` where there is none, or one of another version.
    metric_rows: Option<usize>,
    /// Whether its page was written, which comes last.
    finished: bool,
}

impl Row for RunFolder {
    const HEADS: &'static [&'static str] = &["run", "study", "made", "device", "metric rows", "finished", "layers"];

    fn cells(&self) -> Vec<String> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let rows = self.metric_rows.map(|n| n.to_string());
        let finished = if self.finished { "yes" } else { "no" }.to_owned();
        let layers = self.layers.join(", ");
        vec![
            self.name.clone(),
            self.study.clone(),
            text(self.made.clone()),
            text(self.device.clone()),
            text(rows),
            finished,
            layers,
        ]
    }
}

/// The runs of a folder, by name.
pub(super) fn runs(args: &LsRuns) -> Result<Vec<RunFolder>> {
    let hint = "run a study first, or give the folder of your runs by --out";
    let folders = super::entries(&args.out, hint)?;
    Ok(folders.iter().filter(|f| FILES.iter().any(|name| f.join(name).is_file())).map(|f| read(f)).collect())
}

fn read(folder: &Path) -> RunFolder {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = std::fs::read(folder.join("manifest.json")).unwrap_or_default();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let layers = manifest["layers"].as_array().into_iter().flatten().filter_map(|l| l["name"].as_str());
    // A survey has no manifest: its folder's name is that of the survey and a digest.
    let of_folder = || name.rsplit_once('-').map_or(name.as_str(), |(study, _)| study);
    let written = [folder.join(LAST), folder.to_path_buf()].iter().find_map(|p| p.metadata().ok()?.modified().ok());
    RunFolder {
        study: manifest["study"]["name"].as_str().unwrap_or_else(of_folder).to_owned(),
        made: written.and_then(utc),
        device: manifest["device"].as_str().map(str::to_owned),
        layers: layers.map(str::to_owned).collect(),
        metric_rows: rows(folder),
        finished: folder.join(LAST).is_file(),
        name,
    }
}

fn rows(folder: &Path) -> Option<usize> {
    let bytes = std::fs::read(folder.join("metrics.parquet")).ok()?;
    report::read_metrics_parquet(&bytes).ok().map(|rows| rows.len())
}

/// A time as `2026-01-31T12:00:00Z`; `None` before 1970.
fn utc(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// Year, month and day of the Gregorian calendar, by the day since 1970-01-01.
fn date(mut day: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_gnu_date() {
        // `date -u -d @SECONDS +%FT%TZ`.
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap(), wanted);
        }
    }
}
