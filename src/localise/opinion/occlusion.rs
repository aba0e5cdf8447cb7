//! Occlusion (Zeiler & Fergus 2014): how much lower is the score with a part of the picture hidden?

use super::{Map, OpinionOptions, Score};
use crate::error::Result;

/// One map a picture.
///
/// # Errors
/// When the network fails.
pub fn maps(score: &Score<'_>, pictures: &[f32], options: &OpinionOptions) -> Result<Vec<Map>> {
    let (_, width) = score.size();
    let [patch, stride] = [options.patch, options.stride].map(|length| OpinionOptions::pixels(length, width));
    let filled = |picture: &[f32]| options.fill.apply(picture, width);
    let map = |picture: &[f32]| occlusion(score, picture, &filled(picture), (patch, stride));
    pictures.chunks_exact(score.network.input_len()).map(map).collect()
}

/// The map `[height, width]` of one picture: every pixel has the mean, over the patches that hide it, of the score of the
/// picture less that of the picture with `filled` in the patch. Patches stand `stride` apart; where that does not fit
/// the side, a last one ends at the edge.
///
/// # Errors
/// When the network fails.
pub fn occlusion(score: &Score<'_>, picture: &[f32], filled: &[f32], (patch, stride): (usize, usize)) -> Result<Map> {
    let (height, width) = score.size();
    let rows = starts(height, patch, stride);
    let columns = starts(width, patch, stride);
    let windows: Vec<(usize, usize)> = rows.iter().flat_map(|y| columns.iter().map(move |x| (*y, *x))).collect();
    let spans = |(top, left): (usize, usize)| {
        (top..(top + patch).min(height)).map(move |y| y * width + left..y * width + (left + patch).min(width))
    };
    // The last is the picture itself.
    let scores = score.of(windows.len() + 1, |i, slot| {
        slot.copy_from_slice(picture);
        let Some(window) = windows.get(i) else { return };
        for (plane, filled) in slot.chunks_exact_mut(height * width).zip(filled.chunks_exact(height * width)) {
            spans(*window).for_each(|span| plane[span.clone()].copy_from_slice(&filled[span]));
        }
    })?;
    let whole = scores[windows.len()];
    let mut sums = vec![(0f64, 0f64); height * width];
    for (window, hidden) in windows.into_iter().zip(&scores) {
        spans(window).flatten().for_each(|at| sums[at] = (sums[at].0 + whole - hidden, sums[at].1 + 1.0));
    }
    Ok(Map { size: (height, width), values: sums.into_iter().map(|(sum, count)| (sum / count) as f32).collect() })
}

fn starts(side: usize, patch: usize, stride: usize) -> Vec<usize> {
    let last = side.saturating_sub(patch);
    let mut starts: Vec<usize> = (0..=last).step_by(stride.max(1)).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_reach_the_edge() {
        assert_eq!(starts(64, 8, 4).len(), 15);
        assert_eq!(starts(10, 4, 4), [0, 4, 6]);
        assert_eq!(starts(4, 4, 2), [0]);
        assert_eq!(starts(3, 4, 2), [0]);
    }
}
