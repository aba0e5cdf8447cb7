//! How pictures are shaken before every step, so that what survives does not hang on exact positions (Olah et al. 2017,
//! "Transformation robustness"; Lucid, `optvis/transform.py`, `standard_transforms`).
//!
//! Border, jitter, scale, rotation and jitter are folded into one affine map, sampled once with bilinear weights: one
//! interpolation where Lucid has two. The result is cropped, or bordered with grey, to the network's size rather than
//! resized to it, which would undo the scale. Beyond the border all is grey, also where Lucid's rotation has black.

use candle_core::{Result, Tensor};
use rand::RngExt;
use rayon::prelude::*;

use super::function::{self, Function, constant};
use super::options::Transforms;
use super::sparse::{Entry, Sparse, with_gradient};
use crate::ops::Real;
use crate::seed::Seed;

/// The network size that Lucid's pixel amounts were made for; smaller networks get their share of them.
const REFERENCE: usize = 224;
/// Border, first and second jitter in pixels.
const AMOUNTS: (usize, usize, usize) = (12, 8, 4);

/// A map from a pixel of the result to a place in the picture, in pixels: `(a x + b y + c, d x + e y + f)`; pixel
/// centres are whole numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine([f64; 6]);

impl Affine {
    /// Changes nothing.
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    /// The place `(x, y)` that a pixel `(x, y)` of the result is taken from.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + b * y + c, d * x + e * y + f)
    }
}

/// The map of one step for a network of `size` pixels whose layer has cells of `cell` pixels. It depends on the study's
/// seed, the number of the noise and the step alone.
pub fn draw(transforms: Transforms, size: usize, cell: usize, seed: Seed, noise: u64, step: usize) -> Affine {
    let mut rng = seed.stream(&format!("maximise transform {noise} {step}"));
    match transforms {
        Transforms::None => Affine::IDENTITY,
        Transforms::Small => {
            let mut shift = || rng.random_range(0..=cell) as f64 - (cell / 2) as f64;
            let (x, y) = (shift(), shift());
            Affine([1.0, 0.0, x, 0.0, 1.0, y])
        }
        Transforms::Lucid => {
            let share = |pixels: usize| if size >= REFERENCE { pixels } else { pixels * size / REFERENCE };
            let (first, second) = (share(AMOUNTS.1), share(AMOUNTS.2));
            let mut pair = |most: usize| (rng.random_range(0..=most) as f64, rng.random_range(0..=most) as f64);
            let shaken =
                Shaken { size, pad: share(AMOUNTS.0), jitters: [(first, pair(first)), (second, pair(second))] };
            let scale = 0.9 + 0.02 * f64::from(rng.random_range(0..11));
            // 21 angles, and five more chances of none.
            let angle = rng.random_range(-10..16);
            let degrees = if angle > 10 { 0.0 } else { f64::from(angle) };
            shaken.affine(scale, degrees.to_radians())
        }
    }
}

/// The sizes and offsets of Lucid's chain.
struct Shaken {
    size: usize,
    pad: usize,
    /// How much each jitter crops, and where its crop starts (x, y).
    jitters: [(usize, (f64, f64)); 2],
}

impl Shaken {
    /// The chain walked backwards, from a pixel of the result to its place in the picture.
    fn affine(&self, scale: f64, angle: f64) -> Affine {
        let [(first, at_first), (second, at_second)] = self.jitters;
        let cropped = (self.size + 2 * self.pad - first) as f64;
        let scaled = (scale * cropped).round();
        let last = scaled - second as f64;
        let zoom = cropped / scaled;
        let (sin, cos) = angle.sin_cos();
        let place = |x: f64, y: f64| {
            // Centre crop, second jitter; then around the centre: rotation and scale; then first jitter and border.
            let centre = |v: f64, offset: f64| v + 0.5 + (last - self.size as f64) / 2.0 + offset - scaled / 2.0;
            let (x, y) = (centre(x, at_second.0), centre(y, at_second.1));
            let (x, y) = (cos * x - sin * y, sin * x + cos * y);
            let back = |v: f64, offset: f64| v * zoom + cropped / 2.0 + offset - self.pad as f64 - 0.5;
            (back(x, at_first.0), back(y, at_first.1))
        };
        let (origin, right, down) = (place(0.0, 0.0), place(1.0, 0.0), place(0.0, 1.0));
        let step = |to: (f64, f64)| (to.0 - origin.0, to.1 - origin.1);
        let (right, down) = (step(right), step(down));
        Affine([right.0, down.0, origin.0, right.1, down.1, origin.1])
    }
}

/// Samples each picture of `[batch, 3, height, width]` at its own map, bilinear; outside there is `border`, by channel.
///
/// # Errors
/// When there are not as many maps as pictures.
pub fn sample(x: &Tensor, maps: &[Affine], border: [f64; 3]) -> Result<Tensor> {
    if maps.iter().all(|m| *m == Affine::IDENTITY) {
        return Ok(x.clone());
    }
    let (_, _, height, width) = x.dims4()?;
    function::apply(x, Sampler { maps: maps.to_vec(), border, height, width })
}

struct Sampler {
    maps: Vec<Affine>,
    border: [f64; 3],
    height: usize,
    width: usize,
}

impl Sampler {
    /// Calls `visit(pixel of the result, four pixels of the picture with weights)`; `None` is the border.
    fn for_each_pixel<T: Real>(&self, map: &Affine, mut visit: impl FnMut(usize, [(Option<usize>, T); 4])) {
        let inside = |y: f64, x: f64| {
            let ok = y >= 0.0 && x >= 0.0 && y < self.height as f64 && x < self.width as f64;
            ok.then(|| y as usize * self.width + x as usize)
        };
        for row in 0..self.height {
            for column in 0..self.width {
                let (x, y) = map.at(column as f64, row as f64);
                let (left, top) = (x.floor(), y.floor());
                let (dx, dy) = (x - left, y - top);
                let corner = |down: f64, right: f64| {
                    let weight = (if down > 0.0 { dy } else { 1.0 - dy }) * (if right > 0.0 { dx } else { 1.0 - dx });
                    (inside(top + down, left + right), T::of(weight))
                };
                let corners = [corner(0.0, 0.0), corner(0.0, 1.0), corner(1.0, 0.0), corner(1.0, 1.0)];
                visit(row * self.width + column, corners);
            }
        }
    }

    /// What a picture gives to every pixel of its result, and what the border gives `[3, height, width]`.
    fn entries(&self, map: &Affine) -> (Vec<Entry>, Vec<f64>) {
        let size = self.height * self.width;
        let (mut entries, mut outside) = (Vec::with_capacity(4 * size), vec![0.0; size]);
        self.for_each_pixel(map, |to, corners: [(Option<usize>, f64); 4]| {
            for (from, weight) in corners {
                match from {
                    Some(from) => entries.push(Entry { to, from, weight }),
                    None => outside[to] += weight,
                }
            }
        });
        (entries, self.border.iter().flat_map(|level| outside.iter().map(move |share| share * level)).collect())
    }

    /// Runs `plane(number, values, out)` for all planes in parallel.
    fn for_each_plane<T: Real>(&self, from: &[T], plane: impl Fn(usize, &[T], &mut [T]) + Sync) -> Vec<T> {
        let size = self.height * self.width;
        let mut out = vec![T::zero(); from.len()];
        let planes = out.par_chunks_exact_mut(size).zip(from.par_chunks_exact(size)).enumerate();
        planes.for_each(|(i, (out, from))| plane(i, from, out));
        out
    }
}

impl Function for Sampler {
    const NAME: &'static str = "cavern-sample";

    fn shape(&self, x: &[usize]) -> Result<Vec<usize>> {
        if x.len() != 4 || x[0] != self.maps.len() || x[1] != 3 {
            candle_core::bail!("{}: {} maps for pictures {x:?}", Self::NAME, self.maps.len())
        }
        Ok(x.to_vec())
    }

    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        self.for_each_plane(x, |i, x, y| {
            let border = T::of(self.border[i % 3]);
            self.for_each_pixel(&self.maps[i / 3], |to, corners: [(Option<usize>, T); 4]| {
                y[to] = corners.iter().map(|(from, weight)| *weight * from.map_or(border, |from| x[from])).sum();
            });
        })
    }

    fn backward<T: Real>(&self, _: &[T], gradient: &[T]) -> Vec<T> {
        self.for_each_plane(gradient, |i, g, x| {
            self.for_each_pixel(&self.maps[i / 3], |to, corners: [(Option<usize>, T); 4]| {
                for (from, weight) in corners {
                    if let Some(from) = from {
                        x[from] += weight * g[to];
                    }
                }
            });
        })
    }

    fn composed(self, x: &Tensor) -> Result<Tensor> {
        let (entries, borders): (Vec<_>, Vec<_>) = self.maps.par_iter().map(|map| self.entries(map)).unzip();
        let maps = Sparse::new(self.height * self.width, entries);
        let border = constant(&borders.concat(), &[x.dim(0)?, 3, self.height * self.width], x)?;
        let y = (maps.apply(&x.detach().flatten_from(2)?)? + border)?.reshape(x.dims())?;
        with_gradient(x, &y, move |gradient| {
            maps.transposed().apply(&gradient.flatten_from(2)?)?.reshape(gradient.dims())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::composed::force;

    fn lucid(size: usize, step: usize) -> Affine {
        draw(Transforms::Lucid, size, 1, Seed(1), 0, step)
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let maps = [Affine([0.9, 0.2, -0.7, -0.2, 1.1, 0.4]), lucid(40, 3)];
        gradient(&random(&[2, 3, 4, 5], 1), 1e-6, |x| sample(x, &maps, [0.5, -0.5, 1.0]));
    }

    #[test]
    fn the_composed_form_agrees() {
        let (x, border) = (random(&[3, 3, 7, 6], 1), [0.5, -0.5, 1.0]);
        let maps = [Affine([0.6, 0.2, -0.7, -0.2, 0.7, 0.4]), lucid(40, 3), Affine::IDENTITY];
        let run = || sample(&x, &maps, border).unwrap();
        assert!(distance(&run(), &force(run)) < 1e-12);
        force(|| gradient(&x, 1e-6, |x| sample(x, &maps, border)));
    }

    #[test]
    fn a_shift_by_whole_pixels_moves_and_fills() {
        let x = random(&[1, 3, 3, 3], 1);
        let y = sample(&x, &[Affine([1.0, 0.0, 1.0, 0.0, 1.0, -1.0])], [7.0, 8.0, 9.0]).unwrap();
        let moved = y.narrow(2, 1, 2).unwrap().narrow(3, 0, 2).unwrap();
        assert_eq!(distance(&moved, &x.narrow(2, 0, 2).unwrap().narrow(3, 1, 2).unwrap()), 0.0);
        let planes = y.squeeze(0).unwrap().to_vec3::<f64>().unwrap();
        assert_eq!((planes[0][0][0], planes[1][0][2], planes[2][2][2]), (7.0, 8.0, 9.0));
        assert!(sample(&x, &[lucid(224, 0), lucid(224, 1)], [0.0; 3]).is_err());
    }

    #[test]
    fn draws_depend_on_seed_and_step_alone() {
        assert_eq!(lucid(224, 5), lucid(224, 5));
        assert_ne!(lucid(224, 5), lucid(224, 6));
        assert_ne!(lucid(224, 5), draw(Transforms::Lucid, 224, 1, Seed(1), 1, 5));
        assert_eq!(draw(Transforms::None, 224, 32, Seed(1), 0, 0), Affine::IDENTITY);
    }

    #[test]
    fn shaking_stays_within_lucids_range() {
        let (mut angles, mut scales) = (Vec::new(), Vec::new());
        for step in 0..400 {
            let map = lucid(224, step);
            let [a, b, _, d, e, _] = map.0;
            assert!((a - e).abs() < 1e-9 && (b + d).abs() < 1e-9, "turns and scales only: {map:?}");
            scales.push(1.0 / a.hypot(b));
            angles.push(d.atan2(a).to_degrees());
            let centre = map.at(111.5, 111.5);
            let far = (centre.0 - 111.5).abs().max((centre.1 - 111.5).abs());
            assert!(far <= 8.0, "jitters move the centre by at most 4 + 4 * 1.1 / 2 pixels: {far}");
        }
        let most = |values: &[f64], sign: f64| values.iter().map(|v| v * sign).fold(f64::MIN, f64::max) * sign;
        assert!((most(&scales, 1.0) - 1.1).abs() < 3e-3 && (most(&scales, -1.0) - 0.9).abs() < 3e-3);
        assert!((most(&angles, 1.0) - 10.0).abs() < 1e-6 && (most(&angles, -1.0) + 10.0).abs() < 1e-6);
        let still = angles.iter().filter(|a| a.abs() < 1e-6).count();
        assert!((40..160).contains(&still), "6 of 26 draws do not turn: {still} of 400");
    }

    #[test]
    fn small_shifts_stay_within_one_cell() {
        let shifts: Vec<f64> = (0..200).map(|s| draw(Transforms::Small, 224, 32, Seed(1), 0, s).0[2]).collect();
        assert!(shifts.iter().all(|s| s.abs() <= 16.0) && shifts.iter().any(|s| *s != 0.0));
    }
}
