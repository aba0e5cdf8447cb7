//! What an ascent maximises, and its gradient with respect to activations: a weighted sum of readings of layers.

use std::ops::Range;

use serde::Serialize;

use super::view::View;
use crate::probe::Variant;

/// The least cosine that counts.
const FLOOR: f64 = 0.1;

/// What one picture is to maximise: the weighted sum of its terms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Objective {
    /// The terms, of one layer or several.
    pub terms: Vec<Term>,
}

/// A weighted reading of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Term {
    /// Its factor; negative to make the reading small.
    pub weight: f64,
    /// The layer's node.
    pub node: usize,
    /// What is read of the layer's activation.
    pub reading: Reading,
}

/// One number of an activation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Reading {
    /// The mean over positions of `(z_p v) max(0.1, cos(z_p, v))^k` (Lucid's `direction`; the floor keeps a negative product
    /// times a negative cosine from counting as good, Lucid issue 116). With `v` one channel and k = 0: the channel's mean.
    Mean {
        /// v, `[channel]`.
        direction: Vec<f32>,
        /// k; 0 for the plain product.
        power: f64,
    },
    /// The same at one position alone, `(y, x)`: a neuron, a patch.
    Position {
        /// v, `[channel]`.
        direction: Vec<f32>,
        /// k; 0 for the plain product.
        power: f64,
        /// Row and column of the grid.
        at: (usize, usize),
    },
    /// `<w, z>` with w `[channel, height, width]`: a full direction.
    Whole(Vec<f32>),
    /// The inner product with channels pooled as probes of this variant have them: maximum or log-sum-exp.
    Pooled(Vec<f32>, Variant),
    /// The inner product with one token, by its number: 0 is the class token.
    Token {
        /// v, `[channel]`.
        direction: Vec<f32>,
        /// The token's number, those that stand for no patch included.
        token: usize,
    },
    /// `<z, t> max(0.1, cos(z, t))^k` over all values of the layer, tokens that stand for no patch included: to answer as
    /// another picture does, but more (a caricature, as Lucid's `dot_compare`; there the cosine has one picture's norm alone).
    Like {
        /// t, of norm 1, as the layer's values are laid out.
        target: Vec<f32>,
        /// k; 0 for the plain product.
        power: f64,
    },
    /// The mean over positions of the norm of some channels: what an attention head gives.
    Norm(Range<usize>),
}

impl Objective {
    /// One reading.
    pub fn of(node: usize, reading: Reading) -> Self {
        Self { terms: vec![Term { weight: 1.0, node, reading }] }
    }

    /// What a probe's direction asks for: its score, or with a `power` the mean over positions weighted by cosines.
    pub fn direction(node: usize, direction: Vec<f32>, variant: Variant, power: f64) -> Self {
        Self::of(
            node,
            match variant {
                Variant::Full => Reading::Whole(direction),
                Variant::TranslationInvariant => Reading::Mean { direction, power },
                Variant::Max | Variant::LogSumExp(_) => Reading::Pooled(direction, variant),
            },
        )
    }

    /// To have an activation like this one, in all its values: a caricature of the picture that has it.
    pub fn like(node: usize, activation: &[f32], power: f64) -> Self {
        let norm = dot(activation, activation).sqrt().max(f64::MIN_POSITIVE);
        let target = activation.iter().map(|z| (f64::from(*z) / norm) as f32).collect();
        Self::of(node, Reading::Like { target, power })
    }

    /// The nodes it reads, in order, each once.
    pub fn nodes(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.terms.iter().map(|t| t.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether a position of a layer's grid has a meaning for it.
    pub fn is_bound_to_positions(&self) -> bool {
        self.terms
            .iter()
            .any(|t| matches!(t.reading, Reading::Whole(_) | Reading::Position { .. } | Reading::Like { .. }))
    }

    /// What its terms of one node add up to at that node's activation z; the gradient is added to `gradient`, of the same
    /// length.
    pub fn evaluate(&self, node: usize, view: &View, z: &[f32], gradient: &mut [f32]) -> f64 {
        let own = self.terms.iter().filter(|t| t.node == node);
        own.map(|t| t.weight * t.reading.evaluate(view, z, t.weight, gradient)).sum()
    }

    /// The same with every cosine's power taken as zero: the score that probes have.
    pub fn score(&self, node: usize, view: &View, z: &[f32]) -> f64 {
        self.terms.iter().filter(|t| t.node == node).map(|t| t.weight * t.reading.score(view, z)).sum()
    }
}

impl Reading {
    /// How many values its direction has to have at a layer; `None` where it fits any.
    pub fn wanted(&self, view: &View) -> Option<(usize, usize)> {
        match self {
            Self::Mean { direction, .. }
            | Self::Position { direction, .. }
            | Self::Pooled(direction, _)
            | Self::Token { direction, .. } => Some((direction.len(), view.channels)),
            Self::Whole(direction) => Some((direction.len(), view.channels * view.positions())),
            Self::Like { target, .. } => Some((target.len(), view.values)),
            Self::Norm(_) => None,
        }
    }

    fn evaluate(&self, view: &View, z: &[f32], weight: f64, gradient: &mut [f32]) -> f64 {
        match self {
            Self::Mean { direction, power } => {
                mean_of(view, 0..view.positions(), z, gradient, (direction, *power, weight))
            }
            Self::Position { direction, power, at } => {
                let p = at.0 * view.grid[1] + at.1;
                mean_of(view, p..p + 1, z, gradient, (direction, *power, weight))
            }
            Self::Whole(direction) => {
                let positions = view.positions();
                let mut sum = 0.0;
                for (i, w) in direction.iter().enumerate() {
                    let at = view.at(i / positions, i % positions);
                    sum += f64::from(*w) * f64::from(z[at]);
                    gradient[at] += (weight * f64::from(*w)) as f32;
                }
                sum
            }
            Self::Pooled(direction, variant) => pooled(view, z, *variant, direction, Some((weight, gradient))),
            Self::Token { direction, token } => {
                let first = token * view.channels;
                for (g, v) in gradient[first..first + view.channels].iter_mut().zip(direction) {
                    *g += (weight * f64::from(*v)) as f32;
                }
                dot(direction, &z[first..first + view.channels])
            }
            Self::Like { target, power } => {
                let length = dot(target, target).sqrt();
                let (value, of_target, of_z) = term(dot(target, z), dot(z, z).sqrt(), length, *power);
                for ((g, t), z) in gradient.iter_mut().zip(target).zip(z) {
                    *g += (weight * (of_target * f64::from(*t) + of_z * f64::from(*z))) as f32;
                }
                value
            }
            Self::Norm(channels) => norms(view, z, channels, Some((weight, gradient))),
        }
    }

    fn score(&self, view: &View, z: &[f32]) -> f64 {
        let plain = |direction: &[f32], positions: Range<usize>| {
            let share = 1.0 / positions.len().max(1) as f64;
            positions.map(|p| view.product(direction, z, p)).sum::<f64>() * share
        };
        match self {
            Self::Mean { direction, .. } => plain(direction, 0..view.positions()),
            Self::Position { direction, at: (y, x), .. } => {
                let p = y * view.grid[1] + x;
                plain(direction, p..p + 1)
            }
            Self::Whole(direction) => {
                let positions = view.positions();
                let term = |(i, w): (usize, &f32)| f64::from(*w) * f64::from(z[view.at(i / positions, i % positions)]);
                direction.iter().enumerate().map(term).sum()
            }
            Self::Pooled(direction, variant) => pooled(view, z, *variant, direction, None),
            Self::Token { direction, token } => dot(direction, &z[token * view.channels..(token + 1) * view.channels]),
            Self::Like { target, .. } => dot(target, z),
            Self::Norm(channels) => norms(view, z, channels, None),
        }
    }
}

/// The mean over some positions of the term of each, and its gradient times `weight`.
fn mean_of(
    view: &View,
    positions: Range<usize>,
    z: &[f32],
    gradient: &mut [f32],
    (direction, power, weight): (&[f32], f64, f64),
) -> f64 {
    let share = 1.0 / positions.len().max(1) as f64;
    let (mut products, mut squares) = (vec![0f64; positions.len()], vec![0f64; positions.len()]);
    for (c, v) in direction.iter().enumerate() {
        for ((product, square), p) in products.iter_mut().zip(&mut squares).zip(positions.clone()) {
            let z = f64::from(z[view.at(c, p)]);
            *product += f64::from(*v) * z;
            *square += z * z;
        }
    }
    let length = dot(direction, direction).sqrt();
    // Value, factor of v, factor of z at every position.
    let terms: Vec<(f64, f64, f64)> =
        products.iter().zip(&squares).map(|(d, s)| term(*d, s.sqrt(), length, power)).collect();
    for (c, v) in direction.iter().enumerate() {
        for (p, (_, of_v, of_z)) in positions.clone().zip(&terms) {
            let at = view.at(c, p);
            gradient[at] += (weight * share * (of_v * f64::from(*v) + of_z * f64::from(z[at]))) as f32;
        }
    }
    terms.iter().map(|(value, ..)| value).sum::<f64>() * share
}

/// `d max(0.1, c)^k` with `c = d / (|z| |v|)`: its value, and its gradient as factors of v and of z.
fn term(product: f64, norm: f64, length: f64, power: f64) -> (f64, f64, f64) {
    if power == 0.0 {
        return (product, 1.0, 0.0);
    }
    let cosine = if norm * length > 0.0 { product / (norm * length) } else { 0.0 };
    if cosine <= FLOOR {
        let weight = FLOOR.powf(power);
        return (product * weight, weight, 0.0);
    }
    let weight = cosine.powf(power);
    (product * weight, (power + 1.0) * weight, -power * product * weight / (norm * norm))
}

/// The inner product of v with the pooled channels; adds its gradient times a weight where that is wanted.
fn pooled(view: &View, z: &[f32], variant: Variant, v: &[f32], mut gradient: Option<(f64, &mut [f32])>) -> f64 {
    let positions = view.positions();
    let (mut channel, mut slope) = (vec![0f32; positions], vec![0f32; positions]);
    let mut sum = 0.0;
    for (c, v) in v.iter().enumerate() {
        channel.iter_mut().enumerate().for_each(|(p, value)| *value = z[view.at(c, p)]);
        sum += f64::from(*v) * variant.pool(&channel);
        if let Some((weight, gradient)) = &mut gradient {
            variant.pool_gradient(&channel, &mut slope);
            for (p, slope) in slope.iter().enumerate() {
                gradient[view.at(c, p)] += (*weight * f64::from(*v) * f64::from(*slope)) as f32;
            }
        }
    }
    sum
}

/// The mean over positions of the norm of some channels.
fn norms(view: &View, z: &[f32], channels: &Range<usize>, mut gradient: Option<(f64, &mut [f32])>) -> f64 {
    let positions = view.positions();
    let share = 1.0 / positions.max(1) as f64;
    let norm = |p: usize| channels.clone().map(|c| f64::from(z[view.at(c, p)]).powi(2)).sum::<f64>().sqrt();
    let mut sum = 0.0;
    for p in 0..positions {
        let norm = norm(p);
        sum += share * norm;
        if let (Some((weight, gradient)), true) = (&mut gradient, norm > 0.0) {
            for at in channels.clone().map(|c| view.at(c, p)) {
                gradient[at] += (*weight * share * f64::from(z[at]) / norm) as f32;
            }
        }
    }
    sum
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::Layout;

    const Z: [f32; 6] = [0.5, -1.0, 2.0, 0.25, 1.5, -0.5];
    /// Two channels of three positions.
    const MAP: Layout = Layout::Map([2, 1, 3]);
    /// One token before two patches, two channels.
    const TOKENS: Layout = Layout::Tokens { before: 1, grid: [1, 2], channels: 2 };

    fn value(layout: Layout, reading: &Reading, z: &[f32; 6], gradient: &mut [f32; 6]) -> f64 {
        gradient.fill(0.0);
        let objective = Objective { terms: vec![Term { weight: -2.0, node: 7, reading: reading.clone() }] };
        objective.evaluate(7, &View::of(layout), z, gradient) / -2.0
    }

    fn readings(direction: [f32; 2]) -> Vec<(Layout, Reading)> {
        let v = direction.to_vec();
        let mean = |power| Reading::Mean { direction: v.clone(), power };
        let mut all = Vec::new();
        for layout in [MAP, TOKENS] {
            all.extend([0.0, 1.0, 2.0, 3.5].map(|power| (layout, mean(power))));
            all.push((layout, Reading::Position { direction: v.clone(), power: 2.0, at: (0, 1) }));
            all.push((layout, Reading::Pooled(v.clone(), Variant::Max)));
            all.push((layout, Reading::Pooled(v.clone(), Variant::LogSumExp(2.0))));
            all.push((layout, Reading::Norm(0..2)));
            let target = vec![0.4, -0.2, 0.5, direction[1], 0.3, 0.1];
            all.extend([0.0, 2.0].map(|power| (layout, Reading::Like { target: target.clone(), power })));
        }
        all.push((MAP, Reading::Whole(vec![0.3, -0.1, 0.5, direction[0], direction[1], 0.2])));
        all.push((TOKENS, Reading::Token { direction: v, token: 0 }));
        all
    }

    #[test]
    fn values_by_hand() {
        let (mut g, v) = ([0.0; 6], vec![0.6, 0.8]);
        // Channels (0.5, -1, 2) and (0.25, 1.5, -0.5), three positions.
        let plain = Reading::Mean { direction: v.clone(), power: 0.0 };
        assert!((value(MAP, &plain, &Z, &mut g) - (0.5 + 0.6 + 0.8) / 3.0).abs() < 1e-6);
        assert!((plain.score(&View::of(MAP), &Z) - (0.5 + 0.6 + 0.8) / 3.0).abs() < 1e-6);
        let wanted = [0.2, 0.2, 0.2, 0.8 / 3.0, 0.8 / 3.0, 0.8 / 3.0];
        assert!(g.iter().zip(wanted).all(|(a, b)| (a + 2.0 * b).abs() < 1e-6), "{g:?}");
        let whole = Reading::Whole(vec![0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!((value(MAP, &whole, &Z, &mut g), g[2]), (2.0, -2.0));
        let class = Reading::Token { direction: v.clone(), token: 0 };
        assert!((value(TOKENS, &class, &Z, &mut g) - (0.3 - 0.8)).abs() < 1e-6);
        let patch = Reading::Position { direction: v, power: 0.0, at: (0, 1) };
        assert!((value(TOKENS, &patch, &Z, &mut g) - (0.9 - 0.4)).abs() < 1e-6);
        assert_eq!(value(TOKENS, &Reading::Norm(0..1), &[9.0, 9.0, 3.0, 0.0, -5.0, 0.0], &mut g), 4.0);
    }

    #[test]
    fn a_negative_product_stays_negative() {
        let mut g = [0.0; 6];
        let opposite = Reading::Mean { direction: vec![-1.0, 0.0], power: 1.0 };
        let value = |z: [f32; 6], g: &mut [f32; 6]| value(MAP, &opposite, &z, g);
        assert!((value([3.0, 3.0, 3.0, 0.0, 0.0, 0.0], &mut g) + 0.3).abs() < 1e-9);
        assert_eq!(value([0.0; 6], &mut g), 0.0);
        assert!(g.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        for direction in [[0.6f32, 0.8], [-0.8, 0.6]] {
            for (layout, reading) in readings(direction) {
                let (mut g, mut scratch) = ([0.0; 6], [0.0; 6]);
                value(layout, &reading, &Z, &mut g);
                for i in 0..6 {
                    let mut at = |delta: f32| {
                        let mut moved = Z;
                        moved[i] += delta;
                        value(layout, &reading, &moved, &mut scratch)
                    };
                    // A power of two, so that the moved values are exact in f32.
                    let h = 1.0 / 1024.0;
                    let wanted = -2.0 * (at(h) - at(-h)) / f64::from(2.0 * h);
                    assert!((f64::from(g[i]) - wanted).abs() < 2e-4, "{reading:?} {i}: {} {wanted}", g[i]);
                }
            }
        }
    }

    #[test]
    fn scores_are_values_without_the_power() {
        for (layout, reading) in readings([0.6, 0.8]) {
            let plain = match reading {
                Reading::Mean { direction, .. } => Reading::Mean { direction, power: 0.0 },
                Reading::Position { direction, at, .. } => Reading::Position { direction, power: 0.0, at },
                Reading::Like { target, .. } => Reading::Like { target, power: 0.0 },
                other => other,
            };
            let (value, score) = (value(layout, &plain, &Z, &mut [0.0; 6]), plain.score(&View::of(layout), &Z));
            assert!((value - score).abs() < 1e-9, "{plain:?}: {value} {score}");
        }
    }
}
