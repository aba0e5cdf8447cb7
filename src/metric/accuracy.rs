//! Accuracy of a probe's scores, weighted: balanced accuracy at a threshold, AUROC, average precision.
//!
//! Weights are how often a sample counts, as a bootstrap draws it; all ones for the samples themselves.

use super::bootstrap::ratio;

/// What a probe decides of every sample at a threshold: present where `score > threshold`.
///
/// A score that is not a number is a wrong decision, whatever the label.
#[derive(Debug, Clone)]
pub struct Decisions {
    /// For each sample: 2 where the concept is present, plus 1 where the decision is right.
    codes: Vec<u8>,
}

impl Decisions {
    /// Decides on scores against the labels `present`.
    pub fn new(scores: &[f64], present: &[bool], threshold: f64) -> Self {
        let code = |(s, p): (&f64, &bool)| {
            let right = if *p { *s > threshold } else { *s <= threshold };
            u8::from(*p) * 2 + u8::from(right)
        };
        Self { codes: scores.iter().zip(present).map(code).collect() }
    }

    /// Whether the decision on a sample is right.
    pub fn right(&self, sample: usize) -> bool {
        self.codes[sample] & 1 == 1
    }

    /// Share of present samples decided right, in [0, 1]; NaN without a present sample.
    pub fn sensitivity(&self, weights: &[f64]) -> f64 {
        let sums = self.sums(weights);
        ratio(sums[3], sums[2] + sums[3])
    }

    /// Share of absent samples decided right, in [0, 1]; NaN without an absent sample.
    pub fn specificity(&self, weights: &[f64]) -> f64 {
        let sums = self.sums(weights);
        ratio(sums[1], sums[0] + sums[1])
    }

    /// Balanced accuracy `(sensitivity + specificity) / 2`, in [0, 1]; 0.5 is chance; NaN where a class is empty.
    pub fn balanced(&self, weights: &[f64]) -> f64 {
        let sums = self.sums(weights);
        f64::midpoint(ratio(sums[3], sums[2] + sums[3]), ratio(sums[1], sums[0] + sums[1]))
    }

    fn sums(&self, weights: &[f64]) -> [f64; 4] {
        let mut sums = [0.0; 4];
        self.codes.iter().zip(weights).for_each(|(code, w)| sums[(*code & 3) as usize] += w);
        sums
    }
}

/// Samples sorted by score once, so that every resample costs one pass.
///
/// A score that is not a number ranks where it is most wrong: last if the concept is present, first if absent.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Samples, highest score first.
    order: Vec<u32>,
    /// In that order: 1 where the concept is present, plus 2 where the next sample has a lower score.
    flags: Vec<u8>,
}

impl Ranking {
    /// Sorts samples by score.
    pub fn new(scores: &[f64], present: &[bool]) -> Self {
        let worst = |p: bool| if p { f64::NEG_INFINITY } else { f64::INFINITY };
        let key = |(s, p): (&f64, &bool)| if s.is_nan() { worst(*p) } else { *s };
        let keys: Vec<f64> = scores.iter().zip(present).map(key).collect();
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_by(|a, b| keys[*b as usize].total_cmp(&keys[*a as usize]));
        let ends = |i: usize| order.get(i + 1).is_none_or(|next| keys[*next as usize] < keys[order[i] as usize]);
        let flag = |i: usize| u8::from(present[order[i] as usize]) + 2 * u8::from(ends(i));
        let flags = (0..order.len()).map(flag).collect();
        Self { order, flags }
    }

    /// Area under the ROC curve: the probability that a present sample scores above an absent one, ties counting half.
    /// In [0, 1]; 0.5 is chance; NaN where a class is empty.
    pub fn auroc(&self, weights: &[f64]) -> f64 {
        // Positives above, and pairs won, up to the last complete group of ties; the group so far.
        let (mut above, mut negatives, mut won) = (0.0, 0.0, 0.0);
        let (mut tied_positive, mut tied_negative) = (0.0, 0.0);
        for (sample, flag) in self.order.iter().zip(&self.flags) {
            let w = weights[*sample as usize];
            if flag & 1 == 1 {
                tied_positive += w;
            } else {
                tied_negative += w;
            }
            if flag & 2 == 2 {
                won += tied_negative * (above + tied_positive / 2.0);
                above += tied_positive;
                negatives += tied_negative;
                (tied_positive, tied_negative) = (0.0, 0.0);
            }
        }
        ratio(won, above * negatives)
    }

    /// Average precision: `sum over thresholds of (recall gained) * precision`, ties entering together (as in
    /// scikit-learn). In [0, 1]; chance is the share of present samples; NaN without a present sample.
    pub fn average_precision(&self, weights: &[f64]) -> f64 {
        let (mut positives, mut taken, mut tied_positive, mut area) = (0.0, 0.0, 0.0, 0.0);
        for (sample, flag) in self.order.iter().zip(&self.flags) {
            let w = weights[*sample as usize];
            taken += w;
            tied_positive += if flag & 1 == 1 { w } else { 0.0 };
            if flag & 2 == 2 && tied_positive > 0.0 {
                positives += tied_positive;
                area += tied_positive * positives / taken;
                tied_positive = 0.0;
            }
        }
        ratio(area, positives)
    }
}

/// Weighted share of samples with the concept, in [0, 1]: what average precision gives by chance; NaN without weight.
pub fn prevalence(present: &[bool], weights: &[f64]) -> f64 {
    let part: f64 = present.iter().zip(weights).filter(|(p, _)| **p).map(|(_, w)| w).sum();
    ratio(part, weights.iter().take(present.len()).sum())
}

/// Standard error of an AUROC `a` of n+ positives and n- negatives after Hanley and McNeil (1982):
/// `sqrt((a (1 - a) + (n+ - 1) (a / (2 - a) - a²) + (n- - 1) (2 a² / (1 + a) - a²)) / (n+ n-))`; NaN where a class is
/// empty.
pub fn hanley_mcneil(auroc: f64, positives: usize, negatives: usize) -> f64 {
    if positives == 0 || negatives == 0 {
        return f64::NAN;
    }
    let (a, p, n) = (auroc, positives as f64, negatives as f64);
    let from_positives = (p - 1.0) * (a / (2.0 - a) - a * a);
    let from_negatives = (n - 1.0) * (2.0 * a * a / (1.0 + a) - a * a);
    ((a * (1.0 - a) + from_positives + from_negatives) / (p * n)).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: [f64; 6] = [1.0; 6];

    #[test]
    fn accuracy_by_hand() {
        let present = [true, true, true, false, false, false];
        // A score equal to the threshold is absent.
        let d = Decisions::new(&[1.0, 0.0, 2.0, 0.0, -1.0, 3.0], &present, 0.0);
        assert_eq!(d.sensitivity(&ONES), 2.0 / 3.0);
        assert_eq!(d.specificity(&ONES), 2.0 / 3.0);
        assert_eq!(d.balanced(&ONES), 2.0 / 3.0);
        assert_eq!(d.balanced(&[1.0, 0.0, 1.0, 2.0, 1.0, 1.0]), f64::midpoint(1.0, 0.75));
        assert!(d.right(0) && !d.right(1) && !d.right(5));
    }

    #[test]
    fn an_empty_class_has_no_accuracy() {
        let d = Decisions::new(&[1.0, 2.0], &[true, true], 0.0);
        assert!(d.balanced(&[1.0, 1.0]).is_nan() && d.specificity(&[1.0, 1.0]).is_nan());
        assert_eq!(d.sensitivity(&[1.0, 1.0]), 1.0);
        let r = Ranking::new(&[1.0, 2.0], &[false, false]);
        assert!(r.auroc(&[1.0, 1.0]).is_nan() && r.average_precision(&[1.0, 1.0]).is_nan());
        assert!(Ranking::new(&[], &[]).auroc(&[]).is_nan());
    }

    /// Captum's classifier took the argmax over an output of one column, which is class 0 for every sample: half right
    /// at best however well the classes are apart.
    #[test]
    fn accuracy_is_no_argmax_over_one_column() {
        let present = [true, true, true, false, false, false];
        let scores = [3.0, 2.0, 1.0, -1.0, -2.0, -3.0];
        assert_eq!(Decisions::new(&scores, &present, 0.0).balanced(&ONES), 1.0);
        let wrong = scores.map(|s: f64| -s);
        assert_eq!(Decisions::new(&wrong, &present, 0.0).balanced(&ONES), 0.0);
        let always_class_0 = [-1.0; 6];
        assert_eq!(Decisions::new(&always_class_0, &present, 0.0).balanced(&ONES), 0.5);
    }

    #[test]
    fn ties_count_half() {
        let present = [true, false, true, false];
        let ones = [1.0; 4];
        assert_eq!(Ranking::new(&[0.5; 4], &present).auroc(&ones), 0.5);
        assert_eq!(Ranking::new(&[0.5; 4], &present).average_precision(&ones), 0.5);
        // Pairs: 2>1, 2=2 half, 3>1, 3>2: 3.5 of 4.
        assert_eq!(Ranking::new(&[2.0, 1.0, 3.0, 2.0], &present).auroc(&ones), 3.5 / 4.0);
        // Recall 1/2 at precision 1, then 1/2 at 2/3.
        assert_eq!(Ranking::new(&[2.0, 1.0, 3.0, 2.0], &present).average_precision(&ones), 0.5 + 1.0 / 3.0);
        assert_eq!(Ranking::new(&[0.0, -0.0, 0.0, -0.0], &present).auroc(&ones), 0.5);
    }

    #[test]
    fn a_weight_of_two_is_the_sample_twice() {
        let scores = [0.3, 0.1, 0.9, 0.3, 0.7, 0.2];
        let present = [true, false, true, false, false, true];
        let weights = [2.0, 1.0, 0.0, 3.0, 1.0, 1.0];
        let twice: Vec<usize> = (0..6).flat_map(|i| std::iter::repeat_n(i, weights[i] as usize)).collect();
        let s: Vec<f64> = twice.iter().map(|i| scores[*i]).collect();
        let p: Vec<bool> = twice.iter().map(|i| present[*i]).collect();
        let ones = vec![1.0; s.len()];
        let (a, b) = (Ranking::new(&scores, &present), Ranking::new(&s, &p));
        assert!((a.auroc(&weights) - b.auroc(&ones)).abs() < 1e-12);
        assert!((a.average_precision(&weights) - b.average_precision(&ones)).abs() < 1e-12);
        assert_eq!(prevalence(&present, &weights), prevalence(&p, &ones));
        let (a, b) = (Decisions::new(&scores, &present, 0.25), Decisions::new(&s, &p, 0.25));
        assert_eq!(a.balanced(&weights), b.balanced(&ones));
    }

    #[test]
    fn a_score_that_is_no_number_is_wrong() {
        let (scores, present) = ([f64::NAN, f64::NAN, 1.0, -1.0], [true, false, true, false]);
        assert_eq!(Decisions::new(&scores, &present, 0.0).balanced(&[1.0; 4]), 0.5);
        assert_eq!(Ranking::new(&scores, &present).auroc(&[1.0; 4]), 0.25);
    }

    #[test]
    fn hanley_mcneil_by_hand() {
        // a = 0.5: a / (2 - a) - a² = 1/12, 2 a² / (1 + a) - a² = 1/12.
        let expected = ((0.25f64 + 9.0 / 12.0 + 19.0 / 12.0) / 200.0).sqrt();
        assert!((hanley_mcneil(0.5, 10, 20) - expected).abs() < 1e-12);
        assert_eq!(hanley_mcneil(1.0, 10, 20), 0.0);
        assert!(hanley_mcneil(0.5, 0, 20).is_nan());
    }

    /// Values of tests/golden/metrics.py, made with scikit-learn.
    #[test]
    fn agrees_with_scikit_learn() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/metrics.json")).unwrap();
        let list = |key: &str| serde_json::from_value::<Vec<f64>>(golden[key].clone()).unwrap();
        let present: Vec<bool> = serde_json::from_value(golden["present"].clone()).unwrap();
        let (scores, weights) = (list("scores"), list("weights"));
        let ones = vec![1.0; scores.len()];
        let ranking = Ranking::new(&scores, &present);
        let decisions = Decisions::new(&scores, &present, 0.0);
        let close = |a: f64, key: &str| assert!((a - golden[key].as_f64().unwrap()).abs() < 1e-12, "{key}: {a}");
        close(ranking.auroc(&ones), "auroc");
        close(ranking.auroc(&weights), "auroc_weighted");
        close(ranking.average_precision(&ones), "average_precision");
        close(ranking.average_precision(&weights), "average_precision_weighted");
        close(decisions.balanced(&ones), "balanced_accuracy");
        close(decisions.balanced(&weights), "balanced_accuracy_weighted");
    }
}
