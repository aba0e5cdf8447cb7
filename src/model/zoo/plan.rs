//! What a network is to be: its input, its classes, where its tensors come from.

use candle_core::Device;

use super::source::Source;
use crate::dataset::Preprocess;
use crate::dataset::preprocess::Filter;
use crate::error::{Error, Result};
use crate::model::graph::{Graph, GraphBuilder};

/// ImageNet's classes in the order of the logits, one a line.
const IMAGENET: &str = include_str!("../../../datasets/imagenet_classes.txt");

/// What can be chosen of a network; without a choice it is as published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `[channel, height, width]` of the input. Most convolutional networks take pictures of any size that their strides
    /// leave something of, transformers multiples of their patch; `[channel, 1, length]` is a series.
    pub input: Option<[usize; 3]>,
    /// How many classes; weights from a file have their own number.
    pub classes: Option<usize>,
    /// Channels that all others are multiples of, where the network leaves the choice; weights from a file have their own.
    pub width: Option<usize>,
    /// How many blocks, where the network leaves the choice; weights from a file have their own number.
    pub depth: Option<usize>,
}

/// A size that can be chosen at the start of a training, and that a weights file says by itself.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    /// The study key.
    key: &'static str,
    /// What was chosen.
    chosen: Option<usize>,
    /// What it is where nothing is; `None` where the network leaves no choice.
    usual: Option<usize>,
    /// The most that can be chosen: the largest network still fits in memory.
    most: usize,
}

impl Choice {
    pub(super) const fn width(chosen: Option<usize>, usual: Option<usize>) -> Self {
        Self { key: "model.width", chosen, usual, most: 1024 }
    }

    pub(super) const fn depth(chosen: Option<usize>, usual: Option<usize>) -> Self {
        Self { key: "model.depth", chosen, usual, most: 64 }
    }

    /// The size: that of the file, the chosen one, or the usual one, in a network that has one.
    ///
    /// # Errors
    /// When the choice is out of range, or another one than the file's.
    pub(super) fn size(&self, of_file: Option<usize>) -> Result<usize> {
        match (of_file, self.chosen) {
            (Some(size), Some(chosen)) if size != chosen => {
                let problem = format!("is {chosen}, and that of the weights is {size}");
                Err(Error::key(self.key, problem, "leave it out: the weights say what it is"))
            }
            (None, Some(chosen)) if !(1..=self.most).contains(&chosen) => {
                Err(Error::key(self.key, format!("is {chosen}"), format!("choose 1 to {}", self.most)))
            }
            (size, chosen) => Ok(size.or(chosen).or(self.usual).unwrap_or(1)),
        }
    }

    /// Refuses a choice that the network `name` does not leave.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        if self.chosen.is_none() || self.usual.is_some() {
            return Ok(());
        }
        let size = self.key.trim_start_matches("model.");
        let hint = format!("leave it out; `cavern ls models` says which networks have a {size} to choose");
        Err(Error::key(self.key, format!("`{name}` leaves no choice of it"), hint))
    }
}

/// What a network is assembled from.
pub(super) struct Plan<'a> {
    pub(super) name: &'static str,
    /// `[channel, height, width]`.
    pub(super) input: [usize; 3],
    /// The input where nothing is chosen.
    pub(super) usual: [usize; 3],
    pub(super) classes: Option<usize>,
    pub(super) width: Choice,
    pub(super) depth: Choice,
    pub(super) source: &'a dyn Source,
    pub(super) device: &'a Device,
}

/// How a network published for pictures of its usual size takes them.
pub(super) struct Published {
    pub(super) filter: Filter,
    /// The short side before the centre crop, at the usual size; `None` stretches pictures.
    pub(super) crop: Option<usize>,
    pub(super) mean: [f32; 3],
    pub(super) std: [f32; 3],
}

impl Published {
    /// For small pictures, whole: values about from -2 to 2.
    pub(super) const SMALL: Self = Self { filter: Filter::Bilinear, crop: None, mean: [0.5; 3], std: [0.25; 3] };

    /// Torchvision's: the short side to `crop` by a triangle filter; mean and deviation of ImageNet's pixels.
    pub(super) const fn torchvision(crop: usize) -> Self {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        Self { filter: Filter::Bilinear, crop: Some(crop), mean, std }
    }

    /// Values from -1 to 1, as Inception's.
    pub(super) const fn symmetric(filter: Filter, crop: Option<usize>) -> Self {
        Self { filter, crop, mean: [0.5; 3], std: [0.5; 3] }
    }
}

impl Plan<'_> {
    /// A graph with this input.
    pub(super) fn graph(&self) -> GraphBuilder {
        GraphBuilder::new(self.input)
    }

    /// Refuses an input that is no square colour picture of a `multiple` of pixels, at least `least`.
    pub(super) fn takes_pictures(&self, least: usize, multiple: usize) -> Result<()> {
        self.takes(self.input[0] == 3, "square pictures of 3 channels", least, multiple)
    }

    /// The same of any number of channels.
    pub(super) fn takes_squares(&self, least: usize, multiple: usize) -> Result<()> {
        self.takes(true, "square pictures", least, multiple)
    }

    fn takes(&self, channels_fit: bool, wanted: &str, least: usize, multiple: usize) -> Result<()> {
        let [channels, height, width] = self.input;
        if channels_fit && height == width && height >= least && height % multiple == 0 {
            return Ok(());
        }
        let subject = format!("the input of `{}`", self.name);
        let multiples = if multiple > 1 { format!(" multiples of {multiple} pixels") } else { String::new() };
        let hint = format!("wanted {wanted},{multiples} {least} pixels or more");
        Err(Error::data(subject, format!("{channels} x {height} x {width} does not fit the network"), hint))
    }

    /// Names of the classes: as many as `{head}.weight` has rows in the file, or as were chosen, or `usual`. 1000 are
    /// ImageNet's where they are usual.
    pub(super) fn classes(&self, head: &str, usual: usize) -> Vec<String> {
        let rows = self.source.shape_of(&format!("{head}.weight")).and_then(|s| s.first().copied());
        let count = rows.or(self.classes).unwrap_or(usual);
        if count == 1000 && usual == 1000 {
            return IMAGENET.lines().map(str::to_owned).collect();
        }
        (0..count).map(|i| format!("class {i}")).collect()
    }

    /// Ends the graph; the crop keeps its share of the picture where the input's size is not the usual one.
    pub(super) fn finish(&self, graph: GraphBuilder, published: &Published, classes: Vec<String>) -> Result<Graph> {
        let (size, usual) = (self.input[2], self.usual[2]);
        let &Published { filter, crop, mean, std } = published;
        let preprocess = Preprocess { size, filter, crop: crop.map(|crop| crop * size / usual), mean, std };
        graph.finish(self.name, preprocess, classes, self.device)
    }
}
