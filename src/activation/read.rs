//! A layer's activations over many shards, read row by row or column by column: never held all at once.

use std::ops::Range;
use std::path::PathBuf;

use ndarray::Array2;
use rayon::prelude::*;

use super::shard::ShardFile;
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
}
