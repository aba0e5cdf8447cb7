//! How alike two pictures look.

/// Standard deviation of the window of [`ssim`] in pixels, and how many of them it reaches to either side.
const WINDOW: (f64, f64) = (1.5, 3.5);
/// What keeps quotients of [`ssim`] finite, as shares of the range of values.
const CONSTANTS: (f64, f64) = (0.01, 0.03);

/// Peak signal-to-noise ratio of two pictures with values in \[0, 1\], in decibels: `-10 log10 mean (a - b)^2`. Infinite for
/// equal ones.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    let error = a.iter().zip(b).map(square).sum::<f64>() / a.len().max(1) as f64;
    -10.0 * error.log10()
}

/// Structural similarity (Wang et al. 2004) of two planes `[height, width]` with values in \[0, 1\]: the mean over all windows
/// that lie inside, Gaussian with a deviation of 1.5 pixels, 11 pixels wide. In \[-1, 1\], 1 for equal planes; NaN of planes
/// smaller than a window.
pub fn ssim(a: &[f32], b: &[f32], (height, width): (usize, usize)) -> f64 {
    let reach = (WINDOW.0 * WINDOW.1 + 0.5) as usize;
    if height <= 2 * reach || width <= 2 * reach {
        return f64::NAN;
    }
    let double = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let (a, b) = (double(a), double(b));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<f64>>();
    let mean = |x: &[f64]| windowed(x, height, width, reach);
    let (ma, mb, aa, bb, ab) =
        (mean(&a), mean(&b), mean(&product(&a, &a)), mean(&product(&b, &b)), mean(&product(&a, &b)));
    let (c1, c2) = (CONSTANTS.0.powi(2), CONSTANTS.1.powi(2));
    let at = |i: usize| {
        let (va, vb, cov) = (aa[i] - ma[i] * ma[i], bb[i] - mb[i] * mb[i], ab[i] - ma[i] * mb[i]);
        (2.0 * ma[i] * mb[i] + c1) * (2.0 * cov + c2) / ((ma[i] * ma[i] + mb[i] * mb[i] + c1) * (va + vb + c2))
    };
    (0..ma.len()).map(at).sum::<f64>() / ma.len() as f64
}

/// The weighted mean of every window that lies inside a plane.
fn windowed(x: &[f64], height: usize, width: usize, reach: usize) -> Vec<f64> {
    let weight = |k: usize| (-0.5 * ((k as f64 - reach as f64) / WINDOW.0).powi(2)).exp();
    let total: f64 = (0..=2 * reach).map(weight).sum();
    let weights: Vec<f64> = (0..=2 * reach).map(|k| weight(k) / total).collect();
    let (rows, columns) = (height - 2 * reach, width - 2 * reach);
    let mut wide = Vec::with_capacity(height * columns);
    for row in x.chunks_exact(width) {
        wide.extend((0..columns).map(|i| weights.iter().zip(&row[i..]).map(|(w, v)| w * v).sum::<f64>()));
    }
    let at = |i: usize| {
        let (y, x) = (i / columns, i % columns);
        weights.iter().enumerate().map(|(k, w)| w * wide[(y + k) * columns + x]).sum()
    };
    (0..rows * columns).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes() -> (Vec<f32>, Vec<f32>) {
        let a: Vec<f32> = (0..16 * 14).map(|i| 0.5 + 0.5 * (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> =
            (0..16 * 14).map(|i| (0.5 + 0.5 * (i as f32 * 0.37 + 0.3 * (i % 5) as f32).sin()) * 0.9).collect();
        (a, b)
    }

    /// skimage.metrics.structural_similarity(a, b, data_range=1, gaussian_weights=True, sigma=1.5,
    /// use_sample_covariance=False) and peak_signal_noise_ratio(a, b, data_range=1), skimage 0.26.
    #[test]
    fn values_are_those_of_scikit_image() {
        let (a, b) = planes();
        assert!((ssim(&a, &b, (16, 14)) - SSIM).abs() < 1e-5, "{}", ssim(&a, &b, (16, 14)));
        assert!((psnr(&a, &b) - PSNR).abs() < 1e-4, "{}", psnr(&a, &b));
    }

    const SSIM: f64 = 0.743_747;
    const PSNR: f64 = 12.330_82;

    #[test]
    fn equal_pictures_are_alike_and_small_ones_have_no_window() {
        let (a, _) = planes();
        assert!((ssim(&a, &a, (16, 14)) - 1.0).abs() < 1e-12);
        assert_eq!(psnr(&a, &a), f64::INFINITY);
        assert!(ssim(&a[..100], &a[..100], (10, 10)).is_nan());
    }
}
