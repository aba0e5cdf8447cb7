//! A layer's activations over many shards, read row by row or column by column: never held all at once.

use std::ops::Range;
use std::path::PathBuf;

use ndarray::{Array2, s};
use rayon::prelude::*;

use super::shard::ShardFile;
use super::variant::Variant;
use crate::error::{Error, Result};

/// The activations of a list of samples at one layer.
#[derive(Debug)]
pub struct LayerSet {
    /// The layer's name.
    pub layer: String,
    /// Shape of one activation: `[channel, height, width]`.
    pub shape: [usize; 3],
    shards: Vec<ShardFile>,
    rows: Vec<(u32, u32)>,
}

impl LayerSet {
    /// Joins shards in order.
    ///
    /// # Errors
    /// When a shard cannot be read, or the shards differ in shape.
    pub fn open(layer: &str, paths: &[PathBuf]) -> Result<Self> {
        let shards = paths.iter().map(|p| ShardFile::open(p)).collect::<Result<Vec<_>>>()?;
        let shape = shards.first().map_or([0; 3], |s| s.shape);
        if let Some(odd) = shards.iter().position(|s| s.shape != shape) {
            let problem = format!("its activations are {:?}, those before it {shape:?}", shards[odd].shape);
            return Err(Error::file(&paths[odd], problem, "delete its folder and run again"));
        }
        let rows = shards.iter().enumerate().flat_map(|(s, f)| (0..f.samples).map(move |r| (s as u32, r as u32)));
        let rows = rows.collect();
        Ok(Self { layer: layer.to_owned(), shape, shards, rows })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of values of one activation map.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of positions: height times width.
    pub fn positions(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// One sample's map, `[channel, height, width]`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn map(&self, sample: usize) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.width()];
        self.columns(sample, 0, &mut out)?;
        Ok(out)
    }

    /// A part of one sample's flattened map, from value `first` on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn columns(&self, sample: usize, first: usize, out: &mut [f32]) -> Result<()> {
        let (shard, row) = self.rows[sample];
        self.shards[shard as usize].read_map(row as usize, first, out)
    }

    /// The columns `range` of the flattened maps of `samples`: `[sample, column]`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn column_block(&self, samples: &[usize], range: Range<usize>) -> Result<Array2<f32>> {
        let mut block = Array2::zeros((samples.len(), range.len()));
        let rows: Vec<_> = block.outer_iter_mut().zip(samples).collect();
        rows.into_par_iter().try_for_each(|(mut row, sample)| match row.as_slice_mut() {
            Some(out) => self.columns(*sample, range.start, out),
            None => Ok(()),
        })?;
        Ok(block)
    }

    /// The means over positions of `samples`: `[sample, channel]`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn pooled(&self, samples: &[usize]) -> Result<Array2<f32>> {
        let mut block = Array2::zeros((samples.len(), self.shape[0]));
        for (mut out, sample) in block.outer_iter_mut().zip(samples) {
            let (shard, row) = self.rows[*sample];
            if let Some(out) = out.as_slice_mut() {
                self.shards[shard as usize].read_pooled(row as usize, out)?;
            }
        }
        Ok(block)
    }

    /// `samples` in the form of a variant, its values `range` of each: `[sample, value]`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn vectors(&self, samples: &[usize], variant: Variant, range: Range<usize>) -> Result<Array2<f32>> {
        let whole = match variant {
            Variant::Full => return self.column_block(samples, range),
            Variant::TranslationInvariant => self.pooled(samples)?,
            Variant::Max | Variant::LogSumExp(_) => self.pooled_by(samples, variant)?,
        };
        Ok(if range.len() == whole.ncols() { whole } else { whole.slice_move(s![.., range]) })
    }

    /// One sample in the form of a variant.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn vector(&self, sample: usize, variant: Variant) -> Result<Vec<f32>> {
        Ok(self.vectors(&[sample], variant, 0..variant.width(self.shape))?.into_raw_vec_and_offset().0)
    }

    fn pooled_by(&self, samples: &[usize], variant: Variant) -> Result<Array2<f32>> {
        let mut block = Array2::zeros((samples.len(), self.shape[0]));
        let rows: Vec<_> = block.outer_iter_mut().zip(samples).collect();
        rows.into_par_iter().try_for_each(|(mut out, sample)| -> Result<()> {
            let map = self.map(*sample)?;
            let channels = map.chunks_exact(self.positions().max(1));
            out.iter_mut().zip(channels).for_each(|(out, channel)| *out = variant.pool(channel) as f32);
            Ok(())
        })?;
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::test_set;

    #[test]
    fn forms_are_those_of_the_maps() {
        let (_dir, set) = test_set(9, [3, 2, 2]);
        let samples = [7, 0, 3];
        for variant in ["full", "ti", "ti_max", "ti_lse 2"].map(|v| v.parse::<Variant>().unwrap()) {
            let width = variant.width(set.shape);
            let all = set.vectors(&samples, variant, 0..width).unwrap();
            let part = set.vectors(&samples, variant, 1..3).unwrap();
            assert_eq!(part, all.slice(s![.., 1..3]));
            for (row, sample) in samples.iter().enumerate() {
                let map = set.map(*sample).unwrap();
                let wanted: Vec<f32> = match variant {
                    Variant::Full => map,
                    _ => map.chunks_exact(4).map(|c| variant.pool(c) as f32).collect(),
                };
                assert_eq!(all.row(row).to_vec(), wanted, "{variant}");
                assert_eq!(set.vector(*sample, variant).unwrap(), wanted);
            }
        }
    }
}
