//! What becomes of scores when pictures change and the concept stays.

use super::Rows;
use super::unit::{Concept, Unit};
use crate::dataset::View;
use crate::metric::robustness::Views;
use crate::stage::Context;

/// Retention, flip rate and intraclass correlation: by view, over the geometric and the photometric ones, over all.
pub(super) fn measure(context: &Context, unit: &Unit, concept: &Concept, k: usize, rows: &mut Rows<'_>) {
    let views = &context.study.score.views;
    if unit.views.nrows() == 0 {
        return;
    }
    let clean = concept.scores(unit, k);
    let by_view: Vec<Vec<f64>> = (0..views.len())
        .map(|v| (0..clean.len()).map(|at| unit.views[[concept.views(at, views.len()).start + v, k]]).collect())
        .collect();
    let group =
        |wanted: &dyn Fn(&View) -> bool| (0..views.len()).filter(|v| wanted(&views[*v])).collect::<Vec<usize>>();
    let mut groups: Vec<(String, Vec<usize>)> = vec![
        (String::new(), group(&|_| true)),
        ("geometric".into(), group(&View::is_geometric)),
        ("photometric".into(), group(&|v| !v.is_geometric())),
    ];
    groups.extend(views.iter().enumerate().map(|(v, view)| (view.to_string(), vec![v])));
    for (name, members) in groups.into_iter().filter(|(_, members)| !members.is_empty()) {
        let scores: Vec<&[f64]> = members.iter().map(|v| by_view[*v].as_slice()).collect();
        let measured = Views::new(&clean, &scores, &concept.present, 0.0);
        let (boot, n) = (&concept.bootstrap, clean.len() * members.len());
        rows.push("retention", &name, boot.estimate(|w| measured.retention(w), f64::NAN, "", n));
        rows.push("flip_rate", &name, boot.estimate(|w| measured.flip_rate(w), f64::NAN, "", n));
        rows.push("icc", &name, boot.estimate(|w| measured.icc(w), 0.0, "no agreement", n));
    }
}
