//! The ascents of one network: every unit, seed and step size.

use candle_core::Device;

use super::real::Real;
use super::subject::{Subject, Unit};
use crate::error::Result;
use crate::maximise::spectrum::Spectral;
use crate::maximise::{Data, MaximiseOptions, Planes};
use crate::seed::Seed;
use crate::stage::Progress;
use crate::stage::maximise::{Order, Rendered, Studio, of_units};
use crate::store::Store;
use crate::study::SurveyAscents;

/// One ascent, and how soon it was above nearly all real pictures.
pub(super) struct Ascent {
    /// The unit's number among the subject's.
    pub(super) unit: usize,
    /// Steps made before the objective, of the shaken picture, was first above the threshold; none where it never was.
    pub(super) steps: Option<usize>,
    /// The unit's score for the last picture, unshaken.
    pub(super) score: f64,
    pub(super) diagnosis: Option<String>,
}

/// Ascents with one step size.
pub(super) struct Sweep {
    pub(super) learning_rate: f64,
    pub(super) ascents: Vec<Ascent>,
    /// Mean steps over units that are not dead; an ascent that failed counts with all its steps.
    pub(super) mean_steps: f64,
    /// Share of those ascents that failed.
    pub(super) failed: f64,
}

/// Where the ascents of a network are made.
pub(super) struct Range<'a> {
    pub(super) seed: Seed,
    pub(super) ascents: SurveyAscents,
    pub(super) subject: &'a Subject<'a>,
    pub(super) device: &'a Device,
    pub(super) store: &'a Store,
}

impl Range<'_> {
    /// What all ascents cost, in millions of multiply-adds.
    pub(super) fn cost(&self) -> usize {
        let SurveyAscents { learning_rates, maximise, .. } = &self.ascents;
        let of_unit = |unit: &Unit| self.subject.step(&unit.objective) * maximise.seeds * maximise.steps;
        learning_rates.len() * self.subject.units.iter().map(of_unit).sum::<usize>()
    }

    /// Counts those that the store has.
    ///
    /// # Errors
    /// When a unit does not exist.
    pub(super) fn find(&self, progress: &mut Progress) -> Result<()> {
        for rate in &self.ascents.learning_rates {
            let options = self.options(*rate);
            let (studio, orders) = (self.studio(&options), of_units(&self.subject.graph, &options)?);
            for of_layer in by_layer(&orders) {
                progress.weigh(self.subject.step(&of_layer[0].1));
                progress.find(studio.found(of_layer)?);
            }
        }
        Ok(())
    }

    /// Makes what the store lacks, and says how every step size went.
    ///
    /// # Errors
    /// When the network fails, or the user wants to stop.
    pub(super) fn sweeps(&self, real: &Real, progress: &mut Progress) -> Result<Vec<Sweep>> {
        let mut sweeps = Vec::new();
        for rate in &self.ascents.learning_rates {
            let options = self.options(*rate);
            let (studio, orders) = (self.studio(&options), of_units(&self.subject.graph, &options)?);
            for of_layer in by_layer(&orders) {
                progress.weigh(self.subject.step(&of_layer[0].1));
                studio.render(of_layer, progress)?;
            }
            sweeps.push(self.sweep(*rate, real, &studio.get(&orders)?));
        }
        Ok(sweeps)
    }

    /// The last pictures of one step size, in order; with their PNGs.
    ///
    /// # Errors
    /// When they have not been made.
    pub(super) fn pictures(&self, rate: f64) -> Result<Vec<Planes>> {
        let options = self.options(rate);
        let orders: Vec<Order> = of_units(&self.subject.graph, &options)?;
        self.studio(&options).last(&orders).collect()
    }

    /// Mean spectral centroids of a unit's last pictures, by unit.
    pub(super) fn centroids(&self, pictures: &[Planes]) -> Vec<f64> {
        let of = |p: &Planes| Spectral::of(&p.values, p.shape[1], p.shape[2]).centroid;
        let seeds = self.ascents.maximise.seeds;
        pictures.chunks(seeds).map(|own| own.iter().map(of).sum::<f64>() / own.len() as f64).collect()
    }

    fn options(&self, learning_rate: f64) -> MaximiseOptions {
        let units = self.subject.units.iter().map(|unit| unit.text.clone()).collect();
        MaximiseOptions { learning_rate, units, ..self.ascents.maximise.clone() }
    }

    fn studio<'s>(&'s self, options: &'s MaximiseOptions) -> Studio<'s> {
        let (device, store, seed) = (self.device, self.store, self.seed);
        Studio { graph: &self.subject.graph, device, store, seed, options, data: Data::default(), start: None }
    }

    fn sweep(&self, learning_rate: f64, real: &Real, rendered: &[(Rendered, Vec<u8>)]) -> Sweep {
        let (seeds, all) = (self.ascents.maximise.seeds, self.ascents.maximise.steps);
        let ascent = |(i, (r, _)): (usize, &(Rendered, Vec<u8>))| {
            let unit = i / seeds;
            let threshold = real.units[unit].threshold;
            let on_the_way = r.trace.iter().position(|value| f64::from(*value) > threshold);
            let steps = on_the_way.or_else(|| (r.score > threshold).then_some(all));
            Ascent { unit, steps, score: r.score, diagnosis: r.diagnosis.clone() }
        };
        let ascents: Vec<Ascent> = rendered.iter().enumerate().map(ascent).collect();
        let alive: Vec<&Ascent> = ascents.iter().filter(|a| !real.units[a.unit].is_dead()).collect();
        let n = alive.len() as f64;
        let mean_steps = alive.iter().map(|a| a.steps.unwrap_or(all) as f64).sum::<f64>() / n;
        let failed = alive.iter().filter(|a| a.steps.is_none()).count() as f64 / n;
        Sweep { learning_rate, ascents, mean_steps, failed }
    }
}

/// Ascents to one layer at a time, which cost alike; no batch has those to several.
fn by_layer(orders: &[Order]) -> impl Iterator<Item = &[Order]> {
    orders.chunk_by(|(_, a), (_, b)| a.nodes() == b.nodes())
}

/// The step size with the fewest failures, and of those the fewest steps: each network's own best.
pub(super) fn best(sweeps: &[Sweep]) -> usize {
    let rank = |s: &Sweep| (s.failed, s.mean_steps);
    (0..sweeps.len()).fold(0, |best, i| {
        let ((f, s), (bf, bs)) = (rank(&sweeps[i]), rank(&sweeps[best]));
        if f < bf || (f == bf && s < bs) { i } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_step_size_fails_least_and_then_is_fastest() {
        let sweep = |failed, mean_steps| Sweep { learning_rate: 0.1, ascents: Vec::new(), mean_steps, failed };
        assert_eq!(best(&[sweep(0.2, 5.0), sweep(0.1, 50.0), sweep(0.1, 40.0)]), 2);
        assert_eq!(best(&[sweep(f64::NAN, f64::NAN)]), 0);
    }
}
