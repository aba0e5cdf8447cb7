//! Noisy linear imputation, of ROAD (Rong et al. 2022): removed pixels become what their neighbours make likely, so that
//! their shape tells nothing.

/// Neighbours of a pixel and their weights: one sixth beside it, one twelfth at its corners.
const NEIGHBOURS: [(isize, isize, f64); 8] = [
    (-1, 0, 1.0 / 6.0),
    (1, 0, 1.0 / 6.0),
    (0, -1, 1.0 / 6.0),
    (0, 1, 1.0 / 6.0),
    (-1, -1, 1.0 / 12.0),
    (-1, 1, 1.0 / 12.0),
    (1, -1, 1.0 / 12.0),
    (1, 1, 1.0 / 12.0),
];
/// The residual at which a solution is good enough, relative to the right side.
const TOLERANCE: f64 = 1e-6;

/// The planes of a picture with the pixels that are `missing` filled in: each is the weighted mean of its neighbours, known
/// and missing ones alike, which is one sparse, symmetric and positive definite system; solved by conjugate gradients
/// (Hestenes & Stiefel 1952). Neighbours beyond the edge do not count. Where everything is missing, zeros.
pub fn impute(input: &[f32], (height, width): (usize, usize), missing: &[bool]) -> Vec<f32> {
    let system = System::new((height, width), missing);
    let mut out = input.to_vec();
    for plane in out.chunks_exact_mut((height * width).max(1)) {
        let found = system.solve(&system.right_side(plane));
        system.pixels.iter().zip(found).for_each(|(at, value)| plane[*at] = value as f32);
    }
    out
}

/// The equations of the missing pixels.
struct System {
    /// The missing pixels.
    pixels: Vec<usize>,
    /// For each: sum of its neighbours' weights.
    diagonal: Vec<f64>,
    /// For each: neighbours that are missing too, by their number among the missing, with weights.
    inner: Vec<Vec<(usize, f64)>>,
    /// For each: neighbours that are known, by pixel, with weights.
    outer: Vec<Vec<(usize, f64)>>,
}

impl System {
    fn new((height, width): (usize, usize), missing: &[bool]) -> Self {
        let pixels: Vec<usize> = (0..missing.len()).filter(|i| missing[*i]).collect();
        let mut number = vec![0; missing.len()];
        pixels.iter().enumerate().for_each(|(i, at)| number[*at] = i);
        let neighbours = |at: usize| {
            let (y, x) = ((at / width) as isize, (at % width) as isize);
            NEIGHBOURS.into_iter().filter_map(move |(dy, dx, weight)| {
                let (y, x) = (y + dy, x + dx);
                let within = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
                within.then_some((y as usize * width + x as usize, weight))
            })
        };
        let known = pixels.iter().map(|at| neighbours(*at).filter(|(n, _)| !missing[*n]).collect()).collect();
        let inner = pixels
            .iter()
            .map(|at| neighbours(*at).filter(|(n, _)| missing[*n]).map(|(n, weight)| (number[n], weight)).collect());
        let diagonal = pixels.iter().map(|at| neighbours(*at).map(|(_, weight)| weight).sum()).collect();
        Self { inner: inner.collect(), outer: known, diagonal, pixels }
    }

    fn right_side(&self, plane: &[f32]) -> Vec<f64> {
        self.outer.iter().map(|known| known.iter().map(|(at, w)| w * f64::from(plane[*at])).sum()).collect()
    }

    fn apply(&self, x: &[f64], out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.diagonal[i] * x[i] - self.inner[i].iter().map(|(j, w)| w * x[*j]).sum::<f64>();
        }
    }

    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; right.len()];
        let (mut residual, mut way) = (right.to_vec(), right.to_vec());
        let mut image = vec![0.0; right.len()];
        let mut square = dot(&residual, &residual);
        let goal = square * TOLERANCE * TOLERANCE;
        for _ in 0..right.len() {
            if square <= goal {
                break;
            }
            self.apply(&way, &mut image);
            let step = square / dot(&way, &image);
            x.iter_mut().zip(&way).for_each(|(x, w)| *x += step * w);
            residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= step * i);
            let next = dot(&residual, &residual);
            way.iter_mut().zip(&residual).for_each(|(w, r)| *w = r + next / square * *w);
            square = next;
        }
        x
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
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
