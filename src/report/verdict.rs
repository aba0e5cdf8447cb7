//! Does a probe mean its concept? One verdict for each concept and kind of probe, by one rule. The rule is our definition.
//!
//! A probe is judged at the layer and variant where its accuracy on ordinary test samples is highest. Each question is
//! answered where the whole 95 % interval lies on one side of its null; verdicts are not corrected for their number, so they
//! are counted for the null probes too.

use std::collections::BTreeMap;

use super::correlation::TRUTH;
use super::info::is_null;
use super::row::MetricRow;
use super::select::{headline, natural, sorted};
use crate::metric::Estimate;

/// What the numbers say of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Right on ordinary samples, on hard ones and in its maps, as far as these were measured, and no less right on hard ones.
    Means,
    /// As [`Verdict::Means`], but less often right on hard samples.
    Partly,
    /// Right on ordinary samples; hard accuracy or maps are not told apart from their null.
    Open,
    /// Right on ordinary samples, and below its null on hard ones or in its maps.
    Else,
    /// Right on ordinary samples; nothing else was measured.
    Unasked,
    /// Not told apart from chance on ordinary samples.
    Blind,
}

impl Verdict {
    /// Every verdict, best first.
    pub(super) const ALL: [Self; 6] = [Self::Means, Self::Partly, Self::Open, Self::Else, Self::Unasked, Self::Blind];

    /// As a reader is told.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Means => "means it",
            Self::Partly => "in part",
            Self::Open => "not shown",
            Self::Else => "something else",
            Self::Unasked => "not asked",
            Self::Blind => "not found",
        }
    }

    /// What the words stand for.
    pub(super) const fn explanation(self) -> &'static str {
        match self {
            Self::Means => {
                "right more often than chance, also on hard samples and in its maps, and not less often on hard samples"
            }
            Self::Partly => "the same, but less often right where the concept is taken apart from its company",
            Self::Open => {
                "right more often than chance, but its hard accuracy or its maps are not told apart from theirs"
            }
            Self::Else => "right more often than chance, and below it on hard samples or in its maps",
            Self::Unasked => "right more often than chance; no masks and no hard samples to ask more with",
            Self::Blind => "not told apart from chance on ordinary samples",
        }
    }
}

/// Where a value lies beside its null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Above,
    /// The interval includes the null.
    At,
    Below,
}

impl Side {
    /// None without interval or null.
    fn of(e: &Estimate) -> Option<Self> {
        let known = e.ci_low.is_finite() && e.ci_high.is_finite() && e.null.is_finite() && !e.has_ceiling();
        known.then_some(match e {
            _ if e.ci_low > e.null => Self::Above,
            _ if e.ci_high < e.null => Self::Below,
            _ => Self::At,
        })
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::At => "at",
            Self::Below => "below",
        }
    }
}

/// One probe judged.
#[derive(Debug, Clone)]
pub(super) struct Judged<'a> {
    pub(super) concept: &'a str,
    pub(super) probe: &'a str,
    /// Where it was judged.
    pub(super) layer: &'a str,
    pub(super) variant: &'a str,
    pub(super) verdict: Verdict,
    pub(super) accuracy: &'a Estimate,
    /// What else was asked: the metric, its value, and where it lies beside its null.
    pub(super) asked: Vec<(&'static str, &'a Estimate, Side)>,
    /// Hard samples cost accuracy.
    pub(super) drops: bool,
    /// The cosine with the true direction, where it is known; it has no part in the verdict.
    pub(super) truth: Option<&'a Estimate>,
}

/// Hard accuracies with their gaps; the first that was measured is asked.
const HARD: [(&str, &str); 2] = [("hard_h3", "hard_gap_h3"), ("hard_h2", "hard_gap_h2")];
/// The score of maps that is asked.
const MAPS: &str = "seg_auroc";
/// The parameter of a gap to samples that were edited without aim, not to ordinary ones.
const SHAM: &str = "sham";

/// Judges every probe of every concept, null probes too, by concept in natural order and by probe in that of the tables.
pub(super) fn judged(rows: &[MetricRow]) -> Vec<Judged<'_>> {
    let index = Index::of(rows);
    let mut best: BTreeMap<(&str, &str), &MetricRow> = BTreeMap::new();
    for row in headline(rows, "accuracy") {
        let kept = best.entry((&row.concept, &row.probe)).or_insert(row);
        if row.estimate.value > kept.estimate.value {
            *kept = row;
        }
    }
    let mut out: Vec<Judged<'_>> = best.into_values().map(|place| judge(place, &index)).collect();
    out.sort_by(|a, b| {
        let order = |j: &Judged<'_>| super::info::probe_order(j.probe);
        natural(a.concept, b.concept).then_with(|| order(a).cmp(&order(b))).then_with(|| a.probe.cmp(b.probe))
    });
    out
}

/// The numbers that are asked, by what they are of.
struct Index<'a>(BTreeMap<(Place<'a>, &'a str, &'a str), &'a Estimate>);

type Place<'a> = (&'a str, &'a str, &'a str, &'a str, u64, &'a str);

fn place(r: &MetricRow) -> Place<'_> {
    (&r.layer, &r.concept, &r.probe, &r.variant, r.seed, &r.model)
}

impl<'a> Index<'a> {
    fn of(rows: &'a [MetricRow]) -> Self {
        let names = || HARD.iter().flat_map(|(hard, gap)| [*hard, *gap]).chain([MAPS, TRUTH]);
        let plain = names().flat_map(|name| headline(rows, name)).filter(|r| r.parameter.is_empty());
        let sham = rows.iter().filter(|r| r.parameter == SHAM && r.estimate.value.is_finite());
        let keyed = |r: &'a MetricRow| ((place(r), r.metric.as_str(), r.parameter.as_str()), &r.estimate);
        Self(plain.chain(sham).map(keyed).collect())
    }

    fn get(&self, of: &'a MetricRow, metric: &'static str, parameter: &'static str) -> Option<&'a Estimate> {
        self.0.get(&(place(of), metric, parameter)).copied()
    }
}

fn judge<'a>(row: &'a MetricRow, index: &Index<'a>) -> Judged<'a> {
    let hard = HARD.iter().find(|(hard, _)| index.get(row, hard, "").is_some());
    // Editing a picture costs accuracy by itself: where sham edits were measured, the gap is to them.
    let gap = hard.and_then(|(_, gap)| index.get(row, gap, SHAM).or_else(|| index.get(row, gap, "")));
    let drops = gap.is_some_and(|gap| gap.ci_low > 0.0);
    let mut asked = Vec::new();
    for metric in hard.map(|h| h.0).into_iter().chain([MAPS]) {
        let found = index.get(row, metric, "").and_then(|e| Some((metric, e, Side::of(e)?)));
        asked.extend(found);
    }
    let verdict = match Side::of(&row.estimate) {
        Some(Side::Above) if asked.is_empty() => Verdict::Unasked,
        Some(Side::Above) if asked.iter().any(|a| a.2 == Side::Below) => Verdict::Else,
        Some(Side::Above) if asked.iter().any(|a| a.2 == Side::At) => Verdict::Open,
        Some(Side::Above) if drops => Verdict::Partly,
        Some(Side::Above) => Verdict::Means,
        _ => Verdict::Blind,
    };
    let (concept, probe, layer, variant) = (&row.concept, &row.probe, &row.layer, &row.variant);
    let truth = index.get(row, TRUTH, "");
    Judged { concept, probe, layer, variant, verdict, accuracy: &row.estimate, asked, drops, truth }
}

/// The kinds of probe that were judged, those with a concept first.
pub(super) fn kinds<'a>(judged: &[Judged<'a>]) -> Vec<&'a str> {
    let mut kinds = sorted(judged.iter().map(|j| j.probe));
    kinds.sort_by_key(|k| (is_null(k), super::info::probe_order(k)));
    kinds
}

#[cfg(test)]
mod tests {
    use super::super::demo::row;
    use super::*;

    /// A value with an interval of 0.1 to either side.
    fn measured(metric: &str, variant: &str, value: f64, null: f64) -> MetricRow {
        let mut row = row("l", "red", "classifier", variant, metric, value);
        (row.estimate.ci_low, row.estimate.ci_high, row.estimate.null) = (value - 0.1, value + 0.1, null);
        row
    }

    fn verdict(rows: &[MetricRow]) -> Verdict {
        judged(rows)[0].verdict
    }

    #[test]
    fn the_rule_in_its_six_cases() {
        let accuracy = measured("accuracy", "ti", 0.9, 0.5);
        let of = |metric: &str, value: f64| measured(metric, "ti", value, 0.5);
        assert_eq!(verdict(&[measured("accuracy", "ti", 0.55, 0.5)]), Verdict::Blind);
        assert_eq!(verdict(std::slice::from_ref(&accuracy)), Verdict::Unasked);
        assert_eq!(verdict(&[accuracy.clone(), of("hard_h2", 0.3)]), Verdict::Else);
        assert_eq!(verdict(&[accuracy.clone(), of("hard_h3", 0.55), of("seg_auroc", 0.8)]), Verdict::Open);
        let mut sound = vec![accuracy, of("hard_h3", 0.8), of("seg_auroc", 0.8)];
        assert_eq!(verdict(&sound), Verdict::Means);
        sound.push(measured("hard_gap_h3", "ti", 0.15, 0.0));
        assert_eq!(verdict(&sound), Verdict::Partly);
        assert!(judged(&sound)[0].drops);
    }

    #[test]
    fn what_edits_cost_by_themselves_is_no_drop() {
        // Hard samples are no worse than sham edits are.
        let mut sham = measured("hard_gap_h3", "ti", 0.05, 0.0);
        sham.parameter = SHAM.to_owned();
        let rows = [
            measured("accuracy", "ti", 0.9, 0.5),
            measured("hard_h3", "ti", 0.75, 0.5),
            measured("hard_gap_h3", "ti", 0.15, 0.0),
            sham,
        ];
        assert_eq!(verdict(&rows), Verdict::Means);
    }

    #[test]
    fn a_probe_is_judged_where_it_is_most_accurate() {
        let rows = [
            measured("accuracy", "full", 0.7, 0.5),
            measured("accuracy", "ti", 0.9, 0.5),
            measured("hard_h3", "full", 0.8, 0.5),
            measured("hard_h3", "ti", 0.3, 0.5),
        ];
        let found = judged(&rows);
        assert_eq!((found.len(), found[0].variant, found[0].verdict), (1, "ti", Verdict::Else));
    }

    #[test]
    fn a_ceiling_is_no_null() {
        let mut hard = measured("hard_h3", "ti", 0.3, 0.9);
        hard.estimate.null_kind = Estimate::BACKBONE.to_owned();
        assert_eq!(verdict(&[measured("accuracy", "ti", 0.9, 0.5), hard]), Verdict::Unasked);
    }
}
