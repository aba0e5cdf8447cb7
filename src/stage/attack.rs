//! Adversarial use of activation maximisation on photographs, beside changes of the same size without an aim: a class, a
//! hidden unit, and blending with what a class asks for (our definitions).

use candle_core::Device;
use rand::RngExt;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::maximise::attack::{AttackOptions, Goal, Victim, aimless, blend, largest};
use crate::maximise::{Data, Job, MaximiseOptions, Objective, Planes, maximise_on, unit};
use crate::metric::picture::{psnr, ssim};
use crate::metric::proportion::{softmax, wilson};
use crate::model::Graph;
use crate::seed::Seed;

/// Halvings of the search for the smallest blend.
const HALVINGS: usize = 8;
/// Steps of the pictures that photographs are blended with.
const BLEND_STEPS: usize = 64;

/// What is done to a photograph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The target class's logit over all others.
    Targeted,
    /// A hidden unit that raises the target class.
    Unit,
    /// Part of the picture that the target class asks for.
    Blend,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Targeted, Self::Unit, Self::Blend];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Targeted => "targeted",
            Self::Unit => "unit",
            Self::Blend => "blend",
        }
    }
}

/// What is attacked, and how.
pub struct Attack<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Where it is.
    pub device: &'a Device,
    /// Networks that only look at the results; their classes have the same names.
    pub others: &'a [Graph],
    /// The most a value may change, in levels of 255.
    pub epsilons: &'a [f64],
    /// Steps of every attack.
    pub steps: usize,
    /// The layer whose units are raised by [`Method::Unit`].
    pub layer: Option<String>,
    /// The target of every photograph by name; `None` draws one.
    pub target: Option<String>,
    /// What is drawn from.
    pub seed: Seed,
}

/// One attack on one photograph.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The photograph's number.
    pub picture: usize,
    /// What was done.
    pub method: Method,
    /// Whether this is the change of the same size without an aim.
    pub control: bool,
    /// The most a value may change, in levels of 255; the share of the other picture for blending.
    pub strength: f64,
    /// The class before, the target, the class after, by number.
    pub classes: [usize; 3],
    /// Whether the target came first.
    pub success: bool,
    /// Whether any other class than before came first.
    pub flipped: bool,
    /// The first step after which the target came first.
    pub steps: Option<usize>,
    /// Probability of the target after.
    pub confidence: f64,
    /// The largest change of a value, in levels of 255, and the root of the sum of squares, in levels of \[0, 1\].
    pub norms: [f64; 2],
    /// Peak signal-to-noise ratio in decibels, and structural similarity, the mean over channels.
    pub likeness: [f64; 2],
    /// For every other network, whether its own first class became the target.
    pub transfer: Vec<bool>,
}

/// All rows of some photographs with the pictures that were made of them.
pub struct Outcome {
    /// One row an attack, and one a control.
    pub rows: Vec<Row>,
    /// The picture of every row.
    pub pictures: Vec<Planes>,
}

/// Shares over photographs of one method at one strength.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What was done.
    pub method: Method,
    /// Whether without an aim.
    pub control: bool,
    /// Levels of 255; NaN of blends, whose strength differs by picture.
    pub strength: f64,
    /// Photographs.
    pub n: usize,
    /// Share whose target came first, with its 95 % interval.
    pub success: [f64; 3],
    /// Share whose class changed, with its 95 % interval.
    pub flipped: [f64; 3],
    /// Mean probability of the target.
    pub confidence: f64,
    /// Mean of the largest change (levels of 255), of the norm, of PSNR and of SSIM.
    pub means: [f64; 4],
    /// For every other network the share that followed.
    pub transfer: Vec<f64>,
}

impl Attack<'_> {
    /// Attacks every photograph, prepared for the network, by every method. `done` is told after each method at each
    /// strength; its error ends the attack.
    ///
    /// # Errors
    /// When the network has no classes, a target or layer does not exist, or a picture does not fit.
    pub fn run(
        &self,
        photographs: &[Planes],
        methods: &[Method],
        mut done: impl FnMut(usize) -> Result<()>,
    ) -> Result<Outcome> {
        let victim = Victim::new(self.graph, self.device);
        if victim.classes() < 2 {
            let hint = "choose a classifier, or train a head with `cavern train`";
            return Err(Error::data(format!("model `{}`", self.graph.name()), "it has no classes to confuse", hint));
        }
        let shape = self.graph.input_shape();
        if let Some(other) = self.others.iter().find(|other| other.input_shape() != shape) {
            let problem = format!("its input is {:?}, that of the attacked network {shape:?}", other.input_shape());
            return Err(Error::key(
                format!("--transfer {}", other.name()),
                problem,
                "name a network of the same input",
            ));
        }
        let before: Vec<usize> = victim.logits_of(photographs)?.iter().map(|l| largest(l)).collect();
        let targets = self.targets(&victim, &before)?;
        let mut outcome = Outcome { rows: Vec::new(), pictures: Vec::new() };
        for method in methods {
            let strengths: &[f64] = if *method == Method::Blend { &[f64::NAN] } else { self.epsilons };
            for strength in strengths {
                let attacked = match method {
                    Method::Blend => self.blended(&victim, photographs, &targets)?,
                    _ => self.stepped(&victim, photographs, &targets, *method, *strength)?,
                };
                self.note(&victim, photographs, &before, &targets, (*method, *strength), attacked, &mut outcome)?;
                done(photographs.len())?;
            }
        }
        Ok(outcome)
    }

    /// The named target, or for every photograph another class than its own.
    fn targets(&self, victim: &Victim<'_>, before: &[usize]) -> Result<Vec<usize>> {
        if let Some(name) = &self.target {
            let classes = self.graph.classes();
            let found = name.parse().ok().filter(|n| *n < victim.classes());
            let found = found.or_else(|| classes.iter().position(|c| c.eq_ignore_ascii_case(name)));
            let class = found.ok_or_else(|| Error::unknown("class", name, classes.iter().map(String::as_str)))?;
            return Ok(vec![class; before.len()]);
        }
        let draw = |(i, own): (usize, &usize)| {
            let mut rng = self.seed.stream(&format!("attack target {i}"));
            (own + rng.random_range(1..victim.classes())) % victim.classes()
        };
        Ok(before.iter().enumerate().map(draw).collect())
    }

    /// Targeted or by a hidden unit: each picture, the steps it took, and no strength of its own.
    fn stepped(
        &self,
        victim: &Victim<'_>,
        photographs: &[Planes],
        targets: &[usize],
        method: Method,
        strength: f64,
    ) -> Result<Vec<(Planes, Option<usize>, f64)>> {
        let options = AttackOptions { epsilon: strength / 255.0, steps: self.steps };
        let goals: Vec<Goal> = match method {
            Method::Unit => self.units(victim, photographs, targets)?,
            _ => targets.iter().map(|t| Goal::Class(*t)).collect(),
        };
        let attacked = victim.attack(photographs, &goals, options, self.seed)?;
        let made = attacked.into_iter().zip(targets).map(|(a, target)| {
            let steps = a.classes.iter().position(|c| c == target).map(|s| s + 1);
            (a.picture, steps, strength)
        });
        Ok(made.collect())
    }

    /// For every photograph the channel of the layer whose mean raises its target's logit most there: the largest gradient
    /// (our definition).
    fn units(&self, victim: &Victim<'_>, photographs: &[Planes], targets: &[usize]) -> Result<Vec<Goal>> {
        let Some(layer) = &self.layer else {
            let hint = "name one of `cavern ls layers`, in the middle of the network";
            return Err(Error::key("--layer", "the method \"unit\" raises units of a hidden layer", hint));
        };
        let channels = victim.most_raising(self.graph.layer(layer)?, photographs, targets)?;
        channels.into_iter().map(|c| unit::parse(self.graph, &format!("{layer}:{c}")).map(Goal::Objective)).collect()
    }

    /// The smallest share of the target's own picture that makes the target come first, by halving; the whole where none
    /// does.
    fn blended(
        &self,
        victim: &Victim<'_>,
        photographs: &[Planes],
        targets: &[usize],
    ) -> Result<Vec<(Planes, Option<usize>, f64)>> {
        let asked = self.asked_for(targets)?;
        let (mut low, mut high) = (vec![0.0; targets.len()], vec![1.0; targets.len()]);
        for _ in 0..HALVINGS {
            let middle: Vec<f64> = low.iter().zip(&high).map(|(l, h)| (l + h) / 2.0).collect();
            let mixed: Vec<Planes> = (0..targets.len()).map(|i| blend(&photographs[i], &asked[i], middle[i])).collect();
            for (i, logits) in victim.logits_of(&mixed)?.iter().enumerate() {
                let side = if largest(logits) == targets[i] { &mut high[i] } else { &mut low[i] };
                *side = middle[i];
            }
        }
        Ok((0..targets.len()).map(|i| (blend(&photographs[i], &asked[i], high[i]), None, high[i])).collect())
    }

    /// The pictures that the targets' logits ask for.
    fn asked_for(&self, targets: &[usize]) -> Result<Vec<Planes>> {
        let mut classes = targets.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let logits = self.graph.logits();
        let job = |class: &usize| {
            let name = format!("{}:{class}", self.graph.layer_name(logits));
            let objective: Objective = unit::parse(self.graph, &name)?;
            Ok(Job { label: name, objective, seed: 0, start: None })
        };
        let jobs = classes.iter().map(job).collect::<Result<Vec<_>>>()?;
        let options = MaximiseOptions { steps: BLEND_STEPS, ..MaximiseOptions::default() };
        let made = maximise_on(self.device, self.graph, &jobs, &options, &Data::default(), self.seed, |_| {})?;
        let of = |target: &usize| classes.binary_search(target).map(|i| made[i].picture.clone());
        targets.iter().map(|t| of(t).map_err(|_| Error::Failure("a target has a picture".into()))).collect()
    }

    /// Rows of attacked photographs and of their controls.
    #[expect(clippy::too_many_arguments, reason = "one call")]
    fn note(
        &self,
        victim: &Victim<'_>,
        photographs: &[Planes],
        before: &[usize],
        targets: &[usize],
        (method, strength): (Method, f64),
        attacked: Vec<(Planes, Option<usize>, f64)>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let noise = photographs.iter().zip(&attacked).enumerate().map(|(i, (clean, (picture, _, own)))| {
            (aimless(clean, picture, self.seed, &format!("aimless {} {strength} {i}", method.name())), None, *own)
        });
        let noise: Vec<_> = noise.collect();
        for (control, made) in [(false, attacked), (true, noise)] {
            let pictures: Vec<Planes> = made.iter().map(|(p, ..)| p.clone()).collect();
            let logits = victim.logits_of(&pictures)?;
            let transfer = self.transfer(&pictures, targets)?;
            for (i, ((picture, steps, strength), logits)) in made.into_iter().zip(logits).enumerate() {
                let after = largest(&logits);
                outcome.rows.push(Row {
                    picture: i,
                    method,
                    control,
                    strength,
                    classes: [before[i], targets[i], after],
                    success: after == targets[i],
                    flipped: after != before[i],
                    steps,
                    confidence: softmax(&logits)[targets[i]],
                    norms: norms(&photographs[i], &picture),
                    likeness: likeness(&photographs[i], &picture),
                    transfer: transfer.iter().map(|network| network[i]).collect(),
                });
                outcome.pictures.push(picture);
            }
        }
        Ok(())
    }

    /// For every other network and picture, whether the class of the target's name comes first there.
    fn transfer(&self, pictures: &[Planes], targets: &[usize]) -> Result<Vec<Vec<bool>>> {
        let follows = |other: &Graph| {
            let names = |graph: &Graph, class: usize| graph.classes().get(class).map(|c| c.to_lowercase());
            let logits = Victim::new(other, self.device).logits_of(pictures)?;
            let same = |(logits, target): (&Vec<f64>, &usize)| {
                let (theirs, wanted) = (names(other, largest(logits)), names(self.graph, *target));
                theirs.is_some() && theirs == wanted
            };
            Ok(logits.iter().zip(targets).map(same).collect())
        };
        self.others.iter().map(follows).collect()
    }
}

impl Outcome {
    /// Means and shares of every method at every strength, controls beside.
    pub fn summaries(&self) -> Vec<Summary> {
        let mut keys: Vec<(Method, bool, Option<u64>)> = Vec::new();
        let key = |r: &Row| (r.method, r.control, (r.method != Method::Blend).then_some(r.strength.to_bits()));
        for row in &self.rows {
            if !keys.contains(&key(row)) {
                keys.push(key(row));
            }
        }
        let of = |wanted: &(Method, bool, Option<u64>)| {
            let rows: Vec<&Row> = self.rows.iter().filter(|r| key(r) == *wanted).collect();
            summary(&rows)
        };
        keys.iter().filter_map(of).collect()
    }
}

fn summary(rows: &[&Row]) -> Option<Summary> {
    let first = rows.first()?;
    let n = rows.len();
    let share = |of: &dyn Fn(&Row) -> bool| {
        let count = rows.iter().filter(|r| of(r)).count();
        let (low, high) = wilson(count, n);
        [count as f64 / n as f64, low, high]
    };
    let mean = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|r| of(r)).sum::<f64>() / n as f64;
    Some(Summary {
        method: first.method,
        control: first.control,
        strength: if first.method == Method::Blend { mean(&|r| r.strength) } else { first.strength },
        n,
        success: share(&|r| r.success),
        flipped: share(&|r| r.flipped),
        confidence: mean(&|r| r.confidence),
        means: [mean(&|r| r.norms[0]), mean(&|r| r.norms[1]), mean(&|r| r.likeness[0]), mean(&|r| r.likeness[1])],
        transfer: (0..first.transfer.len()).map(|k| share(&|r| r.transfer[k])[0]).collect(),
    })
}

fn norms(clean: &Planes, changed: &Planes) -> [f64; 2] {
    let change = || clean.values.iter().zip(&changed.values).map(|(a, b)| f64::from(b - a));
    [255.0 * change().map(f64::abs).fold(0.0, f64::max), change().map(|d| d * d).sum::<f64>().sqrt()]
}

fn likeness(clean: &Planes, changed: &Planes) -> [f64; 2] {
    let [channels, height, width] = clean.shape;
    let plane = height * width;
    let planes = clean.values.chunks_exact(plane).zip(changed.values.chunks_exact(plane));
    let mean = planes.map(|(a, b)| ssim(a, b, (height, width))).sum::<f64>() / channels as f64;
    [psnr(&clean.values, &changed.values), mean]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo;

    fn photographs(count: usize) -> Vec<Planes> {
        let values = |k: usize| (0..3 * 64 * 64).map(|i| 0.5 + 0.3 * ((i * (k + 3)) as f32 * 0.01).sin()).collect();
        (0..count).map(|k| Planes { shape: [3, 64, 64], values: values(k) }).collect()
    }

    #[test]
    fn attacks_beat_changes_of_the_same_size_without_aim() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let others = [graph.clone()];
        let attack = Attack {
            graph: &graph,
            device: &Device::Cpu,
            others: &others,
            epsilons: &[64.0],
            steps: 20,
            layer: Some("conv4".into()),
            target: None,
            seed: Seed(1),
        };
        let clean = photographs(3);
        let outcome = attack.run(&clean, &Method::ALL, |_| Ok(())).unwrap();
        assert_eq!((outcome.rows.len(), outcome.pictures.len()), (18, 18));
        let summaries = outcome.summaries();
        assert_eq!(summaries.len(), 6);
        let targeted = &summaries[0];
        assert!(targeted.success[0] > summaries[1].success[0], "{summaries:?}");
        assert!(targeted.means[0] <= 64.0 + 1e-3 && targeted.confidence > summaries[1].confidence);
        for row in &outcome.rows {
            // The network that is attacked follows itself.
            assert_eq!(row.transfer, [row.success]);
            assert_ne!(row.classes[0], row.classes[1]);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let attack = |layer: Option<&str>, target: Option<&str>| Attack {
            graph: &graph,
            device: &Device::Cpu,
            others: &[],
            epsilons: &[2.0],
            steps: 1,
            layer: layer.map(str::to_owned),
            target: target.map(str::to_owned),
            seed: Seed(1),
        };
        let message = |a: Attack<'_>| a.run(&photographs(1), &[Method::Unit], |_| Ok(())).err().unwrap().to_string();
        assert!(message(attack(None, None)).contains("--layer"));
        let larger = [zoo::random("vit_tiny_patch16", Seed(1)).unwrap()];
        let apart = Attack { others: &larger, ..attack(Some("conv4"), None) };
        assert!(message(apart).contains("vit_tiny_patch16"));
        assert!(message(attack(Some("conv44"), None)).contains("`conv4`"));
        assert!(message(attack(Some("conv4"), Some("no such class"))).contains("class"));
    }
}
