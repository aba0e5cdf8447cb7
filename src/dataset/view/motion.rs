//! Where the pixels of a geometric view come from.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::dataset::preprocess::{Picture, Preprocess};
use crate::dataset::sample::{Dataset, Presence};
use crate::error::Result;

/// Share of every concept's area that a crop keeps.
const KEPT: f64 = 0.8;
/// Steps from a crop's size to the whole picture.
const STEPS: usize = 10;

/// An affine map from the pixels of a view to those of the picture: `offset + centre + matrix (pixel - centre)`, both as
/// (y, x), in pixels whose centres are whole numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    matrix: [[f32; 2]; 2],
    offset: [f32; 2],
}

impl Motion {
    /// Left and right swapped.
    pub(super) const MIRROR: Self = Self { matrix: [[1.0, 0.0], [0.0, -1.0]], offset: [0.0; 2] };

    /// Moved right by whole pixels.
    pub(super) fn right(pixels: f32) -> Self {
        Self { matrix: [[1.0, 0.0], [0.0, 1.0]], offset: [0.0, -pixels.round()] }
    }

    /// Enlarged by a factor.
    pub(super) fn enlarged(factor: f32) -> Self {
        Self { matrix: [[1.0 / factor, 0.0], [0.0, 1.0 / factor]], offset: [0.0; 2] }
    }

    /// Turned counter-clockwise. Rows grow downwards, and this is the inverse.
    pub(super) fn turned(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self { matrix: [[cos, sin], [-sin, cos]], offset: [0.0; 2] }
    }

    /// A square of `side` pixels, its upper left corner at `(top, left)`, enlarged to the picture's `size`.
    fn cropped(size: usize, side: usize, (top, left): (usize, usize)) -> Self {
        let scale = side as f32 / size as f32;
        // From the centre of the picture to that of the square.
        let offset = |edge: usize| edge as f32 + (side as f32 - size as f32) / 2.0;
        Self { matrix: [[scale, 0.0], [0.0, scale]], offset: [offset(top), offset(left)] }
    }

    /// Where the pixel (y, x) of a view of `size` pixels comes from.
    pub fn at(&self, size: usize, y: f32, x: f32) -> (f32, f32) {
        let centre = (size as f32 - 1.0) / 2.0;
        let (dy, dx) = (y - centre, x - centre);
        let [[a, b], [c, d]] = self.matrix;
        (self.offset[0] + centre + a * dy + b * dx, self.offset[1] + centre + c * dy + d * dx)
    }

    /// The view of a picture, bilinear between pixels; what comes from outside is the picture reflected.
    pub(super) fn apply(&self, picture: &Picture) -> Picture {
        let size = picture.size;
        let plane = size * size;
        let mut pixels = vec![0.0; 3 * plane];
        for i in 0..plane {
            let (y, x) = self.at(size, (i / size) as f32, (i % size) as f32);
            let (top, left) = (y.floor(), x.floor());
            let (dy, dx) = (y - top, x - left);
            let rows = [0, 1].map(|k| reflect(top as isize + k, size) * size);
            let columns = [0, 1].map(|k| reflect(left as isize + k, size));
            for c in 0..3 {
                let v = |r: usize, k: usize| picture.pixels[c * plane + rows[r] + columns[k]];
                let upper = if dx == 0.0 { v(0, 0) } else { v(0, 0) * (1.0 - dx) + v(0, 1) * dx };
                pixels[c * plane + i] =
                    if dy == 0.0 { upper } else { upper * (1.0 - dy) + (v(1, 0) * (1.0 - dx) + v(1, 1) * dx) * dy };
            }
        }
        Picture { size, pixels }
    }

    /// The map of a view, had it moved with the picture: the clean map `[h * w]`, bilinear between cells, where the centres
    /// of the view's cells come from; NaN where that is outside the picture. `size` is the picture's, in pixels.
    pub fn moved(&self, map: &[f32], (h, w): (usize, usize), size: usize) -> Vec<f64> {
        let length = size as f32;
        let pixel = |cell: usize, cells: usize| (cell as f32 + 0.5) * length / cells as f32 - 0.5;
        // Half of a hundredth of a pixel beyond the edge is rounding.
        let inside = |at: f32| (-0.505..=length - 0.495).contains(&at);
        let taps = |at: f32, cells: usize| {
            let at = ((at + 0.5) * cells as f32 / length - 0.5).clamp(0.0, cells as f32 - 1.0);
            let low = (at as usize).min(cells.saturating_sub(2));
            (low, (low + 1).min(cells - 1), f64::from(at - low as f32))
        };
        let value = |i: usize| {
            let (y, x) = self.at(size, pixel(i / w, h), pixel(i % w, w));
            if !inside(y) || !inside(x) {
                return f64::NAN;
            }
            let ((top, bottom, dy), (left, right, dx)) = (taps(y, h), taps(x, w));
            let row = |y: usize| f64::from(map[y * w + left]) * (1.0 - dx) + f64::from(map[y * w + right]) * dx;
            row(top) * (1.0 - dy) + row(bottom) * dy
        };
        (0..h * w).map(value).collect()
    }
}

/// An index beyond the picture, reflected without repeating the edge.
pub(super) fn reflect(at: isize, size: usize) -> usize {
    let period = (2 * size as isize - 2).max(1);
    let at = at.rem_euclid(period);
    (if at >= size as isize { period - at } else { at }).max(0) as usize
}

/// Where the concepts of a picture are: for each one present, its share of every pixel, `[size * size]`. `None` where one
/// that is present has no mask, so that nobody knows what a crop would leave of it.
pub type Whereabouts = Option<Vec<Vec<f32>>>;

/// The whereabouts of a sample's concepts on the network's input.
///
/// # Errors
/// When a mask cannot be read.
pub fn whereabouts(data: &dyn Dataset, sample: usize, preprocess: &Preprocess) -> Result<Whereabouts> {
    let mut found = Vec::new();
    for (concept, presence) in data.samples()[sample].presence.iter().enumerate() {
        if *presence == Presence::Present {
            let Some(mask) = data.mask(sample, concept)? else { return Ok(None) };
            let window = preprocess.window(mask.width, mask.height);
            found.push(mask.grid_coverage(window, (preprocess.size, preprocess.size)));
        }
    }
    Ok(Some(found))
}

/// A square of `share` of the picture's side, at random among those that keep at least [`KEPT`] of the area of every
/// concept in it. Where there is none a larger one is looked for; where nobody knows, the whole picture stays.
pub(super) fn crop(size: usize, share: f32, masks: &Whereabouts, rng: &mut ChaCha8Rng) -> Motion {
    let whole = Motion::cropped(size, size, (0, 0));
    let Some(masks) = masks else { return whole };
    let areas: Vec<Area> = masks.iter().map(|mask| Area::new(mask, size)).collect();
    for step in 0..STEPS {
        let share = share + (1.0 - share) * step as f32 / STEPS as f32;
        let side = ((share * size as f32).round() as usize).clamp(1, size);
        let corners = (0..=size - side).flat_map(|top| (0..=size - side).map(move |left| (top, left)));
        let keeps = |corner: &(usize, usize)| areas.iter().all(|area| area.share(side, *corner) >= KEPT);
        let corners: Vec<(usize, usize)> = corners.filter(keeps).collect();
        if !corners.is_empty() {
            return Motion::cropped(size, side, corners[rng.random_range(0..corners.len())]);
        }
    }
    whole
}

/// Sums of a mask over all rectangles from the upper left corner.
struct Area {
    /// `[(size + 1) * (size + 1)]`.
    sums: Vec<f64>,
    row: usize,
}

impl Area {
    fn new(mask: &[f32], size: usize) -> Self {
        let row = size + 1;
        let mut sums = vec![0.0; row * row];
        for y in 0..size {
            let mut line = 0.0;
            for x in 0..size {
                line += f64::from(mask[y * size + x]);
                sums[(y + 1) * row + x + 1] = sums[y * row + x + 1] + line;
            }
        }
        Self { sums, row }
    }

    /// Share of the mask inside a square; all of an empty mask.
    fn share(&self, side: usize, (top, left): (usize, usize)) -> f64 {
        let at = |y: usize, x: usize| self.sums[y * self.row + x];
        let all = at(self.row - 1, self.row - 1);
        let (bottom, right) = (top + side, left + side);
        let inside = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left);
        if all > 0.0 { inside / all } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn maps_move_with_the_picture() {
        let map: Vec<f32> = (0..16u8).map(f32::from).collect();
        let moved = |motion: Motion| motion.moved(&map, (4, 4), 64);
        let mirrored: Vec<f64> = (0..16).map(|i| f64::from(i / 4 * 4 + 3 - i % 4)).collect();
        assert_eq!(moved(Motion::MIRROR), mirrored);
        // One cell is 16 pixels: the first column comes from outside.
        let right = moved(Motion::right(16.0));
        for (i, value) in right.iter().enumerate() {
            if i % 4 == 0 { assert!(value.is_nan()) } else { assert_eq!(*value, i as f64 - 1.0) }
        }
        let turned = moved(Motion::turned(90.0));
        for (i, value) in turned.iter().enumerate() {
            assert!((value - f64::from(map[i % 4 * 4 + 3 - i / 4])).abs() < 1e-4, "{i}");
        }
        // Twice as large: the cells of the view lie a quarter and three quarters into those of the picture.
        let larger = moved(Motion::enlarged(2.0));
        assert!((larger[0] - (0.75 + 0.75 * 4.0)).abs() < 1e-5 && larger.iter().all(|v| !v.is_nan()));
        let smaller = moved(Motion::enlarged(0.5));
        assert_eq!(smaller.iter().filter(|v| v.is_nan()).count(), 12);
        assert!(Motion::MIRROR.moved(&[3.0], (1, 1), 64) == [3.0]);
    }

    #[test]
    fn crops_keep_the_concepts() {
        let size = 20;
        let mask = |inside: &dyn Fn(usize, usize) -> bool| -> Vec<f32> {
            (0..size * size).map(|i| f32::from(u8::from(inside(i / size, i % size)))).collect()
        };
        let corner = mask(&|y, x| y < 5 && x < 5);
        let other = mask(&|y, x| y >= 17 && x >= 17);
        let mut rng = Seed(1).stream("crop");
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let motion = crop(size, 0.5, &Some(vec![corner.clone()]), &mut rng);
            assert_eq!(motion.matrix[0][0], 0.5);
            let (top, left) = motion.at(size, -0.5, -0.5);
            let corner = ((top + 0.5).round() as i32, (left + 0.5).round() as i32);
            assert!([(0, 0), (0, 1), (1, 0)].contains(&corner), "{top} {left}");
            places.insert(corner);
        }
        assert_eq!(places.len(), 3);
        // Two concepts in opposite corners need nearly everything.
        let both = crop(size, 0.5, &Some(vec![corner, other]), &mut rng);
        assert!(both.matrix[0][0] > 0.9);
        assert_eq!(crop(size, 0.5, &None, &mut rng), Motion::cropped(size, size, (0, 0)));
        assert_ne!(crop(size, 0.5, &Some(Vec::new()), &mut rng), Motion::cropped(size, size, (0, 0)));
    }
}
