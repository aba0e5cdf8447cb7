//! Activation maximisation against a network: the same ascent, on a photograph, within a ball so small that nobody sees it.
//!
//! Projected gradient ascent in the largest norm (Madry et al. 2018): every step adds `alpha sign(gradient)` and cuts the
//! change back to epsilon and the picture to \[0, 1\]. What is climbed is the margin of a class, or any objective, such as a
//! hidden unit.

use candle_core::{Device, Tensor};
use rand::RngExt;
use rayon::prelude::*;

use super::objective::Objective;
use super::rendering::Planes;
use super::view::View;
use crate::error::{Error, Result};
use crate::model::graph::Graph;
use crate::seed::Seed;

/// What an attack climbs.
#[derive(Debug, Clone)]
pub enum Goal {
    /// The logit of a class less the largest of the others.
    Class(usize),
    /// An objective: a hidden unit.
    Objective(Objective),
}

/// How far and how an attack goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttackOptions {
    /// The most a value may change, in \[0, 1\]; 4/255 and the like.
    pub epsilon: f64,
    /// Steps of `epsilon / 4`.
    pub steps: usize,
}

/// A change of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Attacked {
    /// The picture after the last step.
    pub picture: Planes,
    /// The class with the largest logit after each step.
    pub classes: Vec<usize>,
    /// What was climbed, before each step.
    pub trace: Vec<f64>,
}

/// A network that is attacked.
pub struct Victim<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// Where it is.
    pub device: &'a Device,
    /// The node of its class logits.
    pub logits: usize,
}

impl<'a> Victim<'a> {
    /// A classifier.
    pub fn new(graph: &'a Graph, device: &'a Device) -> Self {
        Self { graph, device, logits: graph.logits() }
    }

    /// How many classes it has.
    pub fn classes(&self) -> usize {
        self.graph.shape(self.logits).iter().product()
    }

    /// The logits of pictures, `[picture][class]`.
    ///
    /// # Errors
    /// When pictures are not of the network's size.
    pub fn logits_of(&self, pictures: &[Planes]) -> Result<Vec<Vec<f64>>> {
        let z = self.graph.forward(&self.input(pictures)?, &[self.logits])?.remove(0);
        let rows = z.flatten_from(1)?.to_vec2::<f32>()?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect())
    }

    /// Pictures as the network's input.
    fn input(&self, pictures: &[Planes]) -> Result<Tensor> {
        let shape = self.graph.input_shape();
        if let Some(other) = pictures.iter().find(|p| p.shape != shape) {
            let problem = format!("a picture of {:?}, wanted {shape:?}", other.shape);
            return Err(Error::data(
                format!("model `{}`", self.graph.name()),
                problem,
                "prepare pictures for this network",
            ));
        }
        let mut values = Vec::with_capacity(pictures.len() * shape.iter().product::<usize>());
        for picture in pictures {
            let plane = shape[1] * shape[2];
            let normalised = picture.values.iter().enumerate().map(|(i, v)| {
                let (mean, std) = self.graph.preprocess().scale_of(i / plane, shape[0]);
                (v - mean) / std
            });
            values.extend(normalised);
        }
        Ok(Tensor::from_vec(values, (pictures.len(), shape[0], shape[1], shape[2]), self.device)?)
    }

    /// Attacks every picture with its goal. Where goals are objectives they read the same layers. The start is drawn evenly
    /// from the ball, from the stream `attack N` of the picture's number.
    ///
    /// # Errors
    /// When pictures, goals and network do not fit, or a gradient is not finite.
    pub fn attack(
        &self,
        pictures: &[Planes],
        goals: &[Goal],
        options: AttackOptions,
        seed: Seed,
    ) -> Result<Vec<Attacked>> {
        let (epsilon, alpha) = (options.epsilon as f32, (options.epsilon / 4.0) as f32);
        let mut attacked: Vec<Attacked> = pictures
            .iter()
            .enumerate()
            .map(|(i, picture)| {
                let mut rng = seed.stream(&format!("attack {i}"));
                let moved =
                    picture.values.iter().map(|v| (v + epsilon * (2.0 * rng.random::<f32>() - 1.0)).clamp(0.0, 1.0));
                let picture = Planes { shape: picture.shape, values: moved.collect() };
                Attacked { picture, classes: Vec::new(), trace: Vec::new() }
            })
            .collect();
        for _ in 0..options.steps {
            let current: Vec<Planes> = attacked.iter().map(|a| a.picture.clone()).collect();
            let (gradient, values) = self.gradient(&current, goals)?;
            let each = gradient.len() / pictures.len().max(1);
            let changed = attacked.par_iter_mut().zip(pictures).zip(gradient.par_chunks(each.max(1)));
            changed.for_each(|((attacked, clean), gradient)| {
                let triples = attacked.picture.values.iter_mut().zip(&clean.values).zip(gradient);
                triples.for_each(|((x, clean), g)| {
                    let step = if *g == 0.0 { 0.0 } else { alpha * g.signum() };
                    *x = (*x + step).clamp(clean - epsilon, clean + epsilon).clamp(0.0, 1.0);
                });
            });
            let moved: Vec<Planes> = attacked.iter().map(|a| a.picture.clone()).collect();
            for ((attacked, value), logits) in attacked.iter_mut().zip(values).zip(self.logits_of(&moved)?) {
                attacked.trace.push(value);
                attacked.classes.push(largest(&logits));
            }
        }
        Ok(attacked)
    }

    /// For every picture the channel of a layer whose mean over positions raises the logit of its class most: the largest sum
    /// of the logit's gradient over positions.
    ///
    /// # Errors
    /// When the logits do not follow from the layer.
    pub fn most_raising(&self, layer: usize, pictures: &[Planes], classes: &[usize]) -> Result<Vec<usize>> {
        let slope = |first: usize, z: &Tensor| {
            let each = z.elem_count() / z.dim(0)?.max(1);
            let mut slope = vec![0f32; z.elem_count()];
            slope.chunks_exact_mut(each).zip(&classes[first..]).for_each(|(slope, class)| slope[*class] = 1.0);
            Ok(Tensor::from_vec(slope, z.dims(), z.device())?)
        };
        let gradient = self.graph.pull_back_to(&[layer], self.logits, &self.input(pictures)?, slope)?.remove(0);
        let view = View::of(self.graph.layout(layer));
        let values = gradient.flatten_all()?.to_vec1::<f32>()?;
        let strongest = |g: &[f32]| {
            let sum = |c: usize| (0..view.positions()).map(|p| f64::from(g[view.at(c, p)])).sum::<f64>();
            largest(&(0..view.channels).map(sum).collect::<Vec<_>>())
        };
        Ok(values.chunks_exact(view.values).map(strongest).collect())
    }

    /// Gradients of the goals with respect to the network's input, whose signs are those for pictures; and the goals' values.
    fn gradient(&self, pictures: &[Planes], goals: &[Goal]) -> Result<(Vec<f32>, Vec<f64>)> {
        let nodes = match goals.first() {
            Some(Goal::Objective(objective)) => objective.nodes(),
            _ => vec![self.logits],
        };
        let views: Vec<View> = nodes.iter().map(|node| View::of(self.graph.layout(*node))).collect();
        let mut values = vec![0.0; pictures.len()];
        let gradient = self.graph.pull_back_sum(&nodes, &self.input(pictures)?, |first, z| {
            let mut slopes = Vec::with_capacity(z.len());
            for ((node, view), z) in nodes.iter().zip(&views).zip(z) {
                let activations = z.flatten_all()?.to_vec1::<f32>()?;
                let mut slope = vec![0f32; activations.len()];
                let own = activations.chunks_exact(view.values).zip(slope.chunks_exact_mut(view.values));
                for (i, (z, slope)) in own.enumerate() {
                    values[first + i] += match &goals[first + i] {
                        Goal::Objective(objective) => objective.evaluate(*node, view, z, slope),
                        Goal::Class(class) => margin(*class, z, slope),
                    };
                }
                slopes.push(Tensor::from_vec(slope, z.dims(), z.device())?);
            }
            Ok(slopes)
        })?;
        let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        if !gradient.iter().all(|g| g.is_finite()) {
            let hint = "check the model's weights";
            return Err(Error::data(format!("model `{}`", self.graph.name()), "a gradient is not finite", hint));
        }
        Ok((gradient, values))
    }
}

/// The logit of a class less the largest of the others, and its slope.
fn margin(class: usize, logits: &[f32], slope: &mut [f32]) -> f64 {
    let others = (0..logits.len()).filter(|k| *k != class);
    let rival = others.max_by(|a, b| logits[*a].total_cmp(&logits[*b]).then(b.cmp(a)));
    slope[class] += 1.0;
    let Some(rival) = rival else { return f64::from(logits[class]) };
    slope[rival] -= 1.0;
    f64::from(logits[class]) - f64::from(logits[rival])
}

/// Where the largest value stands; the first of equal ones.
pub fn largest(values: &[f64]) -> usize {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]).then(b.cmp(a))).unwrap_or(0)
}

/// A change of the same size in every norm without any aim: the values of `attacked - clean` at places of their own, each
/// with a sign of its own.
pub fn aimless(clean: &Planes, attacked: &Planes, seed: Seed, name: &str) -> Planes {
    use rand::seq::SliceRandom;
    let mut rng = seed.stream(name);
    let mut change: Vec<f32> = attacked.values.iter().zip(&clean.values).map(|(a, c)| a - c).collect();
    change.shuffle(&mut rng);
    let values = clean.values.iter().zip(change).map(|(c, d)| {
        let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
        // A change that would leave [0, 1] is turned round, so that no part of it is lost.
        let moved = c + sign * d;
        if (0.0..=1.0).contains(&moved) { moved } else { (c - sign * d).clamp(0.0, 1.0) }
    });
    Planes { shape: clean.shape, values: values.collect() }
}

/// A picture that is `share` of another: `(1 - share) x + share y`.
pub fn blend(x: &Planes, y: &Planes, share: f64) -> Planes {
    let share = share as f32;
    let values = x.values.iter().zip(&y.values).map(|(x, y)| (1.0 - share) * x + share * y);
    Planes { shape: x.shape, values: values.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo;

    fn pictures(shape: [usize; 3], count: usize) -> Vec<Planes> {
        let values = |k: usize| {
            let mut rng = Seed(9).stream(&format!("picture {k}"));
            (0..shape.iter().product()).map(|_| 0.2 + 0.6 * rng.random::<f32>()).collect()
        };
        (0..count).map(|k| Planes { shape, values: values(k) }).collect()
    }

    fn victim() -> Graph {
        zoo::random("elements_cnn", Seed(1)).unwrap()
    }

    #[test]
    fn attacks_stay_in_their_ball_and_climb() {
        let graph = victim();
        let victim = Victim::new(&graph, &Device::Cpu);
        let clean = pictures(graph.input_shape(), 3);
        let options = AttackOptions { epsilon: 8.0 / 255.0, steps: 10 };
        let goals: Vec<Goal> = (0..3).map(|k| Goal::Class(k * 2)).collect();
        let attacked = victim.attack(&clean, &goals, options, Seed(3)).unwrap();
        for (attacked, clean) in attacked.iter().zip(&clean) {
            let off = attacked.picture.values.iter().zip(&clean.values).map(|(a, c)| (a - c).abs());
            assert!(off.fold(0.0, f32::max) <= 8.0 / 255.0 + 1e-6);
            assert!(attacked.picture.values.iter().all(|v| (0.0..=1.0).contains(v)));
            assert!(attacked.trace[9] > attacked.trace[0], "{:?}", attacked.trace);
            assert_eq!(attacked.classes.len(), 10);
        }
        let alone = victim.attack(&clean[..1], &goals[..1], options, Seed(3)).unwrap();
        assert_eq!(alone[0], attacked[0], "other pictures change nothing");
    }

    #[test]
    fn a_hidden_unit_can_be_the_goal() {
        let graph = victim();
        let victim = Victim::new(&graph, &Device::Cpu);
        let objective = crate::maximise::unit::parse(&graph, "conv4:2").unwrap();
        let options = AttackOptions { epsilon: 8.0 / 255.0, steps: 10 };
        let clean = pictures(graph.input_shape(), 1);
        let attacked = victim.attack(&clean, &[Goal::Objective(objective)], options, Seed(3)).unwrap();
        assert!(attacked[0].trace[9] > attacked[0].trace[0], "{:?}", attacked[0].trace);
    }

    #[test]
    fn a_margin_by_hand() {
        let mut slope = [0.0; 4];
        assert_eq!(margin(1, &[2.0, 1.0, 5.0, 5.0], &mut slope), -4.0);
        assert_eq!(slope, [0.0, 1.0, -1.0, 0.0]);
        assert_eq!(largest(&[1.0, 3.0, 3.0]), 1);
    }

    #[test]
    fn a_change_without_aim_has_the_same_size() {
        let clean = pictures([1, 4, 4], 1).remove(0);
        let attacked = Planes { shape: [1, 4, 4], values: clean.values.iter().map(|v| v + 0.03).collect() };
        let noise = aimless(&clean, &attacked, Seed(1), "n");
        let norm = |p: &Planes| p.values.iter().zip(&clean.values).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        assert!((norm(&noise) - norm(&attacked)).abs() < 1e-6 && noise != attacked);
        assert!(
            blend(&clean, &attacked, 0.5).values.iter().zip(&clean.values).all(|(b, c)| (b - c - 0.015).abs() < 1e-6)
        );
    }
}
