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
    let mut progress = Progress::start("survey", "million multiply-adds", field.cost())?;
    field.find(&mut progress)?;
    for (i, subject) in field.subjects.iter().enumerate() {
        tracing::debug!("survey: {}, {} of {}", subject.name, i + 1, field.subjects.len());
        field.look(subject, &mut page, &mut progress)?;
    }
    progress.finish();
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
            Subject::open((name, spec), &pictures[spec.data.as_str()], &device, survey.ascents(&spec.data).units, seed)
        };
        let mut subjects = survey.network.iter().map(open).collect::<Result<Vec<_>>>()?;
        let place = |s: &Subject<'_>| (s.spec.data.clone(), s.spec.family == Family::Vit, s.spec.untrained);
        subjects.sort_by_cached_key(|s| (place(s), s.spec.model.name.clone(), s.graph.parameters()));
        let root = settings.store.clone().unwrap_or_else(|| settings.out.join("store"));
        let store = Store::open(&root, || tracing::info!("waiting for another run on {}", root.display()))?;
        Ok(Self { survey, device, store, pictures, subjects })
    }

    fn range<'s>(&'s self, subject: &'s Subject<'s>) -> Range<'s> {
        let (seed, ascents) = (Seed(self.survey.seed), self.survey.ascents(&subject.spec.data));
        Range { seed, ascents, subject, device: &self.device, store: &self.store }
    }

    /// What everything costs, in millions of multiply-adds: the real pictures and the ascents of every network.
    fn cost(&self) -> usize {
        let of = |s: &Subject<'_>| s.look() * self.pictures[s.spec.data.as_str()].len() + self.range(s).cost();
        self.subjects.iter().map(of).sum()
    }

    /// Counts what the store has.
    fn find(&self, progress: &mut Progress) -> Result<()> {
        for subject in &self.subjects {
            let pictures = &self.pictures[subject.spec.data.as_str()];
            progress.weigh(subject.look());
            if real::is_found(self.survey, subject, pictures, &self.device, &self.store)? {
                progress.find(pictures.len());
            }
            self.range(subject).find(progress)?;
        }
        Ok(())
    }

    /// Looks at one network, and adds its rows and pictures.
    fn look(&self, subject: &Subject<'_>, page: &mut SurveyPage, progress: &mut Progress) -> Result<()> {
        let (pictures, range) = (&self.pictures[subject.spec.data.as_str()], self.range(subject));
        let real = real::real(self.survey, subject, pictures, &self.device, &self.store, progress)?;
        let sweeps = range.sweeps(&real, progress)?;
        let best = best(&sweeps);
        let rendered = range.pictures(sweeps[best].learning_rate)?;
        let centroids = range.centroids(&rendered);
        page.networks.push(network_row(subject, &real, &sweeps, best));
        let unit = |(i, centroid)| unit_row((subject, range.ascents.maximise.steps), &real, &sweeps[best], i, centroid);
        page.units.extend(centroids.into_iter().enumerate().map(unit));
        page.grids.push(page::grid(self, subject, &real, &rendered)?);
        if !page.centroids.iter().any(|(data, _)| *data == subject.spec.data) {
            page.centroids.push((subject.spec.data.clone(), real.centroid));
        }
        Ok(())
    }
}

/// A unit's row; a failed ascent counts with all its steps.
fn unit_row(
    (subject, steps): (&Subject<'_>, usize),
    real: &Real,
    sweep: &Sweep,
    unit: usize,
    centroid: f64,
) -> SurveyUnitRow {
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
        steps: mean(&|a| a.steps.unwrap_or(steps) as f64),
        failed: mean(&|a| f64::from(u8::from(a.steps.is_none()))),
        z: (mean(&|a| a.score) - found.mean) / found.deviation,
        centroid,
        remark: ascents.iter().find_map(|a| a.diagnosis.clone()).unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEXT: &str = r#"
version = 1
name = "small"
units = 2
exemplars = 10
bootstrap = 100
learning_rates = [0.05, 0.2]
[maximise]
steps = 6
seeds = 2
transforms = "small"
[attack]
pictures = 3
epsilons = [32]
steps = 3
[data.shapes]
dataset = { format = "elements", world = "e1", count = 30, concepts = ["red", "square"] }
pictures = 24
[network.trained]
family = "cnn"
data = "shapes"
series = ["training"]
model = { name = "elements_cnn", layers = ["conv4", "conv2", "logits"] }
attack_layer = "conv4"
[network.random]
family = "cnn"
data = "shapes"
untrained = true
model = { name = "elements_cnn", layers = ["conv2", "conv4"] }
"#;

    fn survey(dir: &Path, set: &[&str]) -> Survey {
        let path = dir.join("small.toml");
        std::fs::write(&path, TEXT).unwrap();
        Survey::read(&path, &set.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    fn run_in(dir: &Path, survey: &Survey, threads: usize) -> PathBuf {
        let settings = Settings { out: dir.to_path_buf(), store: None, device: "cpu".into() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(survey, &settings)).unwrap()
    }

    fn artifacts(dir: &Path) -> usize {
        let kinds = ["survey-real", "survey-attack", "rendering"];
        let count = |kind: &&str| walk(&dir.join("store").join(kind));
        kinds.iter().map(count).sum()
    }

    fn walk(folder: &Path) -> usize {
        let parts = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        parts.map(|part| std::fs::read_dir(part).unwrap().count()).sum()
    }

    #[test]
    fn a_survey_is_the_same_bytes_on_any_number_of_threads_and_made_once() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let small = survey(one.path(), &[]);
        let (a, b) = (run_in(one.path(), &small, 1), run_in(two.path(), &small, 2));
        let made = artifacts(one.path());
        for name in ["claims.csv", "networks.csv", "units.csv", "attacks.csv", "report.html"] {
            let bytes = std::fs::read(a.join(name)).unwrap();
            assert!(bytes == std::fs::read(b.join(name)).unwrap(), "{name}");
        }
        run_in(one.path(), &small, 2);
        assert_eq!(artifacts(one.path()), made);
        // Another claim of the same ascents needs no new ones.
        run_in(one.path(), &survey(one.path(), &["bootstrap=200"]), 2);
        assert_eq!(artifacts(one.path()), made);
    }

    #[test]
    fn units_come_layer_by_layer_and_controls_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let folder = run_in(dir.path(), &survey(dir.path(), &[]), 2);
        let lines = |name: &str| -> Vec<String> {
            std::fs::read_to_string(folder.join(name)).unwrap().lines().skip(1).map(str::to_owned).collect()
        };
        let units = lines("units.csv");
        assert_eq!(units.len(), 2 * 3 + 2 * 2);
        let layers: Vec<&str> = units.iter().take(6).map(|line| line.split(',').nth(4).unwrap()).collect();
        assert_eq!(layers, ["conv2", "conv2", "conv4", "conv4", "logits", "logits"]);
        let claims = lines("claims.csv");
        assert!(claims.iter().any(|line| line.starts_with("depth,shapes,random") && line.contains("true")));
        assert!(claims.iter().any(|line| line.starts_with("attack,shapes")));
        // A series of one network compares nothing.
        assert!(!claims.iter().any(|line| line.starts_with("size")));
        assert_eq!(lines("attacks.csv").len(), 6);
        assert!(folder.join("pictures").read_dir().unwrap().count() >= 20);
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { out: dir.path().to_path_buf(), store: None, device: "cpu".into() };
        let message = |set: &str| run(&survey(dir.path(), &[set]), &settings).unwrap_err().to_string();
        assert!(message("network.trained.model.layers=[\"conv44\"]").contains("conv44"));
        assert!(message("data.shapes.source=test").contains("data.shapes.source"));
        assert!(message("network.trained.attack_layer=nothing").contains("nothing"));
    }
}
