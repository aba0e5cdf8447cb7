//! The course of a score as the pixels of a picture go, or come, in the order of a map.

use rayon::prelude::*;

use super::{Score, road};
use crate::error::Result;

/// Standard deviation of ROAD's noise, in units of the normalised input (our choice, small beside a pixel's own).
pub const NOISE: f32 = 0.01;

/// Scores at equal steps of the share of pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Courses {
    /// The highest pixels are filled first: from the whole picture to the filled one.
    pub deletion: Vec<f64>,
    /// The highest pixels of the picture are put first on the filled one: the other way.
    pub insertion: Vec<f64>,
    /// The highest pixels are removed first by noisy linear imputation; the last step, which would leave nothing to impute
    /// from, is not made.
    pub road: Vec<f64>,
}

/// A picture whose pixels are taken away.
pub struct Removal<'a> {
    /// What is asked about.
    pub score: &'a Score<'a>,
    /// The picture.
    pub picture: &'a [f32],
    /// The picture filled all over.
    pub filled: &'a [f32],
    /// Standard normal numbers, as many as the picture has values: ROAD's noise, the same for every map.
    pub noise: &'a [f32],
    /// Scores of the picture and of the filled one.
    pub ends: (f64, f64),
}

impl Removal<'_> {
    /// The courses in the order of `map`, `[height * width]` of the input, the highest first, by `steps` equal steps. Of
    /// equal values the first pixel goes first.
    ///
    /// # Errors
    /// When the network fails.
    pub fn courses(&self, map: &[f32], steps: usize) -> Result<Courses> {
        let mut order: Vec<usize> = (0..map.len()).collect();
        order.sort_by(|a, b| map[*b].total_cmp(&map[*a]));
        let chosen: Vec<Vec<bool>> = (1..steps).map(|step| first(&order, step * map.len() / steps)).collect();
        let imputed: Vec<Vec<f32>> = chosen.par_iter().map(|gone| self.imputed(gone)).collect();
        let scores = self.score.of(3 * chosen.len(), |i, slot| {
            let (kind, step) = (i / chosen.len(), i % chosen.len());
            match kind {
                0 => mix(slot, self.picture, self.filled, &chosen[step]),
                1 => mix(slot, self.filled, self.picture, &chosen[step]),
                _ => slot.copy_from_slice(&imputed[step]),
            }
        })?;
        let (whole, empty) = self.ends;
        let part = |kind: usize| scores[kind * chosen.len()..(kind + 1) * chosen.len()].to_vec();
        Ok(Courses {
            deletion: [vec![whole], part(0), vec![empty]].concat(),
            insertion: [vec![empty], part(1), vec![whole]].concat(),
            road: [vec![whole], part(2)].concat(),
        })
    }

    fn imputed(&self, gone: &[bool]) -> Vec<f32> {
        let mut out = road::impute(self.picture, self.score.size(), gone);
        let noisy = out.iter_mut().zip(self.noise).zip(gone.iter().cycle());
        noisy.filter(|(_, gone)| **gone).for_each(|((value, noise), _)| *value += NOISE * noise);
        out
    }
}

fn first(order: &[usize], count: usize) -> Vec<bool> {
    let mut flags = vec![false; order.len()];
    order[..count].iter().for_each(|at| flags[*at] = true);
    flags
}

/// Writes `base`, with the pixels of `other` where they are chosen, into `out`.
fn mix(out: &mut [f32], base: &[f32], other: &[f32], chosen: &[bool]) {
    let values = base.iter().zip(other).zip(chosen.iter().cycle());
    out.iter_mut().zip(values).for_each(|(out, ((base, other), chosen))| *out = if *chosen { *other } else { *base });
}
