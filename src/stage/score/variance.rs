//! How far directions scatter when they are fitted to fresh draws: the variance curve.

use rand::RngExt;
use rayon::prelude::*;

use super::Rows;
use super::unit::Concept;
use crate::activation::LayerSet;
use crate::dataset::Presence;
use crate::dataset::split::Part;
use crate::error::Result;
use crate::metric::VarianceOptions;
use crate::metric::direction::{direction_variance, log_slope};
use crate::probe::{Cav, Labelled, Space, Variant, logistic};
use crate::stage::{Context, items};

/// The kinds whose fit can be repeated from labels alone.
const KINDS: [&str; 2] = ["classifier", "mean_difference"];

/// The fit split of one layer and variant, in coordinates.
pub(super) struct Curve<'a> {
    options: &'a VarianceOptions,
    space: Space,
}

impl<'a> Curve<'a> {
    /// Opens what the curve needs; none where the study asks for none.
    pub(super) fn open(context: &'a Context, layer: usize, variant: Variant, cavs: &[Cav]) -> Result<Option<Self>> {
        let Some(options) = &context.study.variance else { return Ok(None) };
        let set: LayerSet = context.extraction().open(&context.store, &items::plain(context), layer)?;
        let samples = context.part(Part::Fit);
        let mut lambdas: Vec<f64> = cavs.iter().filter(|c| c.probe == "classifier").map(|c| c.fit.lambda).collect();
        lambdas.sort_by(f64::total_cmp);
        lambdas.dedup();
        let space =
            Space::scaled(&set, variant, &samples, samples.len(), context.study.probe.scaling)?.prepared_for(&lambdas);
        Ok(Some(Self { options, space }))
    }

    /// The trace of the covariance of the unit direction for every size, and the slope of its logarithm. Classes are drawn
    /// with replacement and independently: then the trace falls as one over their size. Sizes that exceed a class are
    /// left out, for their draws would mostly repeat it.
    pub(super) fn measure(&self, context: &Context, concept: &Concept, cav: &Cav, rows: &mut Rows<'_>) -> Result<()> {
        if !KINDS.contains(&cav.probe.as_str()) {
            return Ok(());
        }
        let of = |wanted: Presence| -> Vec<usize> {
            let presence = |row: &usize| context.dataset.samples()[self.space.samples[*row]].presence[concept.number];
            (0..self.space.samples.len()).filter(|row| presence(row) == wanted).collect()
        };
        let (positive, negative) = (of(Presence::Present), of(Presence::Absent));
        let most = positive.len().min(negative.len());
        let (mut sizes, mut traces) = (Vec::new(), Vec::new());
        for size in self.options.sizes.iter().filter(|n| **n <= most) {
            let fit = |draw: usize| {
                let name = format!("variance/{}/{}/{}/{size}/{draw}", cav.layer, cav.variant.name(), concept.name);
                let mut rng = context.seed.stream(&name);
                let mut pick = |side: &[usize]| (0..*size).map(|_| side[rng.random_range(0..side.len())]).collect();
                let rows = Labelled { positive: pick(&positive), negative: pick(&negative) };
                self.direction(cav, &rows)
            };
            let directions = (0..self.options.draws).into_par_iter().map(fit).collect::<Result<Vec<_>>>()?;
            let trace = direction_variance(&directions);
            rows.push_known("direction_variance", &size.to_string(), trace, (f64::NAN, ""), self.options.draws);
            sizes.push(*size as f64);
            traces.push(trace);
        }
        let slope = log_slope(&sizes, &traces);
        rows.push_known("variance_slope", "", slope, (-1.0, "independent draws"), sizes.len());
        Ok(())
    }

    fn direction(&self, cav: &Cav, rows: &Labelled) -> Result<Vec<f64>> {
        if cav.probe == "classifier" {
            return Ok(logistic::fit(&self.space, rows, cav.fit.lambda)?.weights);
        }
        let mut difference = vec![0.0; self.space.dimension()];
        for (side, sign) in [(&rows.positive, 1.0), (&rows.negative, -1.0)] {
            for row in side {
                let share = sign / side.len() as f64;
                difference.iter_mut().zip(self.space.x.row(*row)).for_each(|(d, x)| *d += share * x);
            }
        }
        Ok(difference)
    }
}
