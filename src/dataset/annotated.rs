//! What layouts share that annotate whole pictures: an answer for every concept, from which the labels and masks of every
//! window are made.

use std::collections::BTreeSet;
use std::path::Path;

use super::mask::Mask;
use super::pictures::{Cache, Frame, Labels, OfPictures, Pictures, masks_digest, presence};
use super::sample::{Dataset, Presence, Sample};
use super::spec::DatasetSpec;
use super::tile::Window;
use crate::error::Result;

/// What a layout knows of a concept in a whole picture. Masks are of the picture's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Nothing is known.
    Unknown,
    /// It is somewhere; there is no mask.
    Present,
    /// It is not there; the layout has no masks.
    Absent,
    /// It is not there, by masks of the whole picture.
    Nowhere,
    /// It is at these pixels and at no others.
    At(Mask),
    /// It is at the pixels of `sure`, and somewhere among the others of `all` (a crowd drawn as one region).
    Rough {
        /// Pixels that show it.
        sure: Mask,
        /// Those and the ones that may.
        all: Mask,
    },
}

/// What is known of a whole picture.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// For each concept of the study.
    pub facts: Vec<Fact>,
    /// Names of everything in the picture, studied or not.
    pub context: BTreeSet<String>,
}

/// How a layout's annotations are read.
pub trait Layout: Send + Sync {
    /// What is known of a picture of `size` (width, height).
    ///
    /// # Errors
    /// A reason for people: the picture is skipped.
    fn known(&self, frame: &Frame, size: (u32, u32)) -> Result<Known, String>;

    /// See [`Dataset::kind`].
    fn kind(&self, _concept: usize) -> Option<&str> {
        None
    }
}

/// A dataset of annotated pictures.
#[derive(Debug)]
pub struct Annotated<L> {
    concepts: Vec<String>,
    layout: L,
    pictures: Pictures,
    cache: Cache<Known>,
}

impl<L: Layout> Annotated<L> {
    /// Reads every frame once. Pictures of the same pixels become one sample.
    ///
    /// # Errors
    /// When there is no frame, or more of them are unusable than the study allows.
    pub fn open(spec: &DatasetSpec, concepts: Vec<String>, frames: Vec<Frame>, layout: L) -> Result<Self> {
        let label = |frame: &Frame, size: (u32, u32), windows: &[Window]| {
            let known = layout.known(frame, size)?;
            let whole = |w: &Window| (w.width, w.height) == (size.0 as usize, size.1 as usize);
            Ok(windows.iter().map(|w| labels(&known, &concepts, *w, whole(w), spec.present_from)).collect())
        };
        let pictures = Pictures::index(frames, spec, label)?.merged();
        Ok(Self { concepts, layout, pictures, cache: Cache::default() })
    }

    /// The dataset with some absences taken back: see [`Pictures::doubted`].
    #[must_use]
    pub fn doubted(mut self, doubt: impl Fn(&Sample, usize) -> bool) -> Self {
        self.pictures = self.pictures.doubted(doubt);
        self
    }
}

/// The part of a mask in a window of the picture.
fn part(mask: &Mask, w: Window) -> Mask {
    mask.window(w.x as f64, w.y as f64, w.width as f64, w.height as f64)
}

/// What is known of one window. A fact without a mask speaks of the whole picture: what is present there need not be in
/// every window, what is absent there is in none.
fn labels(known: &Known, concepts: &[String], window: Window, whole: bool, present_from: f32) -> Labels {
    let mut labels = Labels::default();
    let mut masks: Vec<(&str, Mask)> = Vec::new();
    for (name, fact) in concepts.iter().zip(&known.facts) {
        let (presence, share) = match fact {
            Fact::Present if whole => (Presence::Present, f32::NAN),
            Fact::Unknown | Fact::Present => (Presence::Unknown, f32::NAN),
            Fact::Absent => (Presence::Absent, f32::NAN),
            Fact::Nowhere => (Presence::Absent, 0.0),
            Fact::At(mask) | Fact::Rough { all: mask, .. } => {
                let shown = part(mask, window);
                let share = shown.coverage();
                let sure = if let Fact::Rough { sure, .. } = fact { part(sure, window).coverage() } else { share };
                masks.extend((share > 0.0).then_some((name.as_str(), shown)));
                // Neither surely there nor surely not: a small piece of a crowd, say.
                let unsure = sure == 0.0 && share > 0.0;
                (if unsure { Presence::Unknown } else { presence(sure, present_from) }, share)
            }
        };
        if presence == Presence::Present || share > 0.0 {
            labels.labels.insert(name.clone());
        }
        labels.presence.push(presence);
        labels.coverage.push(share);
    }
    labels.masks = masks_digest(masks.iter().map(|(name, mask)| (*name, mask)));
    if whole {
        labels.labels.extend(known.context.iter().cloned());
    }
    labels
}

impl<L: Layout> OfPictures for Annotated<L> {
    fn studied(&self) -> &[String] {
        &self.concepts
    }

    fn kind_of(&self, concept: usize) -> Option<&str> {
        self.layout.kind(concept)
    }

    fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    fn mask_of(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
        let absent = self.samples()[sample].presence[concept] == Presence::Absent;
        for (frame, window) in self.pictures.places(sample) {
            let known = self.cache.get(&frame.path, |path| self.layout.known(frame, dimensions(path)?))?;
            match &known.facts[concept] {
                Fact::At(mask) | Fact::Rough { all: mask, .. } => return Ok(Some(part(mask, window))),
                Fact::Nowhere if absent => {
                    let pixels = vec![false; window.width * window.height];
                    return Ok(Some(Mask { width: window.width, height: window.height, pixels }));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Width and height of a picture, from its header.
fn dimensions(path: &Path) -> Result<(u32, u32), String> {
    image::image_dimensions(path).map_err(|e| format!("cannot be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Window = Window { x: 0, y: 0, width: 2, height: 4 };
    const RIGHT: Window = Window { x: 2, y: 0, width: 2, height: 4 };
    const ALL: Window = Window { x: 0, y: 0, width: 4, height: 4 };

    /// A mask of 4 x 4 pixels: `count` of them, column by column.
    fn mask(count: usize) -> Mask {
        Mask { width: 4, height: 4, pixels: (0..16).map(|i| (i % 4) * 4 + i / 4 < count).collect() }
    }

    fn presence_in(fact: Fact, window: Window) -> (Presence, f32) {
        let known = Known { facts: vec![fact], context: ["sky".to_owned()].into() };
        let labels = labels(&known, &["car".to_owned()], window, window == ALL, 0.2);
        assert_eq!(labels.labels.contains("sky"), window == ALL);
        (labels.presence[0], labels.coverage[0])
    }

    #[test]
    fn windows_know_what_masks_show() {
        assert_eq!(presence_in(Fact::At(mask(4)), ALL), (Presence::Present, 0.25));
        assert_eq!(presence_in(Fact::At(mask(4)), RIGHT), (Presence::Absent, 0.0));
        assert_eq!(presence_in(Fact::At(mask(1)), ALL), (Presence::Unknown, 0.0625));
        assert_eq!(presence_in(Fact::Nowhere, LEFT), (Presence::Absent, 0.0));
    }

    #[test]
    fn a_crowd_alone_is_neither_there_nor_not() {
        let rough = |sure, all| Fact::Rough { sure: mask(sure), all: mask(all) };
        assert_eq!(presence_in(rough(0, 8), ALL), (Presence::Unknown, 0.5));
        assert_eq!(presence_in(rough(4, 8), ALL), (Presence::Present, 0.5));
        assert_eq!(presence_in(rough(4, 8), RIGHT), (Presence::Absent, 0.0));
        assert_eq!(presence_in(rough(4, 12), RIGHT), (Presence::Unknown, 0.5));
    }

    #[test]
    fn a_fact_without_a_mask_speaks_of_the_whole() {
        let of = |fact, window| presence_in(fact, window).0;
        assert_eq!([of(Fact::Present, ALL), of(Fact::Present, LEFT)], [Presence::Present, Presence::Unknown]);
        assert_eq!([of(Fact::Absent, ALL), of(Fact::Absent, LEFT)], [Presence::Absent; 2]);
        assert_eq!([of(Fact::Unknown, ALL), of(Fact::Unknown, LEFT)], [Presence::Unknown; 2]);
    }
}
