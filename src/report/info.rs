//! Names and one-line explanations of metrics and probes: the one table that page, figures and docs read.

/// What a metric is called and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// The name in the `metric` column.
    pub name: &'static str,
    /// The name for a heading.
    pub label: &'static str,
    /// A name for narrow columns and figure axes.
    pub short: &'static str,
    /// What the number says, in one line.
    pub explanation: &'static str,
}

/// What a probe is called and how it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeInfo {
    /// The name in the `probe` column.
    pub name: &'static str,
    /// The name for a heading.
    pub label: &'static str,
    /// A name for narrow columns.
    pub short: &'static str,
    /// How the direction is found, in one line.
    pub explanation: &'static str,
    /// Whether it has no concept by construction and only shows what chance gives.
    pub is_null: bool,
}

/// The parameter that marks a value divided by the best value a map of that grid can reach.
pub const OF_CEILING: &str = "of_ceiling";

/// The metrics that are held against accuracy: each asks in its own way whether a direction means its concept.
pub const ALIGNMENT: [&str; 27] = [
    "hard_h1",
    "hard_h2",
    "hard_h3",
    "hard_h3_sham",
    "seg_auroc",
    "seg_ap",
    "seg_iou",
    "seg_iou_q",
    "seg_iou_val",
    "seg_energy",
    "seg_pointing",
    "seg_nra",
    "false_localisation",
    "edge_share",
    "retention",
    "flip_rate",
    "icc",
    "margin_loss",
    "worst",
    "equivariance",
    "insertion",
    "deletion",
    "road",
    "opinion_agreement",
    "seed_stability",
    "layer_inconsistency",
    "direction_cosine",
];

const fn metric(name: &'static str, label: &'static str, short: &'static str, explanation: &'static str) -> MetricInfo {
    MetricInfo { name, label, short, explanation }
}

const fn probe(
    name: &'static str,
    label: &'static str,
    short: &'static str,
    explanation: &'static str,
    is_null: bool,
) -> ProbeInfo {
    ProbeInfo { name, label, short, explanation, is_null }
}

/// All metrics the suite writes, in the order they are shown.
pub const METRICS: &[MetricInfo] = &[
    metric(
        "accuracy",
        "Accuracy",
        "accuracy",
        "Balanced accuracy on ordinary test samples: the mean of sensitivity and specificity at the probe's own \
         threshold. Chance is 0.5.",
    ),
    metric(
        "auroc",
        "AUROC",
        "AUROC",
        "Probability that a sample with the concept scores higher than one without, whatever the threshold. Chance \
         is 0.5.",
    ),
    metric(
        "sensitivity",
        "Sensitivity",
        "sensitivity",
        "Share of the samples with the concept that score above the threshold.",
    ),
    metric(
        "specificity",
        "Specificity",
        "specificity",
        "Share of the samples without the concept that score below the threshold.",
    ),
    metric(
        "hard_h1",
        "Hard accuracy H1 (mined)",
        "H1 mined",
        "Balanced accuracy on test samples that a vote of reference classifiers gets wrong. Probes like those \
         classifiers fall below 0.5 by construction.",
    ),
    metric(
        "hard_h2",
        "Hard accuracy H2 (context)",
        "H2 context",
        "Balanced accuracy on small or unusually placed positives and on negatives that share the positives' context.",
    ),
    metric(
        "hard_h3",
        "Hard accuracy H3 (counterfactual)",
        "H3 edited",
        "Balanced accuracy after an edit that takes the concept away or brings it in and leaves the rest alone.",
    ),
    metric(
        "hard_h3_sham",
        "Accuracy on sham edits",
        "H3 sham",
        "Balanced accuracy after edits that change as much as those of H3 and leave the concept. What it lacks to accuracy \
         is due to the editing.",
    ),
    metric("hard_gap_h1", "Gap to H1", "gap H1", "Accuracy minus H1, with a paired interval."),
    metric("hard_gap_h2", "Gap to H2", "gap H2", "Accuracy minus H2, with a paired interval."),
    metric(
        "hard_gap_h3",
        "Gap to H3",
        "gap H3",
        "Accuracy minus H3, with a paired interval: how much accuracy rests on something that comes with the concept.",
    ),
    metric("sham_flip_rate", "Flips by sham edits", "sham flips", "Share of the decisions that a sham edit changes."),
    metric(
        "seg_auroc",
        "Segmentation AUROC (S1)",
        "S1 AUROC",
        "Probability that a pixel of the concept is higher in the map than another pixel. Chance is 0.5; large easy \
         backgrounds raise it.",
    ),
    metric(
        "seg_ap",
        "Segmentation average precision (S2)",
        "S2 AP",
        "Average precision of the map's pixels. Chance is the mask's share of the picture.",
    ),
    metric(
        "seg_ap_lift",
        "Segmentation average precision over chance",
        "S2 lift",
        "Average precision less the mask's share of the picture. 0 is chance.",
    ),
    metric(
        "seg_iou",
        "Segmentation IoU (S3)",
        "S3 IoU",
        "Overlap of mask and map, the map cut so that both have the same area.",
    ),
    metric(
        "seg_iou_q",
        "Set IoU at a quantile (S4)",
        "S4 IoU",
        "Overlap of masks and maps over all pictures together, maps cut at one high quantile. Above 0.04 NetDissect \
         speaks of a detector.",
    ),
    metric(
        "seg_iou_val",
        "Set IoU, tuned (S5)",
        "S5 IoU",
        "Overlap of masks and maps over all pictures together, maps cut where the validation pictures are matched best.",
    ),
    metric(
        "seg_energy",
        "Energy in the mask (S6)",
        "S6 energy",
        "Share of the map's positive part that lies in the mask. Chance is the mask's share of the picture.",
    ),
    metric(
        "seg_pointing",
        "Pointing game (S7)",
        "S7 pointing",
        "Share of the pictures whose highest map value lies in the mask. Chance is the mask's share of the picture.",
    ),
    metric(
        "seg_nra",
        "Normalised relevance accuracy (S8)",
        "S8 NRA",
        "Localisation rescaled so that 0 is chance and 1 is perfect, whatever the mask's size.",
    ),
    metric(
        "false_localisation",
        "False localisation",
        "false loc.",
        "Positive map mass on pictures without the concept, relative to pictures with it.",
    ),
    metric(
        "edge_share",
        "Share on the border",
        "edge share",
        "Share of the map's absolute values on its outermost ring of cells. Far above its null the probe feeds on padding.",
    ),
    metric(
        "retention",
        "Retention (R1)",
        "R1 retention",
        "Accuracy on altered pictures divided by accuracy on the originals. Beside it stands the share of alterations under \
         which the network's own most probable class stays: a ceiling, not chance.",
    ),
    metric(
        "flip_rate",
        "Flip rate (R2)",
        "R2 flips",
        "Share of the pictures whose decision changes when they are altered.",
    ),
    metric(
        "icc",
        "Score stability (R3)",
        "R3 stability",
        "Share of the score's variance that lies between pictures and not between alterations of one picture (ICC).",
    ),
    metric(
        "margin_loss",
        "Margin loss (R4)",
        "R4 margin",
        "How far scores of pictures with the concept fall when these are altered, in their standard deviations.",
    ),
    metric(
        "worst",
        "Worst alteration (R5)",
        "R5 worst",
        "Accuracy where a picture counts as right only if it and all its alterations are.",
    ),
    metric(
        "equivariance",
        "Maps move with the picture (R6)",
        "R6 maps",
        "Rank correlation of the map of a moved picture with the moved map of the picture. The null is that of another \
         picture's map.",
    ),
    metric(
        "backbone_retention",
        "The network's own retention",
        "backbone",
        "Share of the alterations under which the network's most probable class stays: the ceiling of retention.",
    ),
    metric(
        "direction_cosine",
        "Direction cosine",
        "direction cos.",
        "Cosine between the probe and the change of activation that the concept alone makes, mean over pairs. 0 is \
         unrelated.",
    ),
    metric(
        "seed_stability",
        "Seed stability",
        "seed stability",
        "Mean cosine between the directions found with different negatives.",
    ),
    metric(
        "entanglement",
        "Entanglement",
        "entanglement",
        "Mean cosine between the classifiers of two concepts from different draws; the parameter names the other concept. \
         0 is unrelated.",
    ),
    metric(
        "spatial_norm_cv",
        "Spatial unevenness",
        "spatial CV",
        "How unevenly a full probe's weights lie on the grid: standard deviation over mean of their norms by position. 0 is \
         even.",
    ),
    metric(
        "direction_variance",
        "Variance of the direction",
        "variance",
        "How far unit directions scatter over draws of that many samples a class: 0 is the same direction, 1 unrelated ones.",
    ),
    metric(
        "variance_slope",
        "Slope of the variance",
        "variance slope",
        "Slope of the direction's variance against the number of samples, both as logarithms. Independent draws give −1.",
    ),
    metric(
        "false_positives",
        "False positives found",
        "false pos.",
        "Number of false positives that the FP probe was fitted on. Few of them make its cosine and accuracy \
         unreliable.",
    ),
    metric(
        "cos_classifier",
        "Cosine with the classifier",
        "cos. classifier",
        "Cosine with the classifier probe. For FP it means nothing without its selection null: picking false \
         positives by the classifier's own score already pulls it there.",
    ),
    metric(
        "gradient_norm",
        "Final gradient norm",
        "gradient norm",
        "How far the solver was from its optimum; 0 is exact.",
    ),
    metric(
        "unit_iou",
        "IoU of the unit",
        "unit IoU",
        "Set IoU of the best single channel, at its 99.5 % quantile, with the masks it was chosen on.",
    ),
    metric(
        "loce_spread",
        "Spread of the pictures' directions",
        "LoCE spread",
        "How far the directions of single pictures scatter: 0 where all are the same, near 1 where they share nothing.",
    ),
    metric(
        "excess_over_twin",
        "Excess over the degraded twin",
        "excess over twin",
        "Accuracy of FP minus that of random directions with the same cosine to the classifier. 0 is what the cosine \
         alone explains.",
    ),
    metric(
        "tcav",
        "TCAV",
        "TCAV",
        "Share of a class's pictures whose logit rises along the direction. The null is what random-set directions give.",
    ),
    metric(
        "tcav_magnitude",
        "TCAV magnitude",
        "TCAV magn.",
        "Mean slope of a class's logit along the direction, in logits a unit of the activation.",
    ),
    metric(
        "tcav_smooth",
        "TCAV without its step",
        "TCAV smooth",
        "As TCAV, but slopes near zero count half: the logistic function of the slope in units of random-set directions'.",
    ),
    metric(
        "tcav_relative",
        "TCAV against other concepts",
        "TCAV rel.",
        "TCAV of the classifier between the concept and the study's other concepts.",
    ),
    metric(
        "tcav_draws",
        "TCAV over draws",
        "TCAV draws",
        "Mean TCAV of classifiers from other draws; its interval holds 95 % of the draws.",
    ),
    metric(
        "tcav_p",
        "TCAV p-value",
        "TCAV p",
        "Welch's test of the draws' TCAV against that of random sets, two-sided, of one class and concept by itself.",
    ),
    metric(
        "tcav_layer_agreement",
        "TCAV agreement of layers",
        "TCAV layers",
        "1 where TCAV is on the same side of its null at all layers, 0 where at half of them.",
    ),
    metric(
        "opinion_agreement",
        "Agreement of second opinions",
        "agreement",
        "Rank correlation, over the layer's grid, of another method's map with the linear one. 0 is unrelated.",
    ),
    metric(
        "opinion_seg_auroc",
        "Segmentation AUROC of second opinions",
        "op. S1",
        "S1 of the maps of every method on the same few pictures. Chance is 0.5.",
    ),
    metric(
        "opinion_seg_iou",
        "Segmentation IoU of second opinions",
        "op. S3",
        "S3 of the maps of every method on the same few pictures.",
    ),
    metric(
        "deletion",
        "Deletion",
        "deletion",
        "Mean score while pixels are filled in the map's order, on the scale from pictures without the concept (0) to \
         pictures with it (1): the lower, the better the map knows what the score rests on.",
    ),
    metric(
        "insertion",
        "Insertion",
        "insertion",
        "Mean score while pixels come in the map's order, on the same scale: the higher, the better.",
    ),
    metric(
        "road",
        "ROAD",
        "ROAD",
        "As deletion, with pixels that are made likely by their neighbours instead of filled: the lower, the better.",
    ),
    metric(
        "layer_inconsistency",
        "Inconsistency between layers",
        "inconsistency",
        "How far a step along the direction, gone through the network, is from a step along the next layer's, in lengths \
         of that. 0 is the same step.",
    ),
    metric(
        "am_z",
        "Score among real pictures",
        "AM z",
        "How many standard deviations a rendered picture's score lies above the mean of real pictures. A high one does not \
         make a good picture: noise that a network likes has it too.",
    ),
    metric(
        "am_percentile",
        "Percentile among real pictures",
        "AM pct",
        "Share of real pictures that score below the rendered one. 0.5 is a typical real picture.",
    ),
    metric(
        "am_nearest",
        "Distance to the nearest real picture",
        "AM near",
        "Distance in the judging network's features to the nearest real picture, over the typical distance between real \
         neighbours. 1 is as near as they are.",
    ),
    metric(
        "am_kid",
        "Kernel distance from real pictures",
        "AM KID",
        "Distance of all pictures of a layer from real ones in the judging network's features, by a kernel (KID). About 0 \
         for real pictures.",
    ),
    metric(
        "am_frechet",
        "Fréchet distance from real pictures",
        "AM FD",
        "The same by means and covariances, in few dimensions. Held against as many real pictures: few have a larger \
         distance for that alone.",
    ),
    metric(
        "am_slope_error",
        "Error of the spectrum's slope",
        "AM slope",
        "How far the slope of a picture's log power over log frequency is from real pictures' mean.",
    ),
    metric(
        "am_centroid",
        "Mean frequency",
        "AM freq",
        "Mean frequency of a picture in cycles a pixel, weighted by power. Neither side is better: near real pictures' is.",
    ),
    metric(
        "am_robustness",
        "Robustness of the picture",
        "AM rob",
        "Mean score of shaken and noised copies over the picture's own. Beside it the same for the real picture that scores \
         best.",
    ),
    metric(
        "am_diversity",
        "Diversity over seeds",
        "AM div",
        "One less the cosine of features, over pairs of pictures of one objective. 0 where all seeds give one picture.",
    ),
    metric(
        "am_transfer",
        "Transfer to the judging network",
        "AM transfer",
        "For a class, its probability in the judging network; otherwise the percentile there of the channel that goes with \
         the objective.",
    ),
    metric(
        "am_transfer_r",
        "Correlation of the judge's channel",
        "AM r",
        "How well that channel goes with the objective over real pictures. Where it is low, transfer says little.",
    ),
    metric(
        "am_path",
        "Path through the network",
        "AM path",
        "Rank correlation of channel means with those of the real pictures that score best, along the layers. Beside it the \
         same for other real pictures: below it, the picture is worked through like none.",
    ),
];

/// All probes the suite fits, in the order they are shown.
pub const PROBES: &[ProbeInfo] = &[
    probe("classifier", "Classifier", "class.", "Logistic regression of the label on the activation.", false),
    probe("pattern", "Pattern", "pattern", "Difference of the mean activations with and without the concept.", false),
    probe("segmentation", "Segmentation", "segm.", "Logistic regression of the mask, position by position.", false),
    probe("fp", "FP", "FP", "The classifier's false positives against its true negatives.", false),
    probe("cured", "Cured", "cured", "The classifier without its component along FP.", false),
    probe("random", "Random direction", "random", "A random unit vector: what chance gives.", true),
    probe(
        "permuted",
        "Permuted labels",
        "perm.",
        "The classifier fitted on shuffled labels: what fitting noise gives.",
        true,
    ),
    probe("ridge", "Ridge", "ridge", "Least squares of the label on the activation.", false),
    probe("svm", "SVM", "SVM", "A linear support vector machine with the squared hinge loss.", false),
    probe(
        "mean_difference",
        "Mean difference",
        "mean diff.",
        "Difference of the mean activations over the classifier's balanced samples.",
        false,
    ),
    probe("fast_cav", "FastCAV", "FastCAV", "The mean activation with the concept less the mean of all.", false),
    probe("lda", "LDA", "LDA", "Difference of the means in units of the covariance within the classes, shrunk.", false),
    probe(
        "cured_partial",
        "Partly cured",
        "part cured",
        "The classifier less the best share of its part along FP.",
        false,
    ),
    probe(
        "cured_leace",
        "Cured obliquely",
        "obl. cured",
        "The classifier made blind to the false positives' mean, with regard to their covariance.",
        false,
    ),
    probe(
        "fp_top",
        "Top-scored negatives",
        "top neg.",
        "The negatives with the highest scores out of fold against as many of the others.",
        false,
    ),
    probe(
        "segmentation_hard",
        "Segmentation (hard)",
        "segm. hard",
        "As segmentation, without the positions that the mask covers by less than half.",
        false,
    ),
    probe(
        "segmentation_pattern",
        "Pattern of positions",
        "segm. patt.",
        "Mean activation of the positions on the masks less that of the others.",
        false,
    ),
    probe(
        "segmentation_box",
        "Segmentation (box)",
        "segm. box",
        "As segmentation, with the share of a concept-sized box about a position as its label.",
        false,
    ),
    probe(
        "segmentation_upsampled",
        "Segmentation (enlarged)",
        "segm. enl.",
        "As segmentation, with the loss on the enlarged map.",
        false,
    ),
    probe(
        "segmentation_gate",
        "Segmentation (gated)",
        "segm. gate",
        "As segmentation, one direction times a weight a position.",
        false,
    ),
    probe("positions", "Positions", "positions", "Logistic regression of every position on its image's label.", false),
    probe(
        "net2vec",
        "Net2Vec",
        "Net2Vec",
        "The mask's weights of channels cut at their 99.5 % quantile, over their deviation.",
        false,
    ),
    probe("netdissect", "NetDissect", "NetDissect", "The single channel that covers the masks best.", false),
    probe("loce", "LoCE", "LoCE", "The mean of one direction a picture, each fitted on its own mask.", false),
    probe("cured_span", "Cured of a span", "span cured", "The classifier outside the span of several FP.", false),
    probe("combination", "Combination", "comb.", "One direction by the joint loss of labels and masks.", false),
    probe(
        "combination_sum",
        "Combination (sum)",
        "comb. sum",
        "The sum of the unit directions of classifier, pattern and segmentation.",
        false,
    ),
    probe(
        "combination_span",
        "Combination (span)",
        "comb. span",
        "The classifier in the plane of segmentation and the pattern of masked positions.",
        false,
    ),
    probe(
        "random_set",
        "Random sets",
        "rand. set",
        "The classifier between two random sets without the concept: what fitting noise gives.",
        true,
    ),
];

/// The entry of a metric, or none for a name that is not in the table.
pub fn metric_info(name: &str) -> Option<&'static MetricInfo> {
    METRICS.iter().find(|m| m.name == name)
}

/// The entry of a probe, or none for a name that is not in the table.
pub fn probe_info(name: &str) -> Option<&'static ProbeInfo> {
    PROBES.iter().find(|p| p.name == name)
}

/// A metric's heading; its own name where the table has none.
pub fn metric_label(name: &str) -> &str {
    metric_info(name).map_or(name, |m| m.label)
}

/// A metric's short heading; its own name where the table has none.
pub fn metric_short(name: &str) -> &str {
    metric_info(name).map_or(name, |m| m.short)
}

/// A probe's heading; its own name where the table has none.
pub fn probe_label(name: &str) -> &str {
    probe_info(name).map_or(name, |p| p.label)
}

/// A probe's short heading; its own name where the table has none.
pub fn probe_short(name: &str) -> &str {
    probe_info(name).map_or(name, |p| p.short)
}

/// Whether the probe only shows what chance gives.
pub fn is_null(probe: &str) -> bool {
    probe_info(probe).is_some_and(|p| p.is_null)
}

/// Place of a probe in tables and figures; unknown ones come last.
pub fn probe_order(name: &str) -> usize {
    PROBES.iter().position(|p| p.name == name).unwrap_or(PROBES.len())
}

/// Place of a metric in tables; unknown ones come last.
pub fn metric_order(name: &str) -> usize {
    METRICS.iter().position(|m| m.name == name).unwrap_or(METRICS.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        assert_eq!(METRICS.iter().map(|m| m.name).collect::<BTreeSet<_>>().len(), METRICS.len());
        assert_eq!(PROBES.iter().map(|p| p.name).collect::<BTreeSet<_>>().len(), PROBES.len());
    }

    #[test]
    fn every_metric_has_a_label() {
        let names = crate::metric::table::METRICS.iter().map(|m| m.name);
        // A lift is shown beside what it is the lift of.
        let missing: Vec<&str> = names.filter(|n| metric_info(n).is_none() && *n != "seg_energy_lift").collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn an_unknown_name_is_shown_as_it_is() {
        assert_eq!(metric_label("own"), "own");
        assert_eq!(probe_label("own"), "own");
        assert!(!is_null("own"));
    }
}
