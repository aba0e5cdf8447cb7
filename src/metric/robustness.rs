//! What becomes of a probe's scores when pictures change and the concept stays.

use super::accuracy::Decisions;
use super::bootstrap::{ratio, weighted_mean};

/// The scores of samples as they are and under augmented views, reduced so that every resample costs one pass.
///
/// Weights are how often a sample counts. All definitions are ours.
#[derive(Debug, Clone)]
pub struct Views {
    clean: Decisions,
    /// Number of scores of each sample: the clean one and one a view.
    count: usize,
    present: Vec<bool>,
    scores: Vec<f64>,
    /// Share of views whose decision is right.
    right: Vec<f64>,
    /// Share of views whose decision differs from the clean one.
    flipped: Vec<f64>,
    /// Whether the clean decision and that of every view are right.
    always_right: Vec<bool>,
    /// Mean over the clean score and the views.
    mean: Vec<f64>,
    /// Sum of squared distances of these scores to their mean.
    within: Vec<f64>,
    /// Clean score less the mean of the views.
    loss: Vec<f64>,
}

impl Views {
    /// Takes the scores of samples: `clean[sample]` and `views[view][sample]`, with the labels and the threshold above
    /// which a score means present.
    pub fn new(clean: &[f64], views: &[&[f64]], present: &[bool], threshold: f64) -> Self {
        let decisions = Decisions::new(clean, present, threshold);
        let of_views: Vec<_> = views.iter().map(|v| Decisions::new(v, present, threshold)).collect();
        let count = views.len() + 1;
        let samples = 0..clean.len();
        // NaN without a view.
        let share = |n: usize| n as f64 / views.len() as f64;
        let right = |i: usize| of_views.iter().filter(|d| d.right(i)).count();
        let sum = |i: usize| views.iter().map(|v| v[i]).sum::<f64>();
        let mean = |i: usize| (clean[i] + sum(i)) / count as f64;
        let within = |i: usize| {
            let squares = views.iter().map(|v| v[i]).chain([clean[i]]).map(|s| (s - mean(i)).powi(2));
            squares.sum::<f64>()
        };
        let flips = |i: usize| views.iter().filter(|v| (v[i] > threshold) != (clean[i] > threshold)).count();
        Self {
            count,
            present: present.to_vec(),
            scores: clean.to_vec(),
            right: samples.clone().map(|i| share(right(i))).collect(),
            flipped: samples.clone().map(|i| share(flips(i))).collect(),
            always_right: samples.clone().map(|i| decisions.right(i) && right(i) == views.len()).collect(),
            mean: samples.clone().map(mean).collect(),
            within: samples.clone().map(within).collect(),
            loss: samples.map(|i| clean[i] - sum(i) / views.len() as f64).collect(),
            clean: decisions,
        }
    }

    /// Balanced accuracy over all views, in [0, 1]; NaN where a class is empty or there is no view.
    pub fn accuracy(&self, weights: &[f64]) -> f64 {
        self.balanced(weights, |i| self.right[i])
    }

    /// R1, accuracy retention: balanced accuracy over all views divided by the clean one. From 0; 1 where nothing is
    /// lost.
    pub fn retention(&self, weights: &[f64]) -> f64 {
        ratio(self.accuracy(weights), self.clean.balanced(weights))
    }

    /// R2, flip rate: share of samples and views that are decided otherwise than the clean sample, in [0, 1]; 0 where
    /// nothing changes.
    pub fn flip_rate(&self, weights: &[f64]) -> f64 {
        weighted_mean(&self.flipped, weights)
    }

    /// R3, the intraclass correlation of the scores `V_between / (V_between + V_within)`: one-way random effects, one
    /// group a sample with its k scores (clean and views).
    ///
    /// With group means m_i and their mean m: `MS_b = k sum (m_i - m)² / (n - 1)`, `MS_w = sum sum (s_ij - m_i)² /
    /// (n (k - 1))`, `V_within = MS_w`, `V_between = (MS_b - MS_w) / k`, which is ICC(1, 1) of Shrout and Fleiss
    /// (1979). In [-1 / (k - 1), 1]; 0 where a view says nothing of the clean score; it does not depend on the scale of
    /// the scores. NaN without a view or with fewer than two samples.
    pub fn icc(&self, weights: &[f64]) -> f64 {
        let n: f64 = weights.iter().take(self.mean.len()).sum();
        let k = self.count as f64;
        if self.count < 2 || n < 2.0 {
            return f64::NAN;
        }
        let centre = weighted_mean(&self.mean, weights);
        let between: f64 = self.mean.iter().zip(weights).map(|(m, w)| w * (m - centre).powi(2)).sum();
        let within: f64 = self.within.iter().zip(weights).map(|(s, w)| w * s).sum();
        let (between, within) = (k * between / (n - 1.0), within / (n * (k - 1.0)));
        ratio(between - within, between + (k - 1.0) * within)
    }

    /// R4, margin loss on positives: mean of the clean score less the score of a view, in standard deviations of the
    /// positives' clean scores (`sqrt(sum w (s - mean)² / sum w)`). 0 where nothing is lost, negative where views
    /// score higher. NaN where the positives' scores do not differ.
    pub fn margin_loss(&self, weights: &[f64]) -> f64 {
        let (mut n, mut sum, mut squares, mut loss) = (0.0, 0.0, 0.0, 0.0);
        let shift = self.scores.first().copied().unwrap_or(0.0);
        for (i, w) in weights.iter().enumerate().take(self.scores.len()).filter(|(i, _)| self.present[*i]) {
            // Squares about a score of the set: those of raw scores would cancel.
            let s = self.scores[i] - shift;
            n += w;
            sum += w * s;
            squares += w * s * s;
            loss += w * self.loss[i];
        }
        ratio(ratio(loss, n), (ratio(squares, n) - ratio(sum, n).powi(2)).max(0.0).sqrt())
    }

    /// R5, worst of views: balanced accuracy where a sample is right only if its clean decision and that of every view
    /// are. In [0, 1], never above the clean accuracy; NaN where a class is empty.
    pub fn worst(&self, weights: &[f64]) -> f64 {
        self.balanced(weights, |i| f64::from(u8::from(self.always_right[i])))
    }

    fn balanced(&self, weights: &[f64], right: impl Fn(usize) -> f64) -> f64 {
        let (mut sums, mut totals) = ([0.0; 2], [0.0; 2]);
        for (i, (p, w)) in self.present.iter().zip(weights).enumerate() {
            sums[usize::from(*p)] += w * right(i);
            totals[usize::from(*p)] += w;
        }
        f64::midpoint(ratio(sums[0], totals[0]), ratio(sums[1], totals[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENT: [bool; 4] = [true, true, false, false];

    #[test]
    fn by_hand() {
        let clean = [2.0, 4.0, -1.0, -3.0];
        let (first, second) = ([1.0, -1.0, -1.0, -2.0], [3.0, 1.0, 1.0, -3.0]);
        let v = Views::new(&clean, &[&first, &second], &PRESENT, 0.0);
        let ones = [1.0; 4];
        assert_eq!(v.accuracy(&ones), 0.75);
        assert_eq!(v.retention(&ones), 0.75);
        assert_eq!(v.flip_rate(&ones), 0.25);
        assert_eq!(v.worst(&ones), 0.5);
        // Losses 0 and 4 on positives, whose scores have standard deviation 1.
        assert!((v.margin_loss(&ones) - 2.0).abs() < 1e-12);
        assert_eq!(v.accuracy(&[1.0, 3.0, 1.0, 1.0]), f64::midpoint(0.625, 0.75));
    }

    #[test]
    fn unchanged_scores_are_perfect() {
        let clean = [2.0, 4.0, -1.0, -3.0];
        let v = Views::new(&clean, &[&clean, &clean], &PRESENT, 0.0);
        let ones = [1.0; 4];
        assert_eq!(
            (v.retention(&ones), v.flip_rate(&ones), v.margin_loss(&ones), v.worst(&ones)),
            (1.0, 0.0, 0.0, 1.0)
        );
        assert!((v.icc(&ones) - 1.0).abs() < 1e-12);
    }

    /// The ratings of Shrout and Fleiss (1979), table 2: ICC(1, 1) is .17.
    #[test]
    fn the_intraclass_correlation_is_that_of_shrout_and_fleiss() {
        let ratings = [
            [9.0, 6.0, 8.0, 7.0, 10.0, 6.0],
            [2.0, 1.0, 4.0, 1.0, 5.0, 2.0],
            [5.0, 3.0, 6.0, 2.0, 6.0, 4.0],
            [8.0, 2.0, 8.0, 6.0, 9.0, 7.0],
        ];
        let v = Views::new(&ratings[0], &[&ratings[1], &ratings[2], &ratings[3]], &[true; 6], 0.0);
        // Between subjects 11.24 of 5 degrees of freedom, within 6.26 of 18.
        let (between, within) = (56.208_333_333 / 5.0, 112.75 / 18.0);
        let expected = (between - within) / (between + 3.0 * within);
        assert!((v.icc(&[1.0; 6]) - expected).abs() < 1e-9);
        assert!((expected - 0.17).abs() < 0.005);
    }

    #[test]
    fn the_intraclass_correlation_has_a_closed_form_for_two_scores_and_no_scale() {
        // Means ±a, differences ±d within: MS_b = 4 a², MS_w = d² / 2, over two samples.
        let (a, d): (f64, f64) = (3.0, 1.0);
        let v = Views::new(&[a + d / 2.0, -a + d / 2.0], &[&[a - d / 2.0, -a - d / 2.0]], &[true, false], 0.0);
        let expected = (4.0 * a * a - d * d / 2.0) / (4.0 * a * a + d * d / 2.0);
        assert!((v.icc(&[1.0; 2]) - expected).abs() < 1e-12);
        let scaled = Views::new(&[35.0, -25.0], &[&[25.0, -35.0]], &[true, false], 0.0);
        assert!((scaled.icc(&[1.0; 2]) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_weight_of_two_is_the_sample_twice() {
        let (clean, view) = ([2.0, 4.0, -1.0, -3.0], [1.0, 5.0, 1.0, -3.5]);
        let once = Views::new(&clean, &[&view], &PRESENT, 0.0);
        let again = |v: &[f64; 4]| vec![v[0], v[0], v[1], v[2], v[3], v[3]];
        let twice = Views::new(&again(&clean), &[&again(&view)], &[true, true, true, false, false, false], 0.0);
        let (w, ones) = ([2.0, 1.0, 1.0, 2.0], [1.0; 6]);
        let statistics = [Views::accuracy, Views::retention, Views::flip_rate, Views::icc, Views::margin_loss];
        for statistic in statistics {
            assert!((statistic(&once, &w) - statistic(&twice, &ones)).abs() < 1e-12);
        }
    }

    #[test]
    fn without_views_or_a_class_nothing_is_said() {
        let v = Views::new(&[1.0, -1.0], &[], &[true, false], 0.0);
        let ones = [1.0; 2];
        assert!(v.retention(&ones).is_nan() && v.flip_rate(&ones).is_nan() && v.icc(&ones).is_nan());
        assert!(Views::new(&[1.0], &[&[1.0]], &[true], 0.0).worst(&[1.0]).is_nan());
    }
}
