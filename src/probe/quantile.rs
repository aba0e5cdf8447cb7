//! Where the activations of single channels lie: their quantile over all positions, exactly, and their spread.

use rayon::prelude::*;

use crate::activation::LayerSet;
use crate::error::Result;

/// Share of all positions that are above a channel's threshold (NetDissect, Bau et al. 2017).
pub(super) const ABOVE: f64 = 0.005;
/// Largest values kept at once: 64 MB.
const KEPT: usize = 16 << 20;
/// Samples read at once.
const BATCH: usize = 32;

/// What is known of one channel over all positions of some samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Channel {
    /// The value that at most a share of [`ABOVE`] of the positions exceeds: one more is at least as large. Without values
    /// it is infinite.
    pub(super) threshold: f32,
    /// Standard deviation.
    pub(super) deviation: f64,
}

/// Reads all positions of `samples`, a block of channels at a time, so that their largest values fit into memory.
///
/// # Errors
/// When activations cannot be read.
pub(super) fn channels(set: &LayerSet, samples: &[usize]) -> Result<Vec<Channel>> {
    let (channels, positions) = (set.shape[0], set.positions());
    let above = (ABOVE * (samples.len() * positions) as f64) as usize;
    let block = (KEPT / (2 * above + positions * BATCH).max(1)).clamp(1, channels.max(1));
    let mut out = Vec::with_capacity(channels);
    for first in (0..channels).step_by(block) {
        let last = (first + block).min(channels);
        let mut tails: Vec<Tail> = (first..last).map(|_| Tail::default()).collect();
        for samples in samples.chunks(BATCH) {
            let values = set.column_block(samples, first * positions..last * positions)?;
            tails.par_iter_mut().enumerate().for_each(|(c, tail)| {
                for map in values.rows() {
                    (c * positions..(c + 1) * positions).for_each(|k| tail.push(map[k], above));
                }
            });
        }
        out.extend(tails.into_iter().map(|tail| tail.finish(above)));
    }
    Ok(out)
}

/// The largest values of a channel, and its moments.
#[derive(Default)]
struct Tail {
    largest: Vec<f32>,
    count: f64,
    sum: f64,
    square: f64,
}

impl Tail {
    fn push(&mut self, value: f32, above: usize) {
        self.count += 1.0;
        self.sum += f64::from(value);
        self.square += f64::from(value) * f64::from(value);
        self.largest.push(value);
        if self.largest.len() > 2 * above + 64 {
            self.cut(above);
        }
    }

    /// Keeps the largest and one more, which stands last.
    fn cut(&mut self, above: usize) {
        if self.largest.len() > above {
            self.largest.select_nth_unstable_by(above, |a, b| b.total_cmp(a));
            self.largest.truncate(above + 1);
        }
    }

    fn finish(mut self, above: usize) -> Channel {
        self.cut(above);
        let mean = self.sum / self.count.max(1.0);
        let deviation = (self.square / self.count.max(1.0) - mean * mean).max(0.0).sqrt();
        Channel { threshold: self.largest.get(above).copied().unwrap_or(f32::INFINITY), deviation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::test_set;

    #[test]
    fn thresholds_are_those_of_sorted_values() {
        let (_dir, set) = test_set(70, [3, 4, 5]);
        let samples: Vec<usize> = (0..70).collect();
        let found = channels(&set, &samples).unwrap();
        for (c, channel) in found.iter().enumerate() {
            let mut all: Vec<f32> =
                samples.iter().flat_map(|s| set.map(*s).unwrap()[c * 20..(c + 1) * 20].to_vec()).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            // Seven of 1400 values are above.
            assert_eq!(channel.threshold, all[7]);
            let mean = all.iter().map(|v| f64::from(*v)).sum::<f64>() / 1400.0;
            let variance = all.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 1400.0;
            assert!((channel.deviation - variance.sqrt()).abs() < 1e-9);
        }
    }

    #[test]
    fn many_values_go_through_little_memory() {
        let mut tail = Tail::default();
        (0..100_000).for_each(|i| tail.push((i * 7919 % 100_003) as f32, 500));
        assert!(tail.largest.len() <= 1064);
        let mut all: Vec<f32> = (0..100_000).map(|i| (i * 7919 % 100_003) as f32).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(tail.finish(500).threshold, all[500]);
    }
}
