//! Pictures as a network's input: held in memory at the input's size, changed at random on the way.

use candle_core::{Device, Tensor};
use rand::RngExt;
use rayon::prelude::*;

use super::options::TrainOptions;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::model::graph::Graph;
use crate::seed::Seed;

/// Bytes of pictures that are held in memory at most; more are read again every time.
const HELD: usize = 1 << 30;

/// The pictures of a dataset.
pub(super) struct Pictures<'a> {
    dataset: &'a dyn Dataset,
    graph: &'a Graph,
    /// Resized, eight bits a channel, one after the other.
    held: Option<Vec<u8>>,
    /// Every value of a pixel as the network takes it, for each channel.
    levels: Vec<[f32; 256]>,
}

/// How pictures are changed at random in an epoch of training.
pub(super) struct Augmentation<'a> {
    pub(super) options: &'a TrainOptions,
    pub(super) seed: Seed,
    pub(super) epoch: usize,
}

/// Where a window is cut, relative to the picture's place, and whether it is mirrored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Change {
    down: i64,
    right: i64,
    mirrored: bool,
}

impl<'a> Pictures<'a> {
    /// Reads the pictures.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn new(dataset: &'a dyn Dataset, graph: &'a Graph) -> Result<Self> {
        let preprocess = graph.preprocess();
        let channels = graph.input_shape()[0];
        let level = |c: usize| std::array::from_fn(|v| (v as f32 / 255.0 - preprocess.mean[c]) / preprocess.std[c]);
        let levels = (0..channels.min(3)).map(level).collect();
        let mut pictures = Self { dataset, graph, held: None, levels };
        let bytes = pictures.picture_len() * dataset.samples().len();
        if bytes <= HELD {
            let mut held = vec![0; bytes];
            let parts = held.par_chunks_mut(pictures.picture_len()).enumerate();
            parts.try_for_each(|(sample, to)| pictures.read(sample, to))?;
            pictures.held = Some(held);
        }
        Ok(pictures)
    }

    fn picture_len(&self) -> usize {
        self.graph.input_shape().iter().product()
    }

    /// The resized picture of a sample, plane by plane.
    fn read(&self, sample: usize, to: &mut [u8]) -> Result<()> {
        let picture = self.graph.preprocess().picture(&self.dataset.image(sample)?)?;
        if picture.pixels.len() < to.len() {
            let problem = format!("it takes {:?}, pictures have three channels", self.graph.input_shape());
            return Err(Error::key("model.name", problem, "train a network of pictures"));
        }
        to.iter_mut().zip(&picture.pixels).for_each(|(to, v)| *to = (v * 255.0).round() as u8);
        Ok(())
    }

    /// The input of some samples, `[batch, channel, height, width]`.
    pub(super) fn input(&self, samples: &[usize], augmentation: Option<&Augmentation<'_>>) -> Result<Tensor> {
        let [channels, height, width] = self.graph.input_shape();
        let len = self.picture_len();
        let mut input = vec![0f32; samples.len() * len];
        input.par_chunks_mut(len).zip(samples).try_for_each(|(to, sample)| -> Result<()> {
            let change = augmentation.map_or(Change::default(), |a| a.draw(*sample));
            let mut read = Vec::new();
            let picture = if let Some(held) = &self.held {
                &held[sample * len..][..len]
            } else {
                read.resize(len, 0);
                self.read(*sample, &mut read)?;
                &read
            };
            let planes = to.chunks_exact_mut(height * width).zip(picture.chunks_exact(height * width));
            planes.zip(&self.levels).for_each(|((to, plane), levels)| change.apply(plane, width, levels, to));
            Ok(())
        })?;
        Ok(Tensor::from_vec(input, (samples.len(), channels, height, width), &Device::Cpu)?)
    }
}

impl Augmentation<'_> {
    /// The change to a sample: from a stream of its own, whatever the order of samples.
    fn draw(&self, sample: usize) -> Change {
        let mut rng = self.seed.stream(&format!("train/augment/{}/{sample}", self.epoch));
        let reach = self.options.crop as i64;
        let down = rng.random_range(-reach..=reach);
        let right = rng.random_range(-reach..=reach);
        Change { down, right, mirrored: self.options.flip && rng.random() }
    }
}

impl Change {
    /// One plane through it: outside of the picture is black.
    fn apply(self, plane: &[u8], width: usize, levels: &[f32; 256], to: &mut [f32]) {
        let (wide, high) = (width as i64, (plane.len() / width) as i64);
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            let row = row as i64 + self.down;
            let from = (0..high).contains(&row).then(|| &plane[row as usize * width..][..width]);
            for (column, to) in (0..wide).zip(to) {
                let column = if self.mirrored { wide - 1 - column } else { column } + self.right;
                let value = from.filter(|_| (0..wide).contains(&column)).map_or(0, |from| from[column as usize]);
                *to = levels[usize::from(value)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_move_and_mirror() {
        let plane = [1u8, 2, 3, 4, 5, 6];
        let levels = std::array::from_fn(|v| v as f32);
        let through = |down, right, mirrored| {
            let mut to = [9.0; 6];
            Change { down, right, mirrored }.apply(&plane, 3, &levels, &mut to);
            to
        };
        assert_eq!(through(0, 0, false), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(through(1, 0, false), [4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
        assert_eq!(through(0, -1, false), [0.0, 1.0, 2.0, 0.0, 4.0, 5.0]);
        assert_eq!(through(0, 0, true), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(through(-1, 1, true), [0.0, 0.0, 0.0, 0.0, 3.0, 2.0]);
    }

    #[test]
    fn changes_follow_from_seed_epoch_and_sample() {
        let options = TrainOptions { crop: 2, flip: true, ..TrainOptions::default() };
        let draw = |seed, epoch, sample| Augmentation { options: &options, seed: Seed(seed), epoch }.draw(sample);
        let all: Vec<Change> = (0..200).map(|sample| draw(1, 1, sample)).collect();
        assert_eq!(all, (0..200).map(|sample| draw(1, 1, sample)).collect::<Vec<_>>());
        assert_ne!(all, (0..200).map(|sample| draw(1, 2, sample)).collect::<Vec<_>>());
        assert!(all.iter().all(|c| c.down.abs() <= 2 && c.right.abs() <= 2));
        assert!((-2..=2).all(|d| all.iter().any(|c| c.down == d) && all.iter().any(|c| c.right == d)));
        assert!((70..130).contains(&all.iter().filter(|c| c.mirrored).count()));
    }
}
