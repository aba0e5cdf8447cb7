//! What a dataset cannot answer, known from its labels and its split before anything is computed: shortcuts, scarcity,
//! leaks, concepts that cannot be told apart.

mod facts;
mod rules;

use serde::Serialize;

use super::sample::Dataset;
use super::split::Split;
use crate::error::Error;

/// What a study asks of its data.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Fewest positives, and fewest negatives, in the fit and in the test split.
    pub least: usize,
    /// Share of a picture from which on a concept counts as present.
    pub present_from: f32,
    /// Seconds between samples of different splits of one clip.
    pub gap: f64,
}

/// A dataset in numbers, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// Number of samples.
    pub samples: usize,
    /// Number of groups (clips, scenes, objects).
    pub groups: usize,
    /// Number of blocks: groups, or pieces of them in time.
    pub blocks: usize,
    /// Number of sources.
    pub sources: usize,
    /// Files that could not be used.
    pub skipped: usize,
    /// Samples for fitting, for choosing, for measuring, and left out between them.
    pub parts: [usize; 4],
    /// Every concept in numbers.
    pub concepts: Vec<Concept>,
    /// What is wrong, the gravest kind first.
    pub warnings: Vec<Warning>,
}

/// A concept in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Concept {
    /// Its name.
    pub name: String,
    /// Samples that show it.
    pub present: usize,
    /// Samples that are known not to.
    pub absent: usize,
    /// Samples of which it is not known.
    pub unknown: usize,
    /// Of those, samples with some pixels of it, too few to count.
    pub too_small: usize,
    /// Samples with and without it in the fit split.
    pub fit: [usize; 2],
    /// In the validation split.
    pub val: [usize; 2],
    /// In the test split.
    pub test: [usize; 2],
    /// Blocks of the test split that show it.
    pub test_blocks: usize,
    /// How well a sample's source alone tells whether it shows the concept.
    pub source: Source,
    /// Median share of pixels that the masks of its positives cover; `None` without masks.
    pub mask: Option<f32>,
}

/// What the source of a sample tells of a concept. Sources with fewer than five samples count as one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Source {
    /// Balanced accuracy of the best rule that sees the source alone, in [0.5, 1]; `None` without positives or without
    /// negatives. It is half of the sum over sources of the larger of two shares: of all positives, and of all negatives.
    pub accuracy: Option<f64>,
    /// Mutual information of source and presence in bits.
    pub bits: f64,
    /// The entropy of presence: the most that it can be.
    pub bits_of: f64,
    /// The source of most positives, and how many.
    pub positives: Option<(String, usize)>,
    /// The source of most negatives, and how many.
    pub negatives: Option<(String, usize)>,
}

/// Kinds of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The groups cannot be split, or a concept's test samples are from very few.
    FewGroups,
    /// There are fewer samples than the study's probes want.
    TooFew,
    /// The source of a sample tells the concept.
    SourceShortcut,
    /// The same picture is in several parts of the split.
    SamePicture,
    /// Clips are in several parts of the split.
    SharedClips,
    /// One group has most of a concept's positives.
    OneGroup,
    /// Two concepts are always together.
    NeverApart,
    /// A concept is never without another.
    NeverWithout,
    /// A concept is unknown in most samples.
    Unknown,
    /// Masks cover nearly the whole picture.
    LargeMasks,
    /// Masks cover hardly anything.
    SmallMasks,
    /// Test samples are enough for the probes, and few for the statistics.
    WideInterval,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What kind of problem it is.
    pub kind: Kind,
    /// The concepts it is about; none where it is about the dataset.
    pub concepts: Vec<String>,
    /// What was found, with numbers.
    pub found: String,
    /// What to do.
    pub advice: String,
}

/// Looks at labels, groups, sources and the split; pictures and masks are not read again. `split` may be the reason why
/// there is none.
pub fn advise(dataset: &dyn Dataset, split: Result<&Split, &Error>, wanted: &Wanted) -> Advice {
    let mut advice = facts::of(dataset, split.ok());
    let mut warnings = rules::of_groups(dataset, split, wanted);
    for (c, concept) in advice.concepts.iter().enumerate() {
        warnings.extend(rules::of_concept(dataset, c, concept, split.is_ok(), wanted));
    }
    warnings.extend(rules::of_pairs(dataset));
    warnings.sort_by_key(|w| w.kind);
    advice.warnings = warnings;
    advice
}

#[cfg(test)]
mod tests;
