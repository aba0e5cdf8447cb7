//! Maps from the gradient at the pixels: integrated over a way from nothing to the picture, or at the picture alone.

use super::{Map, OpinionOptions, Score};
use crate::error::Result;

/// Integrated gradients (Sundararajan, Taly & Yan 2017) of every picture, summed over its channels.
///
/// # Errors
/// When the network fails.
pub fn integrated(score: &Score<'_>, pictures: &[f32], options: &OpinionOptions) -> Result<Vec<Map>> {
    let of = |picture: &[f32]| {
        let start = options.fill.apply(picture, score.size().1);
        Ok(over_channels(score, &integrate(score, picture, &start, options.steps)?))
    };
    pictures.chunks_exact(score.network.input_len()).map(of).collect()
}

/// Integrated gradients of every value of the input: its difference to `start` times the mean gradient on the straight
/// way between them, by the trapezoid rule at `steps` equal steps. They sum to the score less that of the start, but for
/// the rule's error.
///
/// # Errors
/// When the network fails.
pub fn integrate(score: &Score<'_>, picture: &[f32], start: &[f32], steps: usize) -> Result<Vec<f32>> {
    let mut sums = vec![0f64; picture.len()];
    let points: Vec<usize> = (0..=steps).collect();
    for points in points.chunks(score.network.batch()) {
        let at = |step: &usize| {
            let share = *step as f32 / steps as f32;
            picture.iter().zip(start).map(move |(x, s)| s + share * (x - s))
        };
        let inputs: Vec<f32> = points.iter().flat_map(at).collect();
        let gradients = score.gradients(&inputs, 0)?;
        for (step, gradient) in points.iter().zip(gradients.chunks_exact(picture.len())) {
            let weight = if *step == 0 || *step == steps { 0.5 } else { 1.0 } / steps as f64;
            sums.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += weight * f64::from(*g));
        }
    }
    let ends = picture.iter().zip(start).map(|(x, s)| f64::from(*x) - f64::from(*s));
    Ok(sums.into_iter().zip(ends).map(|(sum, way)| (sum * way) as f32).collect())
}

/// Gradient times input of every picture, summed over its channels. The input is the normalised one: its zero is the
/// network's mean colour.
///
/// # Errors
/// When the network fails.
pub fn times_input(score: &Score<'_>, pictures: &[f32]) -> Result<Vec<Map>> {
    let gradients = score.gradients(pictures, 0)?;
    let products: Vec<f32> = gradients.iter().zip(pictures).map(|(g, x)| g * x).collect();
    Ok(products.chunks_exact(score.network.input_len()).map(|p| over_channels(score, p)).collect())
}

fn over_channels(score: &Score<'_>, values: &[f32]) -> Map {
    let size = score.size();
    let mut sums = vec![0f32; size.0 * size.1];
    for plane in values.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(plane).for_each(|(sum, v)| *sum += v);
    }
    Map { size, values: sums }
}
