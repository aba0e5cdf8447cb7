//! What the tests of probes share: a small layer with a planted concept, and scikit-learn's fits.

use ndarray::Array2;
use rand::RngExt;
use serde::Deserialize;

use super::lbfgs::{dot, norm};
use super::weighted::Weighted;
use super::{Labelled, ProbeOptions, Space, Task, Variant};
use crate::activation::{LayerSet, ShardWriter, Storage};
use crate::error::Result;
use crate::seed::{Seed, gaussian};

/// A layer whose samples show a concept in one corner of their grid, a third of the rows for validation.
pub(super) struct World {
    _dir: tempfile::TempDir,
    pub(super) set: LayerSet,
    pub(super) space: Space,
    pub(super) samples: Vec<usize>,
    fit: Labelled,
    val: Labelled,
    pub(super) options: ProbeOptions,
    planted: Vec<f64>,
}

impl World {
    /// `fitted` rows to fit on, `positive` of them with the concept, and half as many for validation.
    pub(super) fn new(shape: [usize; 3], fitted: usize, positive: usize) -> Self {
        Self::scaled(shape, fitted, positive, Variant::Full, 1.0)
    }

    /// The same in a variant, all activations times a factor.
    pub(super) fn scaled(shape: [usize; 3], fitted: usize, positive: usize, variant: Variant, factor: f32) -> Self {
        Self::made(shape, (fitted, positive), variant, factor, 0.4)
    }

    /// The same with a concept that adds up to `strength` standard deviations.
    pub(super) fn planted_by(
        shape: [usize; 3],
        fitted: usize,
        positive: usize,
        variant: Variant,
        strength: f64,
    ) -> Self {
        Self::made(shape, (fitted, positive), variant, 1.0, strength)
    }

    fn made(
        shape: [usize; 3],
        (fitted, positive): (usize, usize),
        variant: Variant,
        factor: f32,
        strength: f64,
    ) -> Self {
        let count = fitted + fitted / 2;
        // Evenly spread, so that both splits have as large a share.
        let present = |row: usize| (row * positive) % fitted < positive;
        let positions = shape[1] * shape[2];
        let mut rng = Seed(11).stream("world");
        // Half the channels carry the concept, in the first half of the positions.
        let inside = |k: usize| k % positions < positions.div_ceil(2) && k / positions < shape[0].div_ceil(2);
        let planted = (0..shape[0] * positions).map(|k| f64::from(u8::from(inside(k)))).collect();
        let mut maps = Vec::new();
        for row in 0..count {
            let shift = if present(row) { strength * rng.random::<f64>() } else { 0.0 };
            for k in 0..shape[0] * positions {
                maps.push(factor * (gaussian(&mut rng) + if inside(k) { shift } else { 0.0 }) as f32);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("world.safetensors");
        let mut writer = ShardWriter::new(shape, Storage::F32);
        writer.push("world", &maps).unwrap();
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        let set = LayerSet::open("world", &[path]).unwrap();
        let samples: Vec<usize> = (0..count).collect();
        let space = Space::new(&set, variant, &samples, fitted).unwrap();
        let rows = |rows: std::ops::Range<usize>| {
            let (positive, negative) = rows.partition(|r| present(*r));
            Labelled { positive, negative }
        };
        let options = ProbeOptions { min_false_positives: 4, min_samples: 4, ..ProbeOptions::default() };
        Self { _dir: dir, set, space, samples, fit: rows(0..fitted), val: rows(fitted..count), options, planted }
    }

    /// The direction that sets samples with the concept apart, in the form of the variant.
    pub(super) fn planted(&self) -> Vec<f64> {
        match self.space.variant {
            Variant::Full => self.planted.clone(),
            _ => self.planted.chunks_exact(self.set.positions()).map(|channel| channel.iter().sum()).collect(),
        }
    }

    /// Activations as f64, flattened: what coordinates without a span are made from.
    pub(super) fn activations(&self) -> Array2<f64> {
        self.set.column_block(&self.samples, 0..self.set.width()).unwrap().mapv(f64::from)
    }

    /// How many rows are fitted on.
    pub(super) fn fitted(&self) -> usize {
        self.fit.positive.len() + self.fit.negative.len()
    }

    /// Does something with the task.
    pub(super) fn with<T>(&self, f: impl FnOnce(&Task<'_>) -> T) -> T {
        let rows: Vec<usize> = (0..self.samples.len()).collect();
        let positions = self.set.positions();
        let [_, height, width] = self.set.shape;
        let coverage = |row: usize, (h, w): (usize, usize)| -> Result<Option<Vec<f32>>> {
            let present = self.fit.positive.contains(&row) || self.val.positive.contains(&row);
            // The cell of the layer that a cell of the grid lies in.
            let of_layer = |p: usize| p / w * height / h * width + p % w * width / w;
            let cell = |p: usize| f32::from(u8::from(present && of_layer(p) < positions.div_ceil(2)));
            Ok(Some((0..h * w).map(cell).collect()))
        };
        f(&Task {
            concept: "planted",
            set: &self.set,
            space: &self.space,
            fit: &self.fit,
            val: &self.val,
            blocks: &rows,
            sources: &vec![0; rows.len()],
            coverage: &coverage,
            options: &self.options,
            seed: Seed(5),
        })
    }
}

/// One data set of tests/golden/probes.json, with what scikit-learn finds in it.
#[derive(Deserialize)]
pub(super) struct Golden {
    pub(super) columns: usize,
    pub(super) x: Vec<f64>,
    pub(super) label: Vec<f32>,
    weight: Vec<f64>,
    pub(super) lambdas: Vec<f64>,
    pub(super) ridge: Vec<Vec<f64>>,
    pub(super) svm: Vec<Vec<f64>>,
    pub(super) shrinkages: Vec<f64>,
    pub(super) lda: Vec<Vec<f64>>,
    /// Where the classes are equal.
    pub(super) ledoit_wolf: Option<f64>,
}

impl Golden {
    /// Every data set: more samples than columns, and fewer.
    pub(super) fn each(f: impl Fn(&Self)) {
        let all: Vec<Self> = serde_json::from_str(include_str!("../../tests/golden/probes.json")).unwrap();
        all.iter().for_each(f);
    }

    /// The weighted samples.
    pub(super) fn samples(&self) -> Weighted<f64> {
        let (x, label, weight) = (self.x.clone(), self.label.clone(), self.weight.clone());
        Weighted { columns: self.columns, x, label, weight }
    }

    /// Weights, and the offset behind them, against what is wanted.
    pub(super) fn compare(&self, what: &str, weights: &[f64], bias: f64, wanted: &[f64], tolerance: f64) {
        let (w, b) = wanted.split_at(self.columns);
        let cosine = dot(weights, w) / (norm(weights) * norm(w));
        assert!(1.0 - cosine < tolerance, "{what}: cosine {cosine}");
        assert!((bias - b[0]).abs() < tolerance * (1.0 + b[0].abs()), "{what}: bias {bias}, wanted {}", b[0]);
        let length = norm(weights) / norm(w);
        assert!((length - 1.0).abs() < tolerance, "{what}: longer by {length}");
    }
}
