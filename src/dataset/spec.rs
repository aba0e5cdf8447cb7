//! The `[dataset]` and `[split]` tables of a study.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::Format;
use crate::error::{Error, Result};

/// The worlds of Elements: how colour and shape go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Independent.
    E1,
    /// Red only on triangles.
    E2,
    /// Red exactly on triangles.
    E3,
}

/// Windows an image is cut into; what does not fill a window is left over at both ends alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Height and width in pixels.
    #[schemars(range(min = 1))]
    pub size: usize,
    /// Step between windows in pixels; the size where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub stride: Option<usize>,
}

/// The `[dataset]` table. Keys that do not belong to the format are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// The layout.
    pub format: Format,
    /// Its folder, or file (imported); Elements has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Concepts to study; empty: all that the dataset knows.
    #[serde(default)]
    pub concepts: Vec<String>,
    /// Share of a sample's pixels from which on a concept counts as present, in (0, 1]; a smaller share that is not
    /// zero is unknown.
    #[serde(default = "present_from")]
    #[schemars(extend("default" = 0.02, "exclusiveMinimum" = 0, "maximum" = 1))]
    pub present_from: f32,
    /// Cut images into tiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<Tile>,
    /// Share of files that may be unreadable before the study stops.
    #[serde(default = "max_skipped")]
    #[schemars(extend("default" = 0.05, "minimum" = 0, "exclusiveMaximum" = 1))]
    pub max_skipped: f32,
    /// Folder: a file's group is its name up to this text (`_`, say); left out, every file is its own group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_until: Option<String>,
    /// Elements: the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<World>,
    /// Elements: number of pictures. Other formats: use only so many images, evenly spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<usize>,
    /// What kind of concept each is, as in `{ Car = "object" }`: the report compares kinds. It comes before what the dataset
    /// itself knows (Elements: shape, colour, texture; Broden: its categories).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, String>,
}

impl DatasetSpec {
    /// The defaults of a format.
    pub fn of(format: Format) -> Self {
        Self {
            format,
            root: None,
            concepts: Vec::new(),
            present_from: present_from(),
            tile: None,
            max_skipped: max_skipped(),
            group_until: None,
            world: None,
            count: None,
            kinds: BTreeMap::new(),
        }
    }

    /// Checks every value, and that every key belongs to the format.
    ///
    /// # Errors
    /// When one does not; the message names the key.
    pub fn check(&self) -> Result<()> {
        let given = [
            ("root", self.root.is_some()),
            ("tile", self.tile.is_some()),
            ("group_until", self.group_until.is_some()),
            ("world", self.world.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(key, given)| *given && !self.format.has(key)) {
            let problem = format!("does not belong to the format `{}`", self.format.name());
            return Err(Error::key(format!("dataset.{key}"), problem, "remove it"));
        }
        if !(self.present_from > 0.0 && self.present_from <= 1.0) {
            return Err(Error::key("dataset.present_from", "must be a share in (0, 1]", "present_from = 0.02"));
        }
        if !(0.0..1.0).contains(&self.max_skipped) {
            return Err(Error::key("dataset.max_skipped", "must be a share in [0, 1)", "max_skipped = 0.05"));
        }
        if self.count == Some(0) {
            return Err(Error::key("dataset.count", "there are no pictures to use", "leave it out for the default"));
        }
        let mut sorted = self.concepts.clone();
        sorted.sort();
        if let Some([twice, _]) = sorted.array_windows().find(|[a, b]| a == b) {
            return Err(Error::key("dataset.concepts", format!("`{twice}` stands there twice"), "name it once"));
        }
        self.tile.map_or(Ok(()), |t| t.check())
    }
}

fn present_from() -> f32 {
    0.02
}

fn max_skipped() -> f32 {
    0.05
}

/// The `[split]` table: shares of the samples, by group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSpec {
    /// Share that probes are fitted on.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub fit: f64,
    /// Share that regularisation, offsets and thresholds are chosen on.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub val: f64,
    /// Share that is measured on.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub test: f64,
    /// Seconds of a block, where samples have a time.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub block: f64,
    /// Seconds between samples of different splits of one clip; those nearer are left out.
    #[schemars(range(min = 0))]
    pub gap: f64,
}

impl Default for SplitSpec {
    fn default() -> Self {
        Self { fit: 0.5, val: 0.17, test: 0.33, block: 20.0, gap: 1.5 }
    }
}

impl SplitSpec {
    /// Checks every value.
    ///
    /// # Errors
    /// When a share is not positive or they do not add up to one.
    pub fn check(&self) -> Result<()> {
        let shares = [("split.fit", self.fit), ("split.val", self.val), ("split.test", self.test)];
        for (key, share) in shares {
            if !(share.is_finite() && share > 0.0) {
                return Err(Error::key(key, "must be a positive share", "such as fit = 0.5, val = 0.2, test = 0.3"));
            }
        }
        let total: f64 = shares.iter().map(|s| s.1).sum();
        if (total - 1.0).abs() > 1e-6 {
            return Err(Error::key("split", format!("its shares add up to {total}"), "fit + val + test must be 1"));
        }
        if !(self.block > 0.0 && self.gap >= 0.0) {
            return Err(Error::key(
                "split.block",
                "block must be positive and gap not negative",
                "block = 20.0, gap = 1.5",
            ));
        }
        Ok(())
    }
}
