//! Noisy linear imputation, of ROAD (Rong et al. 2022): removed pixels become what their neighbours make likely, so that
//! their shape tells nothing.

use crate::conjugate::conjugate_gradients;

/// Weight of a neighbour beside a pixel, and of one at its corners.
const WEIGHTS: [f64; 2] = [1.0 / 6.0, 1.0 / 12.0];
/// The residual at which a solution is good enough, relative to the right side.
const TOLERANCE: f64 = 1e-6;

/// The planes of a picture with the pixels that are `missing` filled in: each is the weighted mean of its neighbours, known
/// and missing ones alike, which is one sparse, symmetric and positive definite system. Neighbours beyond the edge do not count. Where everything is missing, zeros.
pub fn impute(input: &[f32], (height, width): (usize, usize), missing: &[bool]) -> Vec<f32> {
    let frame = Frame { height, width };
    let inside = frame.spread(&vec![1.0; height * width]);
    let pixels: Vec<usize> = (0..missing.len()).filter(|i| missing[*i]).map(|i| frame.at(i)).collect();
    let diagonal = pixels.iter().map(|at| frame.around(&inside, *at)).collect();
    let system = System { frame, pixels, diagonal };
    let mut out = input.to_vec();
    for plane in out.chunks_exact_mut((height * width).max(1)) {
        let known: Vec<f32> = plane.iter().zip(missing).map(|(v, gone)| if *gone { 0.0 } else { *v }).collect();
        let found = system.solve(&system.frame.spread(&known));
        let gone = (0..missing.len()).filter(|i| missing[*i]);
        gone.zip(found).for_each(|(i, value)| plane[i] = value as f32);
    }
    out
}

/// A plane with a border of zeros, so that every pixel has eight neighbours.
struct Frame {
    height: usize,
    width: usize,
}

impl Frame {
    fn at(&self, pixel: usize) -> usize {
        (pixel / self.width + 1) * (self.width + 2) + pixel % self.width + 1
    }

    fn spread(&self, plane: &[f32]) -> Vec<f64> {
        let mut out = vec![0.0; (self.height + 2) * (self.width + 2)];
        plane.iter().enumerate().for_each(|(i, v)| out[self.at(i)] = f64::from(*v));
        out
    }

    /// The weighted sum of the eight neighbours.
    fn around(&self, x: &[f64], at: usize) -> f64 {
        let (above, below) = (at - self.width - 2, at + self.width + 2);
        WEIGHTS[0] * (x[at - 1] + x[at + 1] + x[above] + x[below])
            + WEIGHTS[1] * (x[above - 1] + x[above + 1] + x[below - 1] + x[below + 1])
    }
}

/// The equations of the missing pixels.
struct System {
    frame: Frame,
    /// The missing pixels' places.
    pixels: Vec<usize>,
    /// For each: sum of its neighbours' weights.
    diagonal: Vec<f64>,
}

impl System {
    /// The missing pixels for `known`, the framed plane with zeros where they are.
    fn solve(&self, known: &[f64]) -> Vec<f64> {
        let right: Vec<f64> = self.pixels.iter().map(|at| self.frame.around(known, *at)).collect();
        let goal = right.iter().map(|v| v * v).sum::<f64>() * TOLERANCE * TOLERANCE;
        let mut x = vec![0.0; right.len()];
        // The unknown pixels in the frame, zero elsewhere.
        let mut plane = vec![0.0; known.len()];
        conjugate_gradients(&mut x, &right, goal, self.pixels.len(), |x, out| {
            self.pixels.iter().zip(x).for_each(|(at, x)| plane[*at] = *x);
            for ((out, at), (diagonal, x)) in out.iter_mut().zip(&self.pixels).zip(self.diagonal.iter().zip(x)) {
                *out = diagonal * x - self.frame.around(&plane, *at);
            }
        });
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels of an `h x w` picture for which `f(y, x)` is true.
    fn flags((h, w): (usize, usize), f: impl Fn(usize, usize) -> bool) -> Vec<bool> {
        (0..h * w).map(|i| f(i / w, i % w)).collect()
    }

    #[test]
    fn one_pixel_is_the_weighted_mean_of_its_neighbours() {
        let input: Vec<f32> = (0..9u8).map(|i| f32::from(i * i)).collect();
        let filled = impute(&input, (3, 3), &flags((3, 3), |y, x| (y, x) == (1, 1)));
        let wanted = (1.0 + 9.0 + 25.0 + 49.0) / 6.0 + (0.0 + 4.0 + 36.0 + 64.0) / 12.0;
        assert!((filled[4] - wanted).abs() < 1e-4, "{}", filled[4]);
        assert!((0..9).all(|i| i == 4 || filled[i] == input[i]));
        // At a corner three neighbours are left.
        let filled = impute(&input, (3, 3), &flags((3, 3), |y, x| (y, x) == (0, 0)));
        assert!((filled[0] - ((1.0 + 9.0) / 6.0 + 16.0 / 12.0) * 12.0 / 5.0).abs() < 1e-4);
    }

    #[test]
    fn planes_and_constants_are_continued() {
        let size = (20, 30);
        let plane: Vec<f32> = (0..600).map(|i| 0.5 + 0.25 * (i / 30) as f32 - 0.125 * (i % 30) as f32).collect();
        // A hole that touches no edge: the plane is the solution.
        let hole = flags(size, |y, x| (3..17).contains(&y) && (4..26).contains(&x));
        let filled = impute(&plane, size, &hole);
        assert!(filled.iter().zip(&plane).all(|(a, b)| (a - b).abs() < 1e-4));
        // Nine of ten pixels of a constant, at the edge too; two planes at once.
        let most = flags(size, |y, x| (7 * y + 3 * x) % 10 != 0);
        let input = [vec![2.0f32; 600], vec![-1.0f32; 600]].concat();
        let filled = impute(&input, size, &most);
        assert!(filled.iter().zip(&input).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn values_stay_between_those_known_and_nothing_known_gives_zeros() {
        let input: Vec<f32> = (0..100).map(|i| ((i * 37) % 17) as f32).collect();
        let filled = impute(&input, (10, 10), &flags((10, 10), |y, x| (y * x) % 3 != 1));
        assert!(filled.iter().all(|v| (-1e-3..=16.001).contains(v)));
        assert!(impute(&input, (10, 10), &[true; 100]).iter().all(|v| *v == 0.0));
    }
}
