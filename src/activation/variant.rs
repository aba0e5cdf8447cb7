//! What of an activation map a probe sees: all of it, or one number a channel.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of an activation. In study files and tables it is text: `full`, `ti`, `ti_max`, `ti_lse` or `ti_lse 4`.
///
/// All but `full` are translation-invariant: they do not say where in the grid a value stands.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^(full|ti|ti_max|ti_lse( [0-9.eE+-]+)?)$"))]
pub enum Variant {
    /// Every value, `[channel, height, width]`.
    Full,
    /// Each channel's mean over positions, `[channel]`.
    TranslationInvariant,
    /// Each channel's largest value, `[channel]`.
    Max,
    /// `log(mean over positions of exp(r z)) / r` of each channel, `[channel]`: from the mean (r near 0) to the largest
    /// value (r large). r is in units of one over the activation, above zero.
    LogSumExp(f32),
}

/// No NaN is ever read.
impl Eq for Variant {}

/// r where a study does not say: between mean and maximum for values of about one, which networks' activations have.
const SHARPNESS: f32 = 1.0;

impl Variant {
    /// The name in tables.
    pub fn name(self) -> String {
        match self {
            Self::Full => "full".to_owned(),
            Self::TranslationInvariant => "ti".to_owned(),
            Self::Max => "ti_max".to_owned(),
            Self::LogSumExp(SHARPNESS) => "ti_lse".to_owned(),
            Self::LogSumExp(r) => format!("ti_lse {r}"),
        }
    }

    /// How many values an activation `[channel, height, width]` has in this form.
    pub fn width(self, shape: [usize; 3]) -> usize {
        if self == Self::Full { shape.iter().product() } else { shape[0] }
    }

    /// Whether the form is a linear function of the activation. Then a linear score is a sum over positions.
    pub fn is_linear(self) -> bool {
        matches!(self, Self::Full | Self::TranslationInvariant)
    }

    /// One channel's positions as one number; [`Variant::Full`] has no such number and gives the mean.
    pub fn pool(self, channel: &[f32]) -> f64 {
        let count = channel.len().max(1) as f64;
        match self {
            Self::Full | Self::TranslationInvariant => channel.iter().map(|z| f64::from(*z)).sum::<f64>() / count,
            Self::Max => largest(channel),
            Self::LogSumExp(r) => {
                let (r, top) = (f64::from(r), largest(channel));
                let sum: f64 = channel.iter().map(|z| (r * (f64::from(*z) - top)).exp()).sum();
                top + (sum / count).ln() / r
            }
        }
    }

    /// The derivative of [`Variant::pool`] by every position. Of several largest values the first has it all.
    pub fn pool_gradient(self, channel: &[f32], out: &mut [f32]) {
        match self {
            Self::Full | Self::TranslationInvariant => out.fill(1.0 / channel.len().max(1) as f32),
            Self::Max => {
                let top = largest(channel);
                let at = channel.iter().position(|z| f64::from(*z) >= top);
                out.iter_mut().enumerate().for_each(|(p, g)| *g = f32::from(u8::from(at == Some(p))));
            }
            Self::LogSumExp(r) => {
                let top = largest(channel) as f32;
                out.iter_mut().zip(channel).for_each(|(g, z)| *g = (r * (z - top)).exp());
                let sum: f32 = out.iter().sum();
                out.iter_mut().for_each(|g| *g /= sum);
            }
        }
    }
}

fn largest(channel: &[f32]) -> f64 {
    f64::from(channel.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl From<Variant> for String {
    fn from(variant: Variant) -> Self {
        variant.name()
    }
}

impl TryFrom<String> for Variant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Variant {
    type Err = String;

    /// The error has the form of serde's, from which the study file's reader names the nearest variant.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("full", "") => Ok(Self::Full),
            ("ti", "") => Ok(Self::TranslationInvariant),
            ("ti_max", "") => Ok(Self::Max),
            ("ti_lse", "") => Ok(Self::LogSumExp(SHARPNESS)),
            ("ti_lse", r) => match r.parse::<f32>() {
                Ok(r) if r.is_finite() && r > 0.0 => Ok(Self::LogSumExp(r)),
                _ => Err(format!("variant `{text}`: what follows `ti_lse` is a positive number, as in `ti_lse 4`")),
            },
            _ => Err(format!("unknown variant `{text}`, expected one of `full`, `ti`, `ti_max`, `ti_lse`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: [f32; 4] = [0.5, -1.0, 2.0, 2.0];

    #[test]
    fn numbers_of_a_channel_by_hand() {
        assert_eq!(Variant::TranslationInvariant.pool(&CHANNEL), 0.875);
        assert_eq!(Variant::Max.pool(&CHANNEL), 2.0);
        let wanted = ((0.5f64.exp() + (-1f64).exp() + 2.0 * 2f64.exp()) / 4.0).ln();
        assert!((Variant::LogSumExp(1.0).pool(&CHANNEL) - wanted).abs() < 1e-12);
        // Values far apart neither overflow nor vanish.
        assert!((Variant::LogSumExp(1.0).pool(&[1e4, 0.0]) - (1e4 - 2f64.ln())).abs() < 1e-9);
    }

    #[test]
    fn log_sum_exp_lies_between_the_mean_and_the_maximum() {
        let of = |r: f32| Variant::LogSumExp(r).pool(&CHANNEL);
        assert!((of(1e-4) - 0.875).abs() < 1e-3, "{}", of(1e-4));
        assert!((of(1e4) - 2.0).abs() < 1e-3, "{}", of(1e4));
        assert!(of(0.5) < of(1.0) && of(1.0) < of(2.0), "it rises with r");
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let channel = [0.5f32, -1.0, 2.0, 1.25];
        for variant in [Variant::TranslationInvariant, Variant::Max, Variant::LogSumExp(1.0), Variant::LogSumExp(3.5)] {
            let mut gradient = [0.0; 4];
            variant.pool_gradient(&channel, &mut gradient);
            for (p, gradient) in gradient.iter().enumerate() {
                // A power of two, so that the moved values are exact in f32.
                let h = 1.0 / 1024.0;
                let at = |by: f32| {
                    let mut moved = channel;
                    moved[p] += by;
                    variant.pool(&moved)
                };
                let wanted = (at(h) - at(-h)) / f64::from(2.0 * h);
                assert!((f64::from(*gradient) - wanted).abs() < 1e-5, "{variant} {p}: {gradient} {wanted}");
            }
        }
        let mut gradient = [0.0; 4];
        Variant::Max.pool_gradient(&CHANNEL, &mut gradient);
        assert_eq!(gradient, [0.0, 0.0, 1.0, 0.0], "the first of equal ones");
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        let lse = Variant::LogSumExp;
        for variant in [Variant::Full, Variant::TranslationInvariant, Variant::Max, lse(1.0), lse(4.0), lse(0.25)] {
            assert_eq!(variant.name().parse::<Variant>().unwrap(), variant);
        }
        assert_eq!(lse(1.0).name(), "ti_lse");
        for text in ["ti_lse 0", "ti_lse -1", "ti_lse nan", "ti_lse x", "ti_lse inf"] {
            assert!(text.parse::<Variant>().unwrap_err().contains("positive"), "{text}");
        }
        assert!("ti_mx".parse::<Variant>().unwrap_err().contains("`ti_max`"));
        assert!("ti 2".parse::<Variant>().is_err());
    }
}
