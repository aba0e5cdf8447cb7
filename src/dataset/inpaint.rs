//! Filling a region of a picture smoothly from what surrounds it.

use image::RgbImage;

use super::mask::Mask;
use crate::conjugate::conjugate_gradients;

/// What fills a picture of which nothing is known.
const GREY: u8 = 128;
/// Root mean square of the residual, in levels of 255, at which a fill is done.
const RESIDUAL: f64 = 1e-5;
/// Steps of the solver at most; conjugate gradients need about as many as the region is pixels wide.
const STEPS: usize = 5000;

/// The picture with the pixels of `region` replaced by the harmonic function of their surround: every filled pixel is the
/// mean of its neighbours (above, below, left, right; at the picture's edge of those there are), and pixels outside the
/// region stay as they are. So a constant surround gives that constant, a ramp goes on as a ramp, and nothing of what was
/// in the region is left. A region that is the whole picture becomes grey.
///
/// # Panics
/// When region and picture differ in size.
pub fn inpaint(image: &RgbImage, region: &Mask) -> RgbImage {
    let size = (region.width, region.height);
    assert_eq!((image.width() as usize, image.height() as usize), size, "a region is as large as its picture");
    let unknown: Vec<usize> = (0..region.pixels.len()).filter(|i| region.pixels[*i]).collect();
    if unknown.len() == region.pixels.len() {
        return RgbImage::from_pixel(image.width(), image.height(), image::Rgb([GREY; 3]));
    }
    let system = System::new(&unknown, region);
    let mut out = image.clone();
    for channel in 0..3 {
        let level = |pixel: usize| f64::from(image.as_raw()[3 * pixel + channel]);
        let filled = system.solve(&system.surround(level));
        for (pixel, value) in unknown.iter().zip(filled) {
            out.as_mut()[3 * pixel + channel] = value.round().clamp(0.0, 255.0) as u8;
        }
    }
    out
}

/// Laplace's equation on the pixels of a region: `degree x - sum of unknown neighbours = sum of known neighbours`.
struct System {
    /// For each unknown pixel, how many neighbours it has.
    degree: Vec<f64>,
    /// Its neighbours inside the region, by their place among the unknown ones.
    inner: Vec<Vec<usize>>,
    /// Its neighbours outside the region, by their place in the picture.
    outer: Vec<Vec<usize>>,
}

impl System {
    fn new(unknown: &[usize], region: &Mask) -> Self {
        let (w, h) = (region.width, region.height);
        let neighbours = |pixel: usize| {
            let (x, y) = (pixel % w, pixel / w);
            let found = [(x > 0, pixel.wrapping_sub(1)), (x + 1 < w, pixel + 1)];
            let above = [(y > 0, pixel.wrapping_sub(w)), (y + 1 < h, pixel + w)];
            found.into_iter().chain(above).filter(|(there, _)| *there).map(|(_, at)| at)
        };
        let of = |inside: bool| {
            let keep = move |at: &usize| region.pixels[*at] == inside;
            unknown.iter().map(move |pixel| neighbours(*pixel).filter(keep).collect::<Vec<_>>())
        };
        // Every one of them is in the list, which is sorted.
        let place = |at: usize| unknown.partition_point(|u| *u < at);
        Self {
            degree: unknown.iter().map(|pixel| neighbours(*pixel).count() as f64).collect(),
            inner: of(true).map(|list| list.into_iter().map(place).collect()).collect(),
            outer: of(false).collect(),
        }
    }

    /// What the known neighbours of every unknown pixel sum to.
    fn surround(&self, level: impl Fn(usize) -> f64) -> Vec<f64> {
        self.outer.iter().map(|known| known.iter().map(|at| level(*at)).sum()).collect()
    }

    fn apply(&self, x: &[f64], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.degree[i] * x[i] - self.inner[i].iter().map(|j| x[*j]).sum::<f64>();
        }
    }

    /// From the mean of the surround on. The matrix is positive definite, as the region is not the whole picture.
    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let known: usize = self.outer.iter().map(Vec::len).sum();
        let mut x = vec![right.iter().sum::<f64>() / known.max(1) as f64; right.len()];
        let goal = RESIDUAL * RESIDUAL * right.len() as f64;
        conjugate_gradients(&mut x, right, goal, STEPS, |x, out| self.apply(x, out));
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn region(width: usize, height: usize, inside: impl Fn(usize, usize) -> bool) -> Mask {
        Mask { width, height, pixels: (0..width * height).map(|i| inside(i % width, i / width)).collect() }
    }

    /// A picture of `level`, with something loud in the region.
    fn spoiled(region: &Mask, level: impl Fn(u32, u32) -> [u8; 3]) -> RgbImage {
        RgbImage::from_fn(region.width as u32, region.height as u32, |x, y| {
            let inside = region.pixels[y as usize * region.width + x as usize];
            Rgb(if inside { [255, 0, 255] } else { level(x, y) })
        })
    }

    #[test]
    fn a_constant_surround_gives_the_constant() {
        let region = region(30, 20, |x, y| (5..25).contains(&x) && (4..20).contains(&y));
        let filled = inpaint(&spoiled(&region, |_, _| [40, 90, 200]), &region);
        assert!(filled.pixels().all(|p| p.0 == [40, 90, 200]));
    }

    #[test]
    fn harmonic_surrounds_go_on() {
        // x, y, x y and x² - y² are harmonic on the grid as in the plane.
        let region = region(41, 37, |x, y| (x as i32 - 20).pow(2) + (y as i32 - 18).pow(2) < 200);
        let level = |x: u32, y: u32| {
            let (dx, dy) = (x as i32 - 20, y as i32 - 18);
            [3 * x as u8, (128 + dx * dy / 4) as u8, (128 + (dx * dx - dy * dy) / 4) as u8]
        };
        let filled = inpaint(&spoiled(&region, level), &region);
        for (x, y, pixel) in filled.enumerate_pixels() {
            let wanted = level(x, y);
            for c in 0..3 {
                assert!(pixel.0[c].abs_diff(wanted[c]) <= 1, "{x} {y} {pixel:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn every_filled_pixel_is_between_the_levels_around_it() {
        let region = region(24, 24, |x, y| (x + 2 * y) % 5 < 3 && x > 1);
        let image = spoiled(&region, |x, y| [(x * 9) as u8, (60 + y) as u8, 10 + ((x * y) % 200) as u8]);
        let filled = inpaint(&image, &region);
        for (i, (before, after)) in image.pixels().zip(filled.pixels()).enumerate() {
            assert!(region.pixels[i] || before == after);
            assert!(after.0[1] >= 60 && after.0[1] < 84, "{after:?}");
        }
    }

    #[test]
    fn nothing_to_fill_and_nothing_to_fill_from() {
        let image = RgbImage::from_pixel(4, 3, Rgb([7, 8, 9]));
        assert_eq!(inpaint(&image, &region(4, 3, |_, _| false)), image);
        assert!(inpaint(&image, &region(4, 3, |_, _| true)).pixels().all(|p| p.0 == [GREY; 3]));
    }
}
