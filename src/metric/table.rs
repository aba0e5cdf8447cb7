//! Every metric by name: its family, which way is better, and what values it takes. docs/metrics.md defines them.

/// What is known of a metric, whatever it was measured on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name in tables.
    pub name: &'static str,
    /// Its family: one of [`super::options::FAMILIES`], `fit` for what is known of a direction, `sensitivity` or `opinion`
    /// for what the network is asked, `maximise` for pictures that were rendered.
    pub family: &'static str,
    /// Whether a larger value is a better one.
    pub higher_is_better: bool,
    /// Its least and its largest value.
    pub range: (f64, f64),
}

const INF: f64 = f64::INFINITY;
const SHARE: (f64, f64) = (0.0, 1.0);
const SIGNED: (f64, f64) = (-1.0, 1.0);
const POSITIVE: (f64, f64) = (0.0, INF);

const fn higher(family: &'static str, name: &'static str, range: (f64, f64)) -> Metric {
    Metric { name, family, higher_is_better: true, range }
}

const fn lower(family: &'static str, name: &'static str, range: (f64, f64)) -> Metric {
    Metric { name, family, higher_is_better: false, range }
}

/// All metrics.
pub const METRICS: &[Metric] = &[
    higher("accuracy", "accuracy", SHARE),
    higher("accuracy", "sensitivity", SHARE),
    higher("accuracy", "specificity", SHARE),
    higher("accuracy", "auroc", SHARE),
    higher("accuracy", "excess_over_twin", SIGNED),
    higher("hard", "hard_h1", SHARE),
    higher("hard", "hard_h2", SHARE),
    higher("hard", "hard_h3", SHARE),
    higher("hard", "hard_h3_sham", SHARE),
    lower("hard", "hard_gap_h1", SIGNED),
    lower("hard", "hard_gap_h2", SIGNED),
    lower("hard", "hard_gap_h3", SIGNED),
    lower("hard", "sham_flip_rate", SHARE),
    higher("segmentation", "seg_auroc", SHARE),
    higher("segmentation", "seg_ap", SHARE),
    higher("segmentation", "seg_ap_lift", SIGNED),
    higher("segmentation", "seg_iou", SHARE),
    higher("segmentation", "seg_iou_q", SHARE),
    higher("segmentation", "seg_iou_val", SHARE),
    higher("segmentation", "seg_energy", SHARE),
    higher("segmentation", "seg_energy_lift", POSITIVE),
    higher("segmentation", "seg_pointing", SHARE),
    higher("segmentation", "seg_nra", (-INF, 1.0)),
    lower("segmentation", "false_localisation", POSITIVE),
    lower("segmentation", "edge_share", SHARE),
    higher("robustness", "retention", POSITIVE),
    lower("robustness", "flip_rate", SHARE),
    higher("robustness", "icc", SIGNED),
    lower("robustness", "margin_loss", (-INF, INF)),
    higher("robustness", "worst", SHARE),
    higher("robustness", "equivariance", SIGNED),
    higher("robustness", "backbone_retention", SHARE),
    higher("direction", "direction_cosine", SIGNED),
    higher("direction", "seed_stability", SIGNED),
    lower("direction", "entanglement", SIGNED),
    lower("direction", "spatial_norm_cv", POSITIVE),
    lower("direction", "direction_variance", POSITIVE),
    higher("direction", "variance_slope", (-INF, INF)),
    higher("sensitivity", "tcav", SHARE),
    higher("sensitivity", "tcav_draws", SHARE),
    higher("sensitivity", "tcav_magnitude", (-INF, INF)),
    higher("sensitivity", "tcav_smooth", SHARE),
    higher("sensitivity", "tcav_relative", SHARE),
    higher("sensitivity", "tcav_layer_agreement", SHARE),
    lower("sensitivity", "tcav_p", SHARE),
    lower("sensitivity", "layer_inconsistency", POSITIVE),
    higher("opinion", "opinion_agreement", SIGNED),
    higher("opinion", "opinion_seg_auroc", SHARE),
    higher("opinion", "opinion_seg_iou", SHARE),
    higher("opinion", "insertion", (-INF, INF)),
    lower("opinion", "deletion", (-INF, INF)),
    lower("opinion", "road", (-INF, INF)),
    higher("maximise", "am_z", (-INF, INF)),
    higher("maximise", "am_percentile", SHARE),
    lower("maximise", "am_nearest", POSITIVE),
    lower("maximise", "am_kid", (-INF, INF)),
    lower("maximise", "am_frechet", POSITIVE),
    lower("maximise", "am_slope_error", POSITIVE),
    lower("maximise", "am_centroid", SHARE),
    higher("maximise", "am_robustness", (-INF, INF)),
    higher("maximise", "am_diversity", (0.0, 2.0)),
    higher("maximise", "am_transfer", SHARE),
    higher("maximise", "am_transfer_r", SIGNED),
    higher("maximise", "am_path", SIGNED),
    higher("fit", "cos_classifier", SIGNED),
    higher("fit", "false_positives", POSITIVE),
    lower("fit", "gradient_norm", POSITIVE),
    higher("fit", "unit_iou", SHARE),
    lower("fit", "loce_spread", SHARE),
];

/// The metric of a name; `None` where the table has none.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|m| m.name == name)
}

/// Whether a larger value of a metric is a better one; so it is of one that the table does not know.
pub fn higher_is_better(name: &str) -> bool {
    metric(name).is_none_or(|m| m.higher_is_better)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metric::options::FAMILIES;

    const ASKED: [&str; 4] = ["fit", "sensitivity", "opinion", "maximise"];

    #[test]
    fn every_metric_is_unique_and_documented() {
        let docs = include_str!("../../docs/metrics.md");
        let missing: Vec<&str> =
            METRICS.iter().map(|m| m.name).filter(|name| !docs.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "docs/metrics.md lacks {missing:?}");
        assert_eq!(METRICS.iter().map(|m| m.name).collect::<BTreeSet<_>>().len(), METRICS.len());
        assert!(METRICS.iter().all(|m| ASKED.contains(&m.family) || FAMILIES.contains(&m.family)));
        assert!(!higher_is_better("flip_rate") && higher_is_better("accuracy") && higher_is_better("own"));
    }
}
