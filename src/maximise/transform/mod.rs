//! How pictures are shaken before every step, so that what survives does not hang on exact positions (Olah et al. 2017,
//! "Transformation robustness").
//!
//! A chain's geometry is folded into one affine map, sampled once with bilinear weights: one interpolation where libraries
//! have several. The result is cropped, or bordered with grey, to the network's size rather than resized to it, which would
//! undo a scale. Beyond the border all is grey. Blur and noise follow, whatever their place in the chain.

mod affine;
mod blur;
mod sample;
mod step;

pub use affine::Affine;
pub use blur::blur;
pub use sample::sample;
pub use step::Transform;

use candle_core::Tensor;
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::seed::{Seed, gaussian};

use affine::Canvas;

/// The network size that pixel amounts are told for; smaller networks get their share of them.
const REFERENCE: usize = 224;

/// A chain of steps, by name or one by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "\"lucid\", \"xplique\", \"maco\", \"small\", \"none\", or a list of steps as in \"jitter 8\""
)]
pub enum Transforms {
    /// A chain of a library.
    Named(Preset),
    /// Steps in order, as in `["pad 12", "jitter 8", "rotate 10"]`.
    Chain(Vec<Transform>),
}

/// The chains that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Lucid's: a grey border, jitter, scale, rotation, jitter. What is bound to positions gets `small` instead: jitter and
    /// rotation would average it over its shifts.
    Lucid,
    /// Xplique's: border, jitters, a smaller scale, blur, jitters, mirroring.
    Xplique,
    /// MaCo's: windows of 5 to 50 % of the side, and noise.
    Maco,
    /// Jitter by at most one cell of the layer's grid in all.
    Small,
    /// None.
    None,
}

/// A network's input as far as geometry goes.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Side of a cell of the layer's grid, in pixels.
    pub cell: usize,
}

/// What happens to one picture in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Its geometry.
    pub map: Affine,
    /// Standard deviation of its blur in pixels; 0 for none.
    pub blur: f64,
    /// Standard deviation of its noise, in levels of \[0, 1\]; 0 for none.
    pub noise: f64,
}

impl Transforms {
    /// Lucid's.
    pub const LUCID: Self = Self::Named(Preset::Lucid);
    /// None.
    pub const NONE: Self = Self::Named(Preset::None);

    /// What an objective gets: one that is bound to positions is not turned.
    #[must_use]
    pub fn bound(&self, to_positions: bool) -> Self {
        if to_positions && *self == Self::LUCID { Self::Named(Preset::Small) } else { self.clone() }
    }

    /// Its steps, for a layer whose cells have a side of `cell` pixels.
    fn steps(&self, cell: usize) -> Vec<Transform> {
        match self {
            Self::Chain(steps) => steps.clone(),
            Self::Named(preset) => preset.steps(cell),
        }
    }

    /// Draws what happens to one picture in one step. It depends on the seed and the stream's name alone.
    pub fn draw(&self, frame: Frame, seed: Seed, name: &str) -> Drawn {
        let mut rng = seed.stream(name);
        let mut canvas = Canvas::new(frame.size);
        let mut drawn = Drawn { map: Affine::IDENTITY, blur: 0.0, noise: 0.0 };
        let reference = frame.size[1].min(REFERENCE) as f64 / REFERENCE as f64;
        // A cell is told in the network's own pixels.
        let share = if *self == Self::Named(Preset::Small) { 1.0 } else { reference };
        for step in self.steps(frame.cell) {
            step.apply(&mut canvas, &mut drawn, share, &mut rng);
        }
        drawn.map = canvas.finish(frame.size);
        drawn
    }
}

impl Preset {
    fn steps(self, cell: usize) -> Vec<Transform> {
        use Transform::{Blur, Crop, Flip, Jitter, Noise, Pad, Rotate, Scale};
        match self {
            Self::None => Vec::new(),
            Self::Small => vec![Pad(cell as f64 / 2.0), Jitter(cell as f64)],
            Self::Lucid => vec![Pad(12.0), Jitter(8.0), Scale(0.9, 1.1), Rotate(10.0), Jitter(4.0)],
            Self::Xplique => {
                let jitters = [28.0, 28.0, 56.0, 56.0, 56.0].map(Jitter);
                let last = [Scale(0.92, 0.96), Blur(1.0, 1.1), Jitter(14.0), Jitter(14.0), Flip];
                std::iter::once(Pad(56.0)).chain(jitters).chain(last).collect()
            }
            Self::Maco => vec![Crop(0.05, 0.5), Noise(0.08)],
        }
    }
}

/// Adds normal noise of its own standard deviation to every picture `[batch, channel, height, width]`; `levels` are what
/// one level of \[0, 1\] is for every channel there, and a picture's noise is that of its stream.
///
/// # Errors
/// When shapes do not fit.
pub fn add_noise(
    x: &Tensor,
    drawn: &[Drawn],
    levels: &[f64],
    seed: Seed,
    names: &[String],
) -> candle_core::Result<Tensor> {
    if drawn.iter().all(|d| d.noise == 0.0) {
        return Ok(x.clone());
    }
    let count = x.elem_count() / x.dim(0)?.max(1);
    let plane = (count / levels.len().max(1)).max(1);
    let mut values = Vec::with_capacity(x.elem_count());
    for (drawn, name) in drawn.iter().zip(names) {
        let mut rng = seed.stream(&format!("{name} noise"));
        let deviation = |i: usize| drawn.noise * levels[(i / plane).min(levels.len() - 1)];
        values.extend(
            (0..count).map(|i| if drawn.noise > 0.0 { (deviation(i) * gaussian(&mut rng)) as f32 } else { 0.0 }),
        );
    }
    x + Tensor::from_vec(values, x.dims(), x.device())?.to_dtype(x.dtype())?
}

/// A number between two others.
fn between(rng: &mut impl rand::Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { size: [224, 224], cell: 32 };

    fn lucid(name: &str) -> Drawn {
        Transforms::LUCID.draw(FRAME, Seed(1), name)
    }

    #[test]
    fn draws_depend_on_seed_and_name_alone() {
        assert_eq!(lucid("0 5"), lucid("0 5"));
        assert_ne!(lucid("0 5"), lucid("0 6"));
        assert_eq!(Transforms::NONE.draw(FRAME, Seed(1), "0").map, Affine::IDENTITY);
    }

    #[test]
    fn shaking_stays_within_lucids_range() {
        let (mut angles, mut scales) = (Vec::new(), Vec::new());
        for step in 0..400 {
            let map = lucid(&step.to_string()).map;
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
        let small = Transforms::Named(Preset::Small);
        let shifts: Vec<f64> = (0..200).map(|s| small.draw(FRAME, Seed(1), &s.to_string()).map.0[2]).collect();
        assert!(shifts.iter().all(|s| s.abs() <= 16.0) && shifts.iter().any(|s| *s != 0.0));
    }

    #[test]
    fn chains_are_read_by_name_or_step_by_step() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Table {
            transforms: Transforms,
        }
        let read = |text: &str| toml::from_str::<Table>(text).map(|t| t.transforms);
        assert_eq!(read("transforms = \"maco\"").unwrap(), Transforms::Named(Preset::Maco));
        let chain = read("transforms = [\"pad 4\", \"scale 0.8 1.2\", \"blur 1\", \"flip\"]").unwrap();
        let wanted = vec![Transform::Pad(4.0), Transform::Scale(0.8, 1.2), Transform::Blur(1.0, 1.0), Transform::Flip];
        assert_eq!(chain, Transforms::Chain(wanted));
        let text = toml::to_string(&Table { transforms: chain.clone() }).unwrap();
        assert_eq!(read(&text).unwrap(), chain);
        let message = read("transforms = \"lucd\"").unwrap_err().to_string();
        assert!(message.contains("lucid"), "{message}");
        assert!(read("transforms = [\"twist 3\"]").is_err());
    }

    #[test]
    fn every_preset_draws_finite_maps_and_smaller_networks_less() {
        for preset in [Preset::Lucid, Preset::Xplique, Preset::Maco, Preset::Small] {
            for size in [[224, 224], [32, 32], [1, 150]] {
                let drawn = Transforms::Named(preset).draw(Frame { size, cell: 4 }, Seed(2), "a");
                assert!(drawn.map.0.iter().all(|v| v.is_finite()), "{preset:?} {size:?}");
                assert!(drawn.blur >= 0.0 && drawn.noise >= 0.0);
            }
        }
        let shift = |size: usize| {
            let frame = Frame { size: [size, size], cell: 4 };
            let of = |s: usize| Transforms::Chain(vec![Transform::Jitter(16.0)]).draw(frame, Seed(1), &s.to_string());
            (0..50).map(|s| of(s).map.0[2].abs()).fold(0.0, f64::max)
        };
        assert!(shift(224) > 6.0 && shift(28) <= 1.0);
    }
}
