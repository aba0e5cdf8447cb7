//! One bilinear sampling of every picture at its own affine map, whatever geometry went into the map.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::affine::Affine;
use crate::maximise::function::{self, Function, constant};
use crate::maximise::sparse::{Entry, Sparse, with_gradient};
use crate::ops::Real;

/// Samples each picture of `[batch, channel, height, width]` at its own map, bilinear; outside there is `border`, by channel.
///
/// # Errors
/// When there are not as many maps as pictures.
pub fn sample(x: &Tensor, maps: &[Affine], border: &[f64]) -> Result<Tensor> {
    if maps.iter().all(|m| *m == Affine::IDENTITY) {
        return Ok(x.clone());
    }
    let (_, _, height, width) = x.dims4()?;
    function::apply(x, Sampler { maps: maps.to_vec(), border: border.to_vec(), height, width })
}

struct Sampler {
    maps: Vec<Affine>,
    border: Vec<f64>,
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

    /// What a picture gives to every pixel of its result, and what the border gives `[channel, height, width]`.
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
        if x.len() != 4 || x[0] != self.maps.len() || x[1] != self.border.len() {
            candle_core::bail!("{}: {} maps for pictures {x:?}", Self::NAME, self.maps.len())
        }
        Ok(x.to_vec())
    }

    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        self.for_each_plane(x, |i, x, y| {
            let channels = self.border.len();
            let border = T::of(self.border[i % channels]);
            self.for_each_pixel(&self.maps[i / channels], |to, corners: [(Option<usize>, T); 4]| {
                y[to] = corners.iter().map(|(from, weight)| *weight * from.map_or(border, |from| x[from])).sum();
            });
        })
    }

    fn backward<T: Real>(&self, _: &[T], gradient: &[T]) -> Vec<T> {
        self.for_each_plane(gradient, |i, g, x| {
            self.for_each_pixel(&self.maps[i / self.border.len()], |to, corners: [(Option<usize>, T); 4]| {
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
        let border = constant(&borders.concat(), &[x.dim(0)?, x.dim(1)?, self.height * self.width], x)?;
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

    const MAPS: [Affine; 2] = [Affine([0.9, 0.2, -0.7, -0.2, 1.1, 0.4]), Affine([0.6, 0.2, -0.7, -0.2, 0.7, 0.4])];

    #[test]
    fn gradients_are_those_of_central_differences() {
        gradient(&random(&[2, 3, 4, 5], 1), 1e-6, |x| sample(x, &MAPS, &[0.5, -0.5, 1.0]));
    }

    #[test]
    fn the_composed_form_agrees() {
        let (x, border) = (random(&[3, 2, 7, 6], 1), [0.5, -0.5]);
        let maps = [MAPS[0], MAPS[1], Affine::IDENTITY];
        let run = || sample(&x, &maps, &border).unwrap();
        assert!(distance(&run(), &force(run)) < 1e-12);
        force(|| gradient(&x, 1e-6, |x| sample(x, &maps, &border)));
    }

    #[test]
    fn a_shift_by_whole_pixels_moves_and_fills() {
        let x = random(&[1, 3, 3, 3], 1);
        let y = sample(&x, &[Affine([1.0, 0.0, 1.0, 0.0, 1.0, -1.0])], &[7.0, 8.0, 9.0]).unwrap();
        let moved = y.narrow(2, 1, 2).unwrap().narrow(3, 0, 2).unwrap();
        assert_eq!(distance(&moved, &x.narrow(2, 0, 2).unwrap().narrow(3, 1, 2).unwrap()), 0.0);
        let planes = y.squeeze(0).unwrap().to_vec3::<f64>().unwrap();
        assert_eq!((planes[0][0][0], planes[1][0][2], planes[2][2][2]), (7.0, 8.0, 9.0));
        assert!(sample(&x, &MAPS, &[0.0; 3]).is_err());
    }
}
