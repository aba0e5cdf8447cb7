//! What a dataset consists of: samples with concept labels, and the images and masks behind them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::mask::Mask;
use super::split::Split;
use crate::error::{Error, Result};
use crate::store::digest::Digest;

/// What is known of a concept in a sample. Unlabelled is not absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// The concept covers at least the study's threshold.
    Present,
    /// The concept is known to be absent.
    Absent,
    /// Not annotated, or too small to count either way: left out, and counted.
    Unknown,
}

/// One sample of a dataset: a whole image, or a tile of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Digest of the pixels (width, height, RGB bytes). The same picture is the same sample wherever it lies.
    pub id: Digest,
    /// A readable name, unique in the dataset: file stem, with `@x,y` for a tile.
    pub name: String,
    /// Samples of one group (a clip, a scene, an object) never straddle a split, unless they are far apart in time.
    pub group: String,
    /// Seconds since the start of the group's clip, where frames have a time: groups are then cut into blocks.
    pub time: Option<f64>,
    /// Where the sample comes from; negatives are matched by it.
    pub source: String,
    /// For each concept of the dataset, in order: present, absent or unknown.
    pub presence: Vec<Presence>,
    /// For each concept, in order: share of pixels its mask covers, in [0, 1]; NaN without a mask.
    pub coverage: Vec<f32>,
    /// Digest of its masks, where it has any: what is made from them is made again when they change.
    pub masks: Option<Digest>,
    /// Names of everything known to be in the picture, the concepts included: the context for matched negatives.
    pub labels: BTreeSet<String>,
}

/// A file that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why it was left out.
    pub reason: String,
}

/// A change to a picture with a known effect on a concept. Rendered pictures are rendered again, photographs are
/// retouched with the help of masks; partners are numbers of samples of the same dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// The concept is taken away: a hard negative. Rendered: its attribute is swapped on every object that has it, all
    /// else kept (for `triangle`: every red triangle becomes a red square). Photographs: its mask is filled in from what
    /// surrounds it.
    Removed,
    /// Rendered: the concept is kept on every object that has it and its companion attribute is swapped: a hard positive
    /// (for `triangle`: every red triangle becomes a blue triangle).
    Kept,
    /// Rendered: one object is given the concept, its other attributes drawn independently (never by the world's rule).
    With,
    /// Rendered: the same picture as [`Edit::With`] with that object's attribute set to another value: the paired truth.
    Without,
    /// Rendered: one object without the concept has its attribute of that kind swapped to one that is not the concept.
    Sham,
    /// Photographs: the concept is cut out of another one and pasted, at its place, where there is none: a hard positive.
    Pasted {
        /// The sample with the concept.
        from: usize,
    },
    /// Photographs: filled in where another one has the concept, and this one has not.
    ShamFilled {
        /// The sample with the concept.
        region: usize,
    },
    /// Photographs: the pixels of one without the concept are pasted where another one has it, and this one has not.
    ShamPasted {
        /// The sample with the concept.
        region: usize,
        /// The sample without it.
        from: usize,
    },
}

impl Edit {
    /// The other samples that are needed to make it.
    pub fn partners(self) -> Vec<usize> {
        match self {
            Self::Removed | Self::Kept | Self::With | Self::Without | Self::Sham => Vec::new(),
            Self::Pasted { from } => vec![from],
            Self::ShamFilled { region } => vec![region],
            Self::ShamPasted { region, from } => vec![region, from],
        }
    }
}

/// How a dataset's pictures can be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Editing {
    /// Not at all.
    Impossible,
    /// By rendering them again.
    Rendered,
    /// By filling and pasting, wherever there are masks.
    Retouched,
}

/// Images with concept labels. Only the index is held in memory; pictures and masks are read when asked for.
pub trait Dataset: Send + Sync {
    /// The concepts, in the study's order.
    fn concepts(&self) -> &[String];

    /// What kind of concept one is (`object`, `part`, `texture`, `colour`, …), where the dataset knows.
    fn kind(&self, _concept: usize) -> Option<&str> {
        None
    }

    /// The index. The order is stable: by file name, then tile.
    fn samples(&self) -> &[Sample];

    /// The files left out.
    fn skipped(&self) -> &[Skipped];

    /// The picture of a sample, at its native size.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    fn image(&self, sample: usize) -> Result<RgbImage>;

    /// The mask of a concept in a sample, at the picture's size; `None` where the dataset has no mask for it.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    fn mask(&self, sample: usize, concept: usize) -> Result<Option<Mask>>;

    /// How its pictures can be edited.
    fn editing(&self) -> Editing {
        Editing::Impossible
    }

    /// The picture of a sample after an edit; `None` where this dataset or sample cannot be edited so.
    ///
    /// # Errors
    /// When the picture cannot be made.
    fn edited(&self, _sample: usize, _concept: usize, _edit: Edit) -> Result<Option<RgbImage>> {
        Ok(None)
    }

    /// Parts and blocks, where the dataset brings them along; else they are dealt.
    fn split(&self) -> Option<&Split> {
        None
    }

    /// Names and shapes `[channel, height, width]` of activations the dataset brings along; none for pictures.
    fn imported_layers(&self) -> Vec<(String, [usize; 3])> {
        Vec::new()
    }

    /// A sample's activation at one of [`Dataset::imported_layers`], `[channel, height, width]`.
    ///
    /// # Errors
    /// When the dataset brings none.
    fn imported(&self, _layer: usize, sample: usize) -> Result<Vec<f32>> {
        Err(Error::Failure(format!("sample {sample} has a picture and no activation")))
    }
}
