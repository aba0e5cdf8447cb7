//! Class activation maps of a score at an earlier layer: from its activation a and the score's gradient g there.
//!
//! All keep their sign: the usual last ReLU would tie half of the ranks. At the probe's own layer HiResCAM is spatial linear
//! attribution itself.

use super::{Map, Method, Score};
use crate::error::Result;

/// The maps of pictures by several methods, from one pass back.
///
/// # Errors
/// When the score does not depend on `earlier`, or the network fails.
pub fn maps(
    score: &Score<'_>,
    pictures: &[f32],
    earlier: usize,
    methods: &[Method],
) -> Result<Vec<(Method, Vec<Map>)>> {
    let [channels, height, width] = score.network.map_shape(earlier);
    let (size, positions) = ((height, width), height * width);
    let mut out: Vec<(Method, Vec<Map>)> = methods.iter().map(|m| (*m, Vec::new())).collect();
    // Activations of a batch at a time: a layer near the pixels is large.
    for pictures in pictures.chunks(score.network.batch() * score.network.input_len()) {
        let a = score.network.activations(pictures, earlier)?;
        let g = score.gradients(pictures, earlier)?;
        for (method, maps) in &mut out {
            let pairs = a.chunks_exact(channels * positions).zip(g.chunks_exact(channels * positions));
            maps.extend(pairs.map(|(a, g)| Map { size, values: cam(*method, a, g, positions) }));
        }
    }
    Ok(out)
}

/// One map `[positions]` from activation and gradient `[channel, positions]`.
///
/// Grad-CAM: `sum_c (mean_p g) a`. Grad-CAM++: `sum_c w_c a`, `w_c = sum_p alpha relu(g)`, `alpha = g^2 / (2 g^2 + (sum_p a)
/// g^3)`, 0 where the denominator is. XGrad-CAM: `w_c = sum_p g a / sum_p a`, 0 where that sum is. HiResCAM: `sum_c g a`;
/// LayerCAM: `sum_c relu(g) a`.
pub fn cam(method: Method, a: &[f32], g: &[f32], positions: usize) -> Vec<f32> {
    let mut map = vec![0f64; positions];
    for (a, g) in a.chunks_exact(positions.max(1)).zip(g.chunks_exact(positions.max(1))) {
        let whole = match method {
            Method::GradCam => g.iter().map(|g| f64::from(*g)).sum::<f64>() / positions as f64,
            Method::GradCamPlus => plus(a, g),
            Method::XgradCam => share(a.iter().zip(g).map(|(a, g)| f64::from(*a) * f64::from(*g)).sum(), sum(a)),
            _ => 0.0,
        };
        for ((map, a), g) in map.iter_mut().zip(a).zip(g) {
            let weight = match method {
                Method::HiresCam => f64::from(*g),
                Method::LayerCam => f64::from(g.max(0.0)),
                _ => whole,
            };
            *map += weight * f64::from(*a);
        }
    }
    map.into_iter().map(|v| v as f32).collect()
}

fn plus(a: &[f32], g: &[f32]) -> f64 {
    let all = sum(a);
    let term = |g: &f32| {
        let g = f64::from(*g);
        g.max(0.0) * share(g * g, 2.0 * g * g + all * g * g * g)
    };
    g.iter().map(term).sum()
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v)).sum()
}

fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Two channels, two positions.
        let (a, g) = ([1.0, 3.0, 2.0, 0.0], [2.0, -1.0, 0.0, 4.0]);
        let map = |method| cam(method, &a, &g, 2);
        assert_eq!(map(Method::HiresCam), [2.0, -3.0]);
        assert_eq!(map(Method::LayerCam), [2.0, 0.0]);
        assert_eq!(map(Method::GradCam), [0.5 + 4.0, 1.5]);
        // (2 - 3) / 4 and 0 / 2.
        assert_eq!(map(Method::XgradCam), [-0.25, -0.75]);
        // 4 / (8 + 4 * 8) * 2 and 16 / (32 + 2 * 64) * 4.
        let (first, second) = (0.2f32, 0.4f32);
        let got = map(Method::GradCamPlus);
        assert!((got[0] - first - 2.0 * second).abs() < 1e-6 && (got[1] - 3.0 * first).abs() < 1e-6, "{got:?}");
        assert_eq!(cam(Method::XgradCam, &[0.0; 2], &[1.0; 2], 2), [0.0; 2]);
    }
}
