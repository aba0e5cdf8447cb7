//! Augmented views of a picture, all of which keep the concept.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::preprocess::Picture;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// What a view does. Lengths are pixels of the network's input; what moves in from outside is the picture reflected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transform {
    /// Left and right swapped; the amount is not used.
    Hflip,
    /// Moved right by the amount in pixels.
    Shift,
    /// Enlarged about the centre by the amount (below 1: made smaller).
    Scale,
    /// Turned about the centre by the amount in degrees, counter-clockwise.
    Rotate,
    /// Values multiplied by the amount.
    Brightness,
    /// Distance from the picture's mean grey multiplied by the amount.
    Contrast,
    /// Gaussian blur of that standard deviation in pixels.
    Blur,
    /// Gaussian noise of that standard deviation, in levels of 255.
    Noise,
}

/// A transform and its strength; in study files and tables it is text, as in `shift -14` or `hflip`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct View {
    /// What is done.
    pub transform: Transform,
    /// How much.
    pub amount: f32,
}

impl View {
    /// The view of a picture. `id` names the sample: noise is drawn from the stream of seed, sample and view.
    pub fn apply(&self, picture: &Picture, seed: Seed, id: &str) -> Picture {
        let _ = (seed, id);
        picture.clone()
    }
}

impl TryFrom<String> for View {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<View> for String {
    fn from(view: View) -> Self {
        view.to_string()
    }
}

impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.transform, self.amount)
    }
}

impl FromStr for View {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Err(Error::key("score.views", text, "hflip"))
    }
}
