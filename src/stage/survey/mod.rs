//! A survey: activation maximisation over networks of several families, sizes and depths, and what of its claims shows.
//!
//! Networks, their units and their attacks are independent artifacts of the store: a survey that is cut off goes on.

mod ascent;
mod attacks;
mod claims;
mod data;
mod page;
mod real;
mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::Device;

use self::ascent::{Range, Sweep, best};
use self::claims::Rows;
use self::data::Pictures;
use self::real::Real;
use self::subject::Subject;
use super::{Progress, Settings, context};
use crate::error::Result;
use crate::report::survey::{SurveyNetworkRow, SurveyPage, SurveySweep, SurveyUnitRow};
use crate::seed::Seed;
use crate::store::Store;
use crate::study::{Family, Survey};

/// An opened survey.
struct Field<'a> {
    survey: &'a Survey,
    device: Device,
    store: Store,
    pictures: BTreeMap<&'a str, Pictures>,
    subjects: Vec<Subject<'a>>,
}

/// Runs what the store lacks, and writes tables, pictures and page; returns the run's folder.
///
/// # Errors
/// When a network or a dataset cannot be had, or the folder cannot be written.
pub fn run(survey: &Survey, settings: &Settings) -> Result<PathBuf> {
    let field = Field::open(survey, settings)?;
    let folder = settings.out.join(format!("{}-{}", survey.name, survey.digest()?.short()));
    let mut page = page::opening(&field)?;
    let total: usize = field.subjects.iter().map(|subject| field.range(subject).steps()).sum();
    let mut progress = Progress::start("survey", total);
    for subject in &field.subjects {
        field.look(subject, &mut page, &mut |steps, new| progress.advance(steps, new))?;
    }
    progress.finish("picture steps");
    page.attacks = attacks::attacks(&field)?;
    page.claims = Rows { survey, networks: &page.networks, units: &page.units, attacks: &page.attacks }.claims();
    page::write(&folder, &page)?;
    Ok(folder)
}

impl<'a> Field<'a> {
    fn open(survey: &'a Survey, settings: &Settings) -> Result<Self> {
        let (seed, device) = (Seed(survey.seed), context::device(&settings.device)?);
        let mut pictures = BTreeMap::new();
        for (name, data) in &survey.data {
            pictures.insert(name.as_str(), Pictures::open(name, data, seed)?);
        }
        let open = |(name, spec): (&'a String, &'a crate::study::SurveyNetwork)| {
            Subject::open((name, spec), &pictures[spec.data.as_str()], &device, survey.units, seed)
        };
        let mut subjects = survey.network.iter().map(open).collect::<Result<Vec<_>>>()?;
        let place = |s: &Subject<'_>| (s.spec.data.clone(), s.spec.family == Family::Vit, s.spec.untrained);
        subjects.sort_by_cached_key(|s| (place(s), s.spec.model.name.clone(), s.graph.parameters()));
        let root = settings.store.clone().unwrap_or_else(|| settings.out.join("store"));
        let store = Store::open(&root, || tracing::info!("waiting for another run on {}", root.display()))?;
        Ok(Self { survey, device, store, pictures, subjects })
    }

    fn range<'s>(&'s self, subject: &'s Subject<'s>) -> Range<'s> {
        Range { survey: self.survey, subject, device: &self.device, store: &self.store }
    }

    /// Looks at one network, and adds its rows and pictures.
    fn look(&self, subject: &Subject<'_>, page: &mut SurveyPage, done: &mut dyn FnMut(usize, bool)) -> Result<()> {
        let (pictures, range) = (&self.pictures[subject.spec.data.as_str()], self.range(subject));
        let real = real::real(self.survey, subject, pictures, &self.device, &self.store)?;
        let sweeps = range.sweeps(&real, done)?;
        let best = best(&sweeps);
        let rendered = range.pictures(sweeps[best].learning_rate)?;
        let centroids = range.centroids(&rendered);
        page.networks.push(network_row(subject, &real, &sweeps, best));
        let unit = |(i, centroid)| self.unit_row(subject, &real, &sweeps[best], i, centroid);
        page.units.extend(centroids.into_iter().enumerate().map(unit));
        page.grids.push(page::grid(self, subject, &real, &rendered)?);
        if !page.centroids.iter().any(|(data, _)| *data == subject.spec.data) {
            page.centroids.push((subject.spec.data.clone(), real.centroid));
        }
        Ok(())
    }

    fn unit_row(&self, subject: &Subject<'_>, real: &Real, sweep: &Sweep, unit: usize, centroid: f64) -> SurveyUnitRow {
        let (own, found) = (&subject.units[unit], &real.units[unit]);
        let ascents: Vec<_> = sweep.ascents.iter().filter(|a| a.unit == unit).collect();
        let mean = |of: &dyn Fn(&&ascent::Ascent) -> f64| ascents.iter().map(of).sum::<f64>() / ascents.len() as f64;
        SurveyUnitRow {
            network: subject.name.to_owned(),
            data: subject.spec.data.clone(),
            family: family(subject).to_owned(),
            untrained: subject.spec.untrained,
            layer: own.layer.clone(),
            depth: own.depth,
            unit: own.text.clone(),
            dead: found.is_dead(),
            mean: found.mean,
            deviation: found.deviation,
            threshold: found.threshold,
            purity: found.purity,
            chance: real.chance,
            steps: mean(&|a| a.steps.unwrap_or(self.survey.maximise.steps) as f64),
            failed: mean(&|a| f64::from(u8::from(a.steps.is_none()))),
            z: (mean(&|a| a.score) - found.mean) / found.deviation,
            centroid,
            remark: ascents.iter().find_map(|a| a.diagnosis.clone()).unwrap_or_default(),
        }
    }
}

fn family(subject: &Subject<'_>) -> &'static str {
    match subject.spec.family {
        Family::Cnn => "cnn",
        Family::Vit => "vit",
    }
}

fn network_row(subject: &Subject<'_>, real: &Real, sweeps: &[Sweep], best: usize) -> SurveyNetworkRow {
    let row = |s: &Sweep| SurveySweep { learning_rate: s.learning_rate, failed: s.failed, mean_steps: s.mean_steps };
    SurveyNetworkRow {
        network: subject.name.to_owned(),
        data: subject.spec.data.clone(),
        family: family(subject).to_owned(),
        untrained: subject.spec.untrained,
        parameters: subject.graph.parameters(),
        accuracy: real.accuracy,
        units: [real.units.len(), real.units.iter().filter(|u| u.is_dead()).count()],
        sweeps: sweeps.iter().map(row).collect(),
        best,
    }
}
