//! What becomes of scores and maps when pictures change and the concept stays.

use super::Rows;
use super::backbone::Backbone;
use super::equivariance::Equivariance;
use super::unit::{Concept, Unit};
use crate::dataset::View;
use crate::metric::Estimate;
use crate::metric::bootstrap::weighted_mean;
use crate::metric::robustness::Views;
use crate::stage::Context;

/// Views that are measured together.
struct Group {
    /// Empty: all of them.
    name: String,
    members: Vec<usize>,
}

/// All views, the geometric and the photometric ones, and each by itself in all its draws.
fn groups(views: &[View]) -> Vec<Group> {
    let of = |name: &str, wanted: &dyn Fn(&View) -> bool| Group {
        name: name.to_owned(),
        members: (0..views.len()).filter(|v| wanted(&views[*v])).collect(),
    };
    let together = [of("", &|_| true), of("geometric", &View::is_geometric), of("photometric", &|v| !v.is_geometric())];
    let firsts = views.iter().filter(|view| view.draw == 1);
    let single = firsts.map(|first| of(&first.to_string(), &|v| View { draw: 1, ..*v } == *first));
    together.into_iter().chain(single).filter(|g| !g.members.is_empty()).collect()
}

/// R1 to R6 by group of views, with the backbone's own retention beside them.
pub(super) fn measure(
    context: &Context,
    backbone: &Backbone,
    equivariance: &Equivariance,
    unit: &Unit,
    concept: &Concept,
    k: usize,
    rows: &mut Rows<'_>,
) {
    let views = &context.study.score.all_views();
    if unit.views.nrows() == 0 {
        return;
    }
    let clean = concept.scores(unit, k);
    let by_view: Vec<Vec<f64>> = (0..views.len())
        .map(|v| (0..clean.len()).map(|at| unit.views[[concept.views(at, views.len()).start + v, k]]).collect())
        .collect();
    let boot = &concept.bootstrap;
    let ones = vec![1.0; clean.len()];
    for Group { name, members } in groups(views) {
        let scores: Vec<&[f64]> = members.iter().map(|v| by_view[*v].as_slice()).collect();
        let measured = Views::new(&clean, &scores, &concept.present, 0.0);
        let n = clean.len() * members.len();
        let kept: Option<Vec<f64>> = concept.known.iter().map(|test| backbone.kept(*test, &members)).collect();
        let (ceiling, kind) =
            kept.as_ref().map_or((f64::NAN, ""), |kept| (weighted_mean(kept, &ones), Estimate::BACKBONE));
        rows.push("retention", &name, boot.estimate(|w| measured.retention(w), ceiling, kind, n));
        rows.push("flip_rate", &name, boot.estimate(|w| measured.flip_rate(w), f64::NAN, "", n));
        rows.push("icc", &name, boot.estimate(|w| measured.icc(w), 0.0, "no agreement", n));
        rows.push("margin_loss", &name, boot.estimate(|w| measured.margin_loss(w), 0.0, "no loss", n));
        if members.len() > 1 {
            rows.push("worst", &name, boot.estimate(|w| measured.worst(w), f64::NAN, "", n));
            if let Some(kept) = &kept {
                rows.push("backbone_retention", &name, boot.estimate(|w| weighted_mean(kept, w), f64::NAN, "", n));
            }
        }
        // The geometric ones together are what all are: there is no map of a photometric view.
        let geometric = members.iter().all(|v| views[*v].is_geometric());
        if name == "geometric" || !(geometric || name.is_empty()) {
            continue;
        }
        let (own, other) = equivariance.means(k, &members, &concept.known);
        let n = own.iter().filter(|v| !v.is_nan()).count();
        if n > 0 {
            let null = weighted_mean(&other, &ones);
            rows.push("equivariance", &name, boot.estimate(|w| weighted_mean(&own, w), null, "another picture", n));
        }
    }
}
