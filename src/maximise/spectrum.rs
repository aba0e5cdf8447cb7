//! The mean spectrum of data: what MaCo holds fixed, and what the slope of a picture's spectrum is held against.

use std::f64::consts::TAU;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::product::{Matrix, multiply};

/// Magnitudes below this share of the mean level's are rounding.
const FLAT: f64 = 1e-6;

/// Mean magnitudes of the orthonormal Fourier transform of pictures, by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    shape: [usize; 3],
    /// `[channel, height, width / 2 + 1]`.
    magnitudes: Vec<f32>,
    pictures: usize,
}

impl Spectrum {
    /// Of no picture yet, of shape `[channel, height, width]`.
    pub fn of(shape: [usize; 3]) -> Self {
        let [channels, height, width] = shape;
        Self { shape, magnitudes: vec![0.0; channels * height * (width / 2 + 1)], pictures: 0 }
    }

    /// Magnitude one everywhere.
    #[cfg(test)]
    pub(crate) fn flat(shape: [usize; 3]) -> Self {
        let mut out = Self::of(shape);
        out.magnitudes.fill(1.0);
        out
    }

    /// Adds a picture `[channel, height, width]` to the mean.
    ///
    /// # Errors
    /// When it has another size.
    pub fn add(&mut self, picture: &[f32]) -> Result<()> {
        let [channels, height, width] = self.shape;
        if picture.len() != channels * height * width {
            let problem = format!("{} values, wanted {channels} x {height} x {width}", picture.len());
            return Err(Error::data("a picture for the spectrum", problem, "give pictures of one size"));
        }
        self.pictures += 1;
        let share = 1.0 / self.pictures as f32;
        let half = width / 2 + 1;
        let planes = self.magnitudes.par_chunks_exact_mut(height * half).zip(picture.par_chunks_exact(height * width));
        planes.for_each(|(mean, plane)| {
            let new = magnitudes(plane, height, width);
            mean.iter_mut().zip(new).for_each(|(mean, new)| *mean += share * (new - *mean));
        });
        Ok(())
    }

    /// The pictures' shape, `[channel, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// `[channel, height, width / 2 + 1]`.
    pub fn magnitudes(&self) -> &[f32] {
        &self.magnitudes
    }
}

/// Magnitudes `[height, width / 2 + 1]` of the orthonormal transform of one plane, by two products with cosines and sines.
pub fn magnitudes(plane: &[f32], height: usize, width: usize) -> Vec<f32> {
    let half = width / 2 + 1;
    let wave = |rows: usize, columns: usize, length: usize| -> [Vec<f64>; 2] {
        let angle = |i: usize| TAU * (i / columns * (i % columns) % length) as f64 / length as f64;
        [(0..rows * columns).map(|i| angle(i).cos()).collect(), (0..rows * columns).map(|i| -angle(i).sin()).collect()]
    };
    let product = |a: &[f64], b: &[f64], (rows, inner, columns): (usize, usize, usize)| {
        let mut out = vec![0.0; rows * columns];
        multiply(&Matrix::new(a, rows, inner), &Matrix::new(b, inner, columns), &mut out, columns);
        out
    };
    let plane: Vec<f64> = plane.iter().map(|v| f64::from(*v)).collect();
    let [cosines, sines] = wave(width, half, width);
    let across = [cosines, sines].map(|table| product(&plane, &table, (height, width, half)));
    let [cosines, sines] = wave(height, height, height);
    let down = |table: &[f64], values: &[f64]| product(table, values, (height, height, half));
    let (cc, ss) = (down(&cosines, &across[0]), down(&sines, &across[1]));
    let (cs, sc) = (down(&cosines, &across[1]), down(&sines, &across[0]));
    let unit = 1.0 / ((height * width) as f64).sqrt();
    (0..height * half).map(|i| ((cc[i] - ss[i]).hypot(cs[i] + sc[i]) * unit) as f32).collect()
}

/// The slope of log power over log frequency of a spectrum `[height, width / 2 + 1]` of magnitudes, by least squares over
/// all frequencies but zero; about -2 for natural pictures. NaN where nothing varies.
pub fn slope(magnitudes: &[f32], height: usize, width: usize) -> f64 {
    let half = width / 2 + 1;
    let point = |(i, m): (usize, &f32)| {
        let (ky, kx) = (i / half, i % half);
        let y = ky.min(height - ky) as f64 / height as f64;
        let frequency = y.hypot(kx as f64 / width as f64);
        (frequency > 0.0 && *m > 0.0).then(|| (frequency.ln(), 2.0 * f64::from(*m).ln()))
    };
    let points: Vec<(f64, f64)> = magnitudes.iter().enumerate().filter_map(point).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len().max(1) as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (mut over, mut under) = (0.0, 0.0);
    for point in &points {
        over += (point.0 - x) * (point.1 - y);
        under += (point.0 - x).powi(2);
    }
    over / under
}

/// The mean frequency of a spectrum `[height, width / 2 + 1]` of magnitudes, weighted by power, in cycles a pixel; the mean
/// level, of frequency zero, is left out. 0 where nothing varies: low for smooth pictures, 0.38 for white noise.
pub fn centroid(magnitudes: &[f32], height: usize, width: usize) -> f64 {
    let half = width / 2 + 1;
    // What rounding leaves of a flat picture is no variation.
    let least = FLAT * magnitudes.first().map_or(0.0, |m| f64::from(m.abs()));
    let (mut sum, mut power) = (0.0, 0.0);
    for (i, m) in magnitudes.iter().enumerate() {
        let (ky, kx) = (i / half, i % half);
        let frequency = (ky.min(height - ky) as f64 / height as f64).hypot(kx as f64 / width as f64);
        if frequency > 0.0 && f64::from(*m) > least {
            // Columns between the first and the middle one stand for their mirror too.
            let twice = if kx == 0 || 2 * kx == width { 1.0 } else { 2.0 };
            let weight = twice * f64::from(*m).powi(2);
            sum += weight * frequency;
            power += weight;
        }
    }
    if power > 0.0 { sum / power } else { 0.0 }
}

/// How the power of a picture's spectrum falls, and its mean frequency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectral {
    /// See [`slope`].
    pub slope: f64,
    /// See [`centroid`].
    pub centroid: f64,
}

impl Spectral {
    /// Of a picture `[channel, height, width]`, the means over its channels.
    pub fn of(values: &[f32], height: usize, width: usize) -> Self {
        let planes = values.chunks_exact((height * width).max(1)).map(|plane| magnitudes(plane, height, width));
        let of_plane = |m: Vec<f32>| (slope(&m, height, width), centroid(&m, height, width));
        let (slopes, centroids): (Vec<f64>, Vec<f64>) = planes.map(of_plane).unzip();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Self { slope: mean(&slopes), centroid: mean(&centroids) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_those_of_the_definition() {
        for (height, width) in [(4, 6), (5, 3), (1, 8)] {
            let plane: Vec<f32> = (0..height * width).map(|i| ((i * i) as f32 * 0.7).sin()).collect();
            let got = magnitudes(&plane, height, width);
            let half = width / 2 + 1;
            for (i, got) in got.iter().enumerate() {
                let (mut re, mut im) = (0.0, 0.0);
                for (j, v) in plane.iter().enumerate() {
                    let (y, x) = (j / width, j % width);
                    let turns = (i / half * y) as f64 / height as f64 + (i % half * x) as f64 / width as f64;
                    re += f64::from(*v) * (TAU * turns).cos();
                    im -= f64::from(*v) * (TAU * turns).sin();
                }
                let wanted = re.hypot(im) / ((height * width) as f64).sqrt();
                assert!((f64::from(*got) - wanted).abs() < 1e-5, "{height} {width} {i}: {got} {wanted}");
            }
        }
    }

    #[test]
    fn means_are_of_all_pictures() {
        let mut spectrum = Spectrum::of([1, 2, 2]);
        spectrum.add(&[1.0; 4]).unwrap();
        spectrum.add(&[3.0; 4]).unwrap();
        let off = |(m, wanted): (&f32, f32)| (m - wanted).abs() < 1e-6;
        assert!(spectrum.magnitudes().iter().zip([4.0, 0.0, 0.0, 0.0]).all(off));
        assert!(spectrum.add(&[1.0; 3]).is_err());
    }

    #[test]
    fn a_power_law_has_its_slope_and_a_wave_its_frequency() {
        let (height, width) = (16, 16);
        let falling: Vec<f32> = (0..height * 9)
            .map(|i| {
                let y = (i / 9usize).min(16 - i / 9) as f32;
                let frequency = y.hypot((i % 9) as f32);
                if frequency > 0.0 { 1.0 / frequency } else { 5.0 }
            })
            .collect();
        assert!((slope(&falling, height, width) + 2.0).abs() < 1e-6);
        let wave: Vec<f32> = (0..256).map(|i| (TAU as f32 * (i % 16) as f32 * 3.0 / 16.0).cos() + 2.0).collect();
        assert!((centroid(&magnitudes(&wave, 16, 16), 16, 16) - 3.0 / 16.0).abs() < 1e-6);
        assert_eq!(centroid(&magnitudes(&[1.0; 256], 16, 16), 16, 16), 0.0);
    }
}
