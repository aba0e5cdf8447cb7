//! The measurements: every objective's pictures, and all pictures of a layer.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::bench::{Bench, Look, of_planes, of_sample};
use super::features::Features;
use super::rows::Rows;
use super::{Exemplar, Judged};
use crate::dataset::preprocess::Picture;
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::maximise::objective::Reading;
use crate::maximise::spectrum::Spectral;
use crate::maximise::{JudgeOptions, MaximiseOptions, Objective};
use crate::metric::bootstrap::{ratio, weighted_mean};
use crate::metric::correlation::spearman;
use crate::metric::maximisation::{diversity, nearest, pearson, percentile, top, z_score};
use crate::model::Graph;
use crate::report::MetricRow;
use crate::stage::Context;
use crate::stage::maximise::{Order, Rendered, Set};
use crate::study::Resize;

/// Most real pictures of the test split, and of the fit split for finding the judge's channel.
const REAL: usize = 512;
const FIT: usize = 256;
/// Real pictures whose spectra are taken.
const SPECTRA: usize = 128;
/// Real pictures shown beside an objective's.
const EXEMPLARS: usize = 4;
/// Other real pictures that are held against them.
const OTHERS: usize = 32;
/// Kind of the levels that real pictures have.
const OF_REAL: &str = "real pictures";

/// Who judges, and how.
pub(super) struct Judge<'a> {
    context: &'a Context,
    options: &'a JudgeOptions,
    /// The independent network; none where the study's own judges.
    other: Option<Graph>,
}

/// What pictures made in one network are held against.
struct Bar<'a> {
    judge: &'a Judge<'a>,
    bench: Bench<'a>,
    /// Real test pictures, in a random order.
    samples: Vec<usize>,
    real: Vec<Look>,
    spectra: Vec<Spectral>,
    /// Real fit pictures; none where the study's own network judges.
    fit: Vec<Look>,
    /// The judge's features of the real test pictures.
    features: Features,
}

/// The pictures of one objective.
struct Group<'a> {
    number: usize,
    rendered: &'a Rendered,
    objective: &'a Objective,
    looks: Vec<Look>,
}

impl<'a> Judge<'a> {
    /// Builds the judging network.
    pub(super) fn open(context: &'a Context, options: &'a MaximiseOptions) -> Result<Self> {
        let mut other = match options.judge.recipe() {
            Some(recipe) => Some(recipe.build(&context.device)?),
            None => None,
        };
        if let Some(graph) = &mut other {
            let (input, size) = (graph.input_shape(), graph.preprocess().size);
            if input != [3, size, size] && input != [1, size, size] {
                let problem = format!("its input is {input:?}: no square picture of one channel or three");
                return Err(Error::key("maximise.judge.model", problem, "name a network for pictures"));
            }
            if context.study.model.resize == Resize::Stretch {
                graph.stretch();
            }
        }
        Ok(Self { context, options: &options.judge, other })
    }

    /// The judging network.
    pub(super) fn network(&self) -> Result<&Graph> {
        self.other.as_ref().map_or_else(|| self.context.network(), Ok)
    }

    /// The judge's name in tables, empty for the study's own network.
    fn name(&self) -> &str {
        self.other.as_ref().map_or("", Graph::name)
    }

    /// Adds what is found of all pictures made in one network.
    pub(super) fn measure(&self, set: &Set<'_>, out: &mut Judged) -> Result<()> {
        let Some((_, first)) = set.columns.first().filter(|(_, orders)| !orders.is_empty()) else { return Ok(()) };
        let each: Vec<Objective> = objectives(first).into_iter().map(|orders| orders[0].1.clone()).collect();
        let bar = Bar::new(self, set.graph, each)?;
        for (number, orders) in objectives(first).into_iter().enumerate() {
            bar.exemplars(number, &orders[0].0, &mut out.exemplars);
        }
        for (studio, orders) in &set.columns {
            let mut planes = studio.last(orders);
            let mut groups = Vec::new();
            for (number, orders) in objectives(orders).into_iter().enumerate() {
                let own = planes.by_ref().take(orders.len()).map(|planes| Ok(of_planes(&planes?)));
                let pictures: Vec<Picture> = own.collect::<Result<_>>()?;
                let (rendered, objective) = &orders[0];
                let group = Group { number, rendered, objective, looks: bar.bench.look(&pictures)? };
                bar.of_objective(&group, &pictures, &mut out.metrics)?;
                groups.push(group);
            }
            bar.of_layers(&groups, &mut out.metrics);
        }
        Ok(())
    }

    /// Some pictures of a part, drawn at random.
    fn draw(&self, part: Part, count: usize) -> Vec<usize> {
        let mut samples = self.context.part(part);
        samples.shuffle(&mut self.context.seed.stream(&format!("judge/{}", part.name())));
        samples.truncate(count);
        samples
    }
}

impl<'a> Bar<'a> {
    fn new(judge: &'a Judge<'a>, own: &'a Graph, objectives: Vec<Objective>) -> Result<Self> {
        let bench = Bench::new(judge.context, own, judge.network()?, objectives);
        let samples = judge.draw(Part::Test, REAL);
        if samples.is_empty() {
            let hint = "add samples, or change the shares in [split]";
            return Err(Error::data("the test split", "it has no pictures to hold renderings against", hint));
        }
        let fit = if judge.other.is_some() { judge.draw(Part::Fit, FIT) } else { Vec::new() };
        let (real, fit) = (bench.look_at(&samples)?, bench.look_at(&fit)?);
        let spectra = bench.spectra(&samples[..samples.len().min(SPECTRA)])?;
        let features = Features::of(&real);
        Ok(Self { judge, bench, samples, real, spectra, fit, features })
    }

    /// Scores of the real pictures, and the places of the highest.
    fn ranked(&self, objective: usize) -> (Vec<f64>, Vec<usize>) {
        let scores: Vec<f64> = self.real.iter().map(|look| look.scores[objective]).collect();
        let places = top(&scores, EXEMPLARS);
        (scores, places)
    }

    /// The real pictures of an objective, which are the same for every parameterisation.
    fn exemplars(&self, objective: usize, rendered: &Rendered, out: &mut Vec<Exemplar>) {
        let (scores, places) = self.ranked(objective);
        for (rank, place) in places.iter().enumerate() {
            let sample = &self.judge.context.dataset.samples()[self.samples[*place]];
            out.push(Exemplar {
                rendered: Rendered { parameter: None, ..rendered.clone() },
                rank,
                sample: sample.id.clone(),
                name: sample.name.clone(),
                score: scores[*place],
            });
        }
    }

    fn of_objective(&self, group: &Group<'_>, pictures: &[Picture], out: &mut Vec<MetricRow>) -> Result<()> {
        let (scores, places) = self.ranked(group.number);
        let mut rows = Rows { context: self.judge.context, rendered: group.rendered, out };
        let over = |of: &dyn Fn(f64) -> f64| -> Vec<f64> {
            group.looks.iter().map(|look| of(look.scores[group.number])).collect()
        };
        rows.push("am_z", "", &over(&|score| z_score(score, &scores)), (0.0, OF_REAL));
        rows.push("am_percentile", "", &over(&|score| percentile(score, &scores)), (0.5, OF_REAL));
        self.spectrum(pictures, &mut rows);
        self.realism(group, &mut rows);
        self.path(group, &places, &mut rows);
        self.robustness(group, pictures, &places, &mut rows)?;
        self.transfer(group, &mut rows)
    }

    fn spectrum(&self, pictures: &[Picture], rows: &mut Rows<'_>) {
        let real = |of: &dyn Fn(&Spectral) -> f64| mean(&self.spectra.iter().map(of).collect::<Vec<_>>());
        let typical = real(&|s| s.slope);
        let error = |s: &Spectral| (s.slope - typical).abs();
        let own: Vec<Spectral> = pictures.iter().map(|p| self.bench.spectral(p)).collect();
        rows.push("am_slope_error", "", &own.iter().map(error).collect::<Vec<_>>(), (real(&error), OF_REAL));
        let centroids: Vec<f64> = own.iter().map(|s| s.centroid).collect();
        rows.push("am_centroid", "", &centroids, (real(&|s| s.centroid), OF_REAL));
    }

    /// How near the pictures' features are to real ones', and how far from each other's.
    fn realism(&self, group: &Group<'_>, rows: &mut Rows<'_>) {
        let (real, own) = (&self.features, self.features.scaled(&group.looks));
        let near: Vec<f64> = own.iter().map(|features| ratio(nearest(features, &real.rows), real.between)).collect();
        rows.push("am_nearest", self.judge.name(), &near, (1.0, OF_REAL));
        if own.len() > 1 {
            rows.push_one("am_diversity", self.judge.name(), diversity(&own), (real.diversity, OF_REAL), own.len());
        }
    }

    /// Is the picture worked through as its exemplars are?
    fn path(&self, group: &Group<'_>, places: &[usize], rows: &mut Rows<'_>) {
        let along = |look| self.bench.along(group.number, look);
        let mut wanted: Vec<Vec<f64>> = Vec::new();
        for place in places {
            for (layer, means) in along(&self.real[*place]).into_iter().enumerate() {
                match wanted.get_mut(layer) {
                    Some(sum) => sum.iter_mut().zip(means).for_each(|(sum, v)| *sum += v),
                    None => wanted.push(means.to_vec()),
                }
            }
        }
        let alike = |look| mean(&along(look).into_iter().zip(&wanted).map(|(a, b)| spearman(a, b)).collect::<Vec<_>>());
        let others = self.real.iter().enumerate().filter(|(place, _)| !places.contains(place)).take(OTHERS);
        let null = mean(&others.map(|(_, look)| alike(look)).collect::<Vec<_>>());
        let own: Vec<f64> = group.looks.iter().map(alike).collect();
        rows.push("am_path", "", &own, (null, "random real pictures"));
    }

    fn robustness(&self, group: &Group<'_>, pictures: &[Picture], places: &[usize], rows: &mut Rows<'_>) -> Result<()> {
        let of = |picture: &Picture, plain: f64, name: &str| -> Result<f64> {
            let input = self.bench.inputs(std::slice::from_ref(picture));
            let (copies, seed) = (self.judge.options.copies, self.judge.context.seed);
            let shaken = self.bench.own.shaken(group.number, &input, copies, seed, name)?;
            Ok(ratio(mean(&shaken), plain))
        };
        let own = pictures.iter().zip(&group.looks).enumerate();
        let own: Result<Vec<f64>> =
            own.map(|(i, (p, look))| of(p, look.scores[group.number], &format!("judge shake {i}"))).collect();
        let null = match places.first() {
            Some(best) => {
                let picture = of_sample(self.judge.context, self.samples[*best])?;
                of(&picture, self.real[*best].scores[group.number], "judge shake real")?
            }
            None => f64::NAN,
        };
        rows.push("am_robustness", "", &own?, (null, "best real picture"));
        Ok(())
    }

    /// Does another network see the same? By the class of the same name, or else the channel that goes with the objective.
    fn transfer(&self, group: &Group<'_>, rows: &mut Rows<'_>) -> Result<()> {
        if self.judge.other.is_none() {
            return Ok(());
        }
        let name = self.judge.name();
        if let Some(class) = self.class(group.objective)? {
            let of = |looks: &[Look]| looks.iter().map(|look| look.classes[class]).collect::<Vec<f64>>();
            rows.push("am_transfer", name, &of(&group.looks), (mean(&of(&self.real)), OF_REAL));
            return Ok(());
        }
        let objective: Vec<f64> = self.fit.iter().map(|look| look.scores[group.number]).collect();
        let channel = |looks: &[Look], c: usize| looks.iter().map(|look| look.features[c]).collect::<Vec<f64>>();
        let width = self.fit.first().map_or(0, |look| look.features.len());
        let correlations = (0..width).into_par_iter().map(|c| pearson(&objective, &channel(&self.fit, c)));
        let correlations: Vec<f64> = correlations.map(|r| if r.is_nan() { -1.0 } else { r }).collect();
        let Some(best) = top(&correlations, 1).first().copied() else { return Ok(()) };
        let real = channel(&self.real, best);
        let own: Vec<f64> = channel(&group.looks, best).iter().map(|value| percentile(*value, &real)).collect();
        rows.push("am_transfer", name, &own, (0.5, OF_REAL));
        rows.push_one("am_transfer_r", name, correlations[best], (f64::NAN, ""), self.fit.len());
        Ok(())
    }

    /// The judge's class of the same name, where an objective is one logit of the study's network.
    fn class(&self, objective: &Objective) -> Result<Option<usize>> {
        let own = self.judge.context.network()?;
        let [term] = objective.terms.as_slice() else { return Ok(None) };
        let Reading::Mean { direction, .. } = &term.reading else { return Ok(None) };
        let units: Vec<usize> = (0..direction.len()).filter(|i| direction[*i] != 0.0).collect();
        let (true, [unit]) = (term.node == own.logits() && term.weight > 0.0, units.as_slice()) else {
            return Ok(None);
        };
        let Some(name) = own.classes().get(*unit) else { return Ok(None) };
        Ok(self.judge.network()?.classes().iter().position(|class| class.eq_ignore_ascii_case(name)))
    }

    /// Distances of all pictures of a layer from real ones, by kind of probe, form and role.
    fn of_layers(&self, groups: &[Group<'_>], out: &mut Vec<MetricRow>) {
        let mut sets: BTreeMap<(&str, String, &str, &str), Vec<&Group<'_>>> = BTreeMap::new();
        for group in groups {
            let r = group.rendered;
            sets.entry((&r.layer, r.form(), &r.probe, r.role.name())).or_default().push(group);
        }
        for groups in sets.values_mut() {
            // Sums are added in the concepts' order by name, whatever that of the study.
            groups.sort_by_key(|group| &group.rendered.concept);
            let own: Vec<Vec<f64>> = groups.iter().flat_map(|group| self.features.scaled(&group.looks)).collect();
            let rendered = Rendered { concept: "all".to_owned(), ..groups[0].rendered.clone() };
            let mut rows = Rows { context: self.judge.context, rendered: &rendered, out };
            for (metric, value, null) in self.features.distances(&own) {
                if value.is_finite() {
                    rows.push_one(metric, self.judge.name(), value, (null, OF_REAL), own.len());
                }
            }
        }
    }
}

/// The pictures of one objective after the other.
fn objectives(orders: &[Order]) -> Vec<&[Order]> {
    orders.chunk_by(|(a, _), (b, _)| a.label() == b.label()).collect()
}

/// The mean of what is no NaN.
pub(super) fn mean(values: &[f64]) -> f64 {
    weighted_mean(values, &vec![1.0; values.len()])
}
