//! Second opinions on where a probe's score comes from: maps by the gradient at an earlier layer, by hiding parts of the
//! picture, and by the gradient at the pixels. They ask the network, where spatial linear attribution reads the layer.

pub mod cam;
pub mod fill;
pub mod gradient;
pub mod occlusion;
pub mod options;
pub mod removal;
pub mod road;
pub mod score;

#[cfg(test)]
mod golden;

pub use fill::Fill;
pub use options::{Method, OpinionOptions};
pub use score::Score;

use super::{Upsampling, upsample};
use crate::dataset::mask::cells;
use crate::error::Result;

/// A map of any size over the network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// Height and width.
    pub size: (usize, usize),
    /// `height * width` values, row by row; positive speaks for the concept.
    pub values: Vec<f32>,
}

impl Map {
    /// The mean over every cell of a grid `(height, width)` that lies over the map, by area.
    pub fn pooled(&self, grid: (usize, usize)) -> Vec<f32> {
        let (h, w) = self.size;
        let across: Vec<_> = cells(0.0, w as f64, grid.1, w).collect();
        let mut out = Vec::with_capacity(grid.0 * grid.1);
        for down in cells(0.0, h as f64, grid.0, h) {
            for across in &across {
                let row =
                    |y: usize| across.iter().map(|(x, part)| part * f64::from(self.values[y * w + x])).sum::<f64>();
                out.push(down.iter().map(|(y, part)| part * row(*y)).sum::<f64>() as f32);
            }
        }
        out
    }

    /// The map at another size.
    pub fn enlarged(&self, size: (usize, usize), mode: Upsampling) -> Vec<f32> {
        upsample(&self.values, self.size, size, mode)
    }
}

/// The maps of pictures by every method of the options, in their order: for each method one map a picture. Methods that need
/// an earlier layer are left out where `earlier` names none, and ascents.
///
/// # Errors
/// When the score does not depend on the earlier layer, or the network fails.
pub fn maps(
    score: &Score<'_>,
    pictures: &[f32],
    earlier: Option<usize>,
    options: &OpinionOptions,
) -> Result<Vec<(Method, Vec<Map>)>> {
    let cams: Vec<Method> = options.methods.iter().copied().filter(|m| m.is_cam()).collect();
    let mut by_cam = match earlier {
        Some(earlier) if !cams.is_empty() => cam::maps(score, pictures, earlier, &cams)?,
        _ => Vec::new(),
    };
    let mut out = Vec::new();
    for method in &options.methods {
        match method {
            Method::Occlusion => out.push((*method, occlusion::maps(score, pictures, options)?)),
            Method::IntegratedGradients => out.push((*method, gradient::integrated(score, pictures, options)?)),
            Method::GradientInput => out.push((*method, gradient::times_input(score, pictures)?)),
            // An ascent is none of this module's: `stage::sensitivity` adds it.
            Method::Am => {}
            _ => out.extend(by_cam.iter().position(|(m, _)| m == method).map(|i| by_cam.swap_remove(i))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_is_the_mean_by_area() {
        let map = Map { size: (2, 3), values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        assert_eq!(map.pooled((2, 3)), map.values);
        assert_eq!(map.pooled((1, 1)), [3.5]);
        // Columns of one and a half pixels.
        let halves = map.pooled((1, 2));
        assert!(
            (halves[0] - (2.5 + 0.5 * 3.5) / 1.5).abs() < 1e-6 && (halves[1] - (4.5 + 0.5 * 3.5) / 1.5).abs() < 1e-6
        );
    }
}
