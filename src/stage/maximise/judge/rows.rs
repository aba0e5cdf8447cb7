//! Rows of the metric table about pictures.

use crate::maximise::parameter::ParameterKind;
use crate::metric::bootstrap::weighted_mean;
use crate::metric::table::higher_is_better;
use crate::metric::{Bootstrap, Estimate};
use crate::report::MetricRow;
use crate::stage::Context;
use crate::stage::maximise::{Rendered, Role};

/// Fewest seeds that an interval is given for.
const SEEDS: usize = 3;

/// Where the measurements of one objective's pictures go.
pub(super) struct Rows<'a> {
    pub(super) context: &'a Context,
    pub(super) rendered: &'a Rendered,
    pub(super) out: &'a mut Vec<MetricRow>,
}

/// What a metric gives for real pictures, and which they are.
pub(super) type Null = (f64, &'static str);

impl Rows<'_> {
    /// Adds the mean over seeds, with an interval over them where there are three.
    pub(super) fn push(&mut self, metric: &str, judge: &str, seeds: &[f64], null: Null) {
        let (null, kind) = null;
        let each: Vec<usize> = (0..seeds.len()).collect();
        let replicates = if seeds.len() < SEEDS { 0 } else { self.context.study.score.bootstrap };
        let bootstrap = Bootstrap::new(&each, replicates, &mut self.context.seed.stream("judge/seeds"));
        let estimate = bootstrap.estimate(|w| weighted_mean(seeds, w), null, kind, seeds.len());
        self.push_estimate(metric, judge, estimate);
    }

    /// Adds one number of `n` pictures.
    pub(super) fn push_one(&mut self, metric: &str, judge: &str, value: f64, null: Null, n: usize) {
        let (ci_low, ci_high) = (f64::NAN, f64::NAN);
        let estimate = Estimate { value, ci_low, ci_high, null: null.0, null_kind: null.1.to_owned(), n };
        self.push_estimate(metric, judge, estimate);
    }

    fn push_estimate(&mut self, metric: &str, judge: &str, estimate: Estimate) {
        let role = match self.rendered.role {
            Role::Cav | Role::Unit | Role::Random => "",
            Role::Negative | Role::Untrained => self.rendered.role.name(),
        };
        let made_of = self.rendered.parameter.map_or("", ParameterKind::name);
        let parameter: Vec<&str> = [role, made_of, judge].into_iter().filter(|part| !part.is_empty()).collect();
        self.out.push(MetricRow {
            study: self.context.study.name.clone(),
            model: self.context.study.model.name.clone(),
            layer: self.rendered.layer.clone(),
            concept: self.rendered.concept.clone(),
            probe: self.rendered.probe.clone(),
            variant: self.rendered.form(),
            seed: self.context.study.seed,
            split: "test".to_owned(),
            metric: metric.to_owned(),
            parameter: parameter.join(", "),
            estimate,
            higher_is_better: higher_is_better(metric),
        });
    }
}
