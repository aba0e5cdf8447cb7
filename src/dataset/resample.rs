//! Resizing of eight-bit pictures, byte for byte as Pillow does it: a separable filter that widens where a picture
//! shrinks, rows first, rounded to eight bits after each pass. Networks were trained on such pictures, and a few levels
//! of difference can turn a close decision. Where one side grows and the other shrinks, Pillow may take columns first:
//! then bytes differ by one level at most.

use image::RgbImage;

use super::preprocess::Filter;

/// Bits behind the point of a weight.
const BITS: u32 = 22;

/// Resizes a picture to `width` x `height` pixels; both at least 1, the picture not empty.
pub fn resample(image: &RgbImage, width: usize, height: usize, filter: Filter) -> RgbImage {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let rows = pass(image.as_raw(), &taps(w, width, filter), &Axis { lines: h, line: 3 * w, step: 3, lanes: 3 });
    // The result's lines stand one after the other, each [width, 3]; columns are lines of step 3 * width.
    let columns = Axis { lines: 1, line: 0, step: 3 * width, lanes: 3 * width };
    let pixels = pass(&rows, &taps(h, height, filter), &columns);
    RgbImage::from_raw(width as u32, height as u32, pixels).unwrap_or_default()
}

/// How values lie along one axis: `lines` lines `line` values apart; along a line, `lanes` values move `step` at a time.
struct Axis {
    lines: usize,
    line: usize,
    step: usize,
    lanes: usize,
}

/// What one output takes of the inputs from `first` on, in fixed point.
struct Taps {
    first: usize,
    weights: Vec<i64>,
}

fn pass(values: &[u8], taps: &[Taps], axis: &Axis) -> Vec<u8> {
    let mut out = Vec::with_capacity(axis.lines * taps.len() * axis.lanes);
    let mut sums = vec![0i64; axis.lanes];
    for line in 0..axis.lines {
        for taps in taps {
            sums.fill(1 << (BITS - 1));
            for (k, weight) in taps.weights.iter().enumerate() {
                let from = &values[line * axis.line + (taps.first + k) * axis.step..][..axis.lanes];
                sums.iter_mut().zip(from).for_each(|(s, v)| *s += weight * i64::from(*v));
            }
            out.extend(sums.iter().map(|s| (s >> BITS).clamp(0, 255) as u8));
        }
    }
    out
}

fn taps(input: usize, output: usize, filter: Filter) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    if filter == Filter::Nearest {
        // Pillow adds up the step, so ties fall as its rounding errors do.
        let places = std::iter::successors(Some(scale * 0.5), |at| Some(at + scale)).take(output);
        return places.map(|at| Taps { first: (at as usize).min(input - 1), weights: vec![1 << BITS] }).collect();
    }
    let (width, reach): (f64, f64) = (scale.max(1.0), if filter == Filter::Bilinear { 1.0 } else { 2.0 });
    let one = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - reach * width + 0.5).max(0.0) as usize;
        let last = ((centre + reach * width + 0.5) as usize).min(input);
        let value = |x: usize| kernel(filter, (x as f64 - centre + 0.5) * (1.0 / width));
        let share = 1.0 / (first..last).map(value).sum::<f64>();
        let weights = (first..last).map(|x| (value(x) * share * f64::from(1 << BITS)).round() as i64).collect();
        Taps { first, weights }
    };
    (0..output).map(one).collect()
}

/// Triangle, or the cubic of Keys (1981) with a = -1/2.
fn kernel(filter: Filter, x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    match filter {
        Filter::Bilinear | Filter::Nearest => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Filter::Bicubic => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture of tests/golden/resample.py.
    fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = 12345u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        RgbImage::from_fn(width, height, |_, _| image::Rgb([next(), next(), next()]))
    }

    #[test]
    fn bytes_are_those_of_pillow() {
        let text = include_str!("../../tests/golden/resample.txt");
        let mut cases = 0;
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let filter = [Filter::Nearest, Filter::Bilinear, Filter::Bicubic]
                [["nearest", "bilinear", "bicubic"].iter().position(|n| *n == fields[0]).unwrap()];
            let size: Vec<usize> = fields[1..5].iter().map(|v| v.parse().unwrap()).collect();
            let wanted: Vec<u8> = fields[5]
                .as_bytes()
                .chunks(2)
                .map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap())
                .collect();
            let got = resample(&noise(size[0] as u32, size[1] as u32), size[2], size[3], filter);
            assert!(got.as_raw() == &wanted, "{}", &line[..30]);
            cases += 1;
        }
        assert_eq!(cases, 12);
    }
}
