//! Block bootstrap: intervals for any statistic that takes a weight for every sample.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Estimate;

/// Replicates one thread works through before it takes more: enough to outweigh the cost of sharing out.
const CHUNK: usize = 64;

/// Resamples of the blocks of a set of samples. Samples of one block (a clip, a scene) are drawn together, so that the
/// interval knows how few independent things there are.
///
/// Every statistic sees the same resamples: differences of two statistics are paired.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// For each sample its block, counted from zero in the order of the block ids.
    block_of: Vec<u32>,
    blocks: usize,
    replicates: usize,
    /// `[replicate][block]`: how often the block was drawn.
    counts: Vec<u16>,
}

impl Bootstrap {
    /// Draws `replicates` resamples of as many blocks as there are. `blocks` has the block id of every sample. The
    /// draws depend on the set of ids and the stream only, never on the order of the samples.
    pub fn new(blocks: &[usize], replicates: usize, rng: &mut ChaCha8Rng) -> Self {
        Self::within(&vec![0; blocks.len()], blocks, replicates, rng)
    }

    /// Draws blocks within strata (runs, say): from every stratum as many as it has. `strata` has the stratum of every
    /// sample; the same block id in two strata is two blocks.
    pub fn within(strata: &[usize], blocks: &[usize], replicates: usize, rng: &mut ChaCha8Rng) -> Self {
        let of_sample: Vec<(usize, usize)> = strata.iter().copied().zip(blocks.iter().copied()).collect();
        let mut ids = of_sample.clone();
        ids.sort_unstable();
        ids.dedup();
        let block_of = of_sample.iter().map(|id| ids.partition_point(|other| other < id) as u32).collect();
        let sizes: Vec<usize> = ids.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).collect();
        let mut counts = vec![0u16; replicates * ids.len()];
        for replicate in counts.chunks_exact_mut(ids.len().max(1)) {
            let mut rest = replicate;
            for size in &sizes {
                let (stratum, others) = rest.split_at_mut(*size);
                for _ in 0..*size {
                    let drawn = &mut stratum[rng.random_range(0..*size)];
                    *drawn = drawn.saturating_add(1);
                }
                rest = others;
            }
        }
        Self { block_of, blocks: ids.len(), replicates, counts }
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.block_of.len()
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Number of replicates.
    pub fn replicates(&self) -> usize {
        self.replicates
    }

    /// Writes the weights of a replicate: how often each sample's block was drawn.
    pub fn weights(&self, replicate: usize, out: &mut [f64]) {
        let counts = &self.counts[replicate * self.blocks..(replicate + 1) * self.blocks];
        out.iter_mut().zip(&self.block_of).for_each(|(o, b)| *o = f64::from(counts[*b as usize]));
    }

    /// The statistic of every replicate, in order, whatever the number of threads.
    pub fn statistics(&self, statistic: impl Fn(&[f64]) -> f64 + Sync) -> Vec<f64> {
        let mut values = vec![f64::NAN; self.replicates];
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            let mut weights = vec![0.0; self.samples()];
            for (i, value) in values.iter_mut().enumerate() {
                self.weights(chunk * CHUNK + i, &mut weights);
                *value = statistic(&weights);
            }
        });
        values
    }

    /// Percentile interval at 95 % of a weighted statistic; replicates where it is NaN are left out. NaN for both ends
    /// with fewer than two blocks: one block says nothing of how blocks differ.
    pub fn interval(&self, statistic: impl Fn(&[f64]) -> f64 + Sync) -> (f64, f64) {
        if self.blocks < 2 {
            return (f64::NAN, f64::NAN);
        }
        percentile_interval(self.statistics(statistic))
    }

    /// Percentile interval at 95 % of `first - second`, both of the same resample.
    pub fn difference(
        &self,
        first: impl Fn(&[f64]) -> f64 + Sync,
        second: impl Fn(&[f64]) -> f64 + Sync,
    ) -> (f64, f64) {
        self.interval(|w| first(w) - second(w))
    }

    /// The statistic of the samples themselves with its interval, the level of chance, and the number of samples
    /// behind it.
    pub fn estimate(&self, statistic: impl Fn(&[f64]) -> f64 + Sync, null: f64, null_kind: &str, n: usize) -> Estimate {
        let value = statistic(&vec![1.0; self.samples()]);
        let (ci_low, ci_high) = if value.is_nan() { (f64::NAN, f64::NAN) } else { self.interval(statistic) };
        Estimate { value, ci_low, ci_high, null, null_kind: null_kind.to_owned(), n }
    }
}

/// The 2.5 % and 97.5 % quantiles of the values that are not NaN; NaN without one.
pub fn percentile_interval(mut values: Vec<f64>) -> (f64, f64) {
    values.retain(|v| !v.is_nan());
    values.sort_unstable_by(f64::total_cmp);
    (quantile(&values, 0.025), quantile(&values, 0.975))
}

/// The quantile `q` in [0, 1] of sorted values, interpolated linearly between neighbours (numpy's default); NaN of
/// none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

/// Weighted mean of the values that are not NaN: `sum w v / sum w`; NaN where nothing has weight. With the weights of
/// a resample it is the resample's mean, which is all that a mean over samples needs to have an interval.
pub fn weighted_mean(values: &[f64], weights: &[f64]) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (v, w) in values.iter().zip(weights) {
        if !v.is_nan() {
            sum += w * v;
            total += w;
        }
    }
    ratio(sum, total)
}

/// `part / whole`; NaN where the whole is not positive.
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn bootstrap(blocks: &[usize], replicates: usize) -> Bootstrap {
        Bootstrap::new(blocks, replicates, &mut Seed(1).stream("bootstrap"))
    }

    #[test]
    fn samples_of_a_block_are_drawn_together_and_blocks_as_often_as_there_are() {
        let b = bootstrap(&[7, 7, 3, 9], 50);
        let mut w = vec![0.0; 4];
        for replicate in 0..50 {
            b.weights(replicate, &mut w);
            assert_eq!(w[0], w[1]);
            assert_eq!(w[0] + w[2] + w[3], 3.0);
        }
    }

    #[test]
    fn strata_keep_their_sizes() {
        let (strata, blocks) = ([0, 0, 0, 1, 1], [5, 6, 6, 5, 7]);
        let b = Bootstrap::within(&strata, &blocks, 50, &mut Seed(1).stream("within"));
        assert_eq!(b.blocks(), 4);
        let mut w = vec![0.0; 5];
        for replicate in 0..50 {
            b.weights(replicate, &mut w);
            assert_eq!((w[0] + w[1], w[3] + w[4]), (2.0, 2.0));
            assert_eq!(w[1], w[2]);
        }
    }

    #[test]
    fn the_interval_of_a_mean_has_the_normal_width() {
        let n = 400;
        let values: Vec<f64> = (0..n).map(|i| f64::from(i % 2)).collect();
        let blocks: Vec<usize> = (0..n as usize).collect();
        let (low, high) = bootstrap(&blocks, 2000).interval(|w| weighted_mean(&values, w));
        let half = 1.96 * 0.5 / f64::from(n).sqrt();
        assert!((low - (0.5 - half)).abs() < 0.01 && (high - (0.5 + half)).abs() < 0.01, "{low} {high}");
        // Two samples a block, both the same: as wide as half as many samples would be.
        let blocks: Vec<usize> = (0..n as usize).map(|i| i / 4).collect();
        let blocked: Vec<f64> = (0..n).map(|i| f64::from((i / 4) % 2)).collect();
        let (low, high) = bootstrap(&blocks, 2000).interval(|w| weighted_mean(&blocked, w));
        assert!((high - low - 4.0 * half).abs() < 0.02, "{low} {high}");
    }

    #[test]
    fn the_draws_do_not_depend_on_threads_or_on_the_order_of_samples() {
        let values: Vec<f64> = (0..90).map(|i| f64::from(i).sin()).collect();
        let blocks: Vec<usize> = (0..90).map(|i| i / 3).collect();
        let all = bootstrap(&blocks, 300).interval(|w| weighted_mean(&values, w));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let one = pool.install(|| bootstrap(&blocks, 300).interval(|w| weighted_mean(&values, w)));
        assert_eq!(all, one);
        let (values, blocks): (Vec<f64>, Vec<usize>) = values.into_iter().zip(blocks).rev().unzip();
        let reversed = bootstrap(&blocks, 300).interval(|w| weighted_mean(&values, w));
        assert!((all.0 - reversed.0).abs() < 1e-12 && (all.1 - reversed.1).abs() < 1e-12);
    }

    #[test]
    fn differences_are_paired() {
        let values: Vec<f64> = (0..40).map(f64::from).collect();
        let shifted: Vec<f64> = values.iter().map(|v| v + 2.0).collect();
        let blocks: Vec<usize> = (0..40).collect();
        let (low, high) =
            bootstrap(&blocks, 200).difference(|w| weighted_mean(&shifted, w), |w| weighted_mean(&values, w));
        assert!((low - 2.0).abs() < 1e-9 && (high - 2.0).abs() < 1e-9);
    }

    #[test]
    fn undefined_replicates_are_left_out_and_one_block_has_no_interval() {
        // Defined only where the first block was drawn.
        let b = bootstrap(&[0, 1], 400);
        let (low, high) = b.interval(|w| if w[0] > 0.0 { w[0] } else { f64::NAN });
        assert_eq!((low, high), (1.0, 2.0));
        let one = bootstrap(&[4, 4, 4], 10).estimate(|w| w.iter().sum(), 0.0, "chance", 3);
        assert!(one.value == 3.0 && one.ci_low.is_nan() && one.ci_high.is_nan());
        assert!(percentile_interval(vec![f64::NAN]).0.is_nan());
    }

    #[test]
    fn quantiles_are_interpolated() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 1.0), 8.0);
        assert_eq!(quantile(&[5.0], 0.3), 5.0);
    }
}
