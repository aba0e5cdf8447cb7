//! What a picture's score is of its positions' scores.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One number of many. In study files it is text: `mean`, `max`, `lse 4`, `top 0.1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^(mean|max|lse +[0-9.eE+-]+|top +[0-9.eE-]+)$"))]
pub enum ImageScore {
    /// Their mean: the score is then linear in the activation.
    #[default]
    Mean,
    /// The largest.
    Max,
    /// `log(mean of exp(r a)) / r`, from the mean (r near 0) to the largest (r large); r above zero, over one score.
    LogMeanExp(f64),
    /// The mean of this share of positions, those with the highest scores (at least one): above 0 and below 1. Only the
    /// extreme of position scores is said to be reliable (SuperActivators, arXiv 2512.05038).
    Top(f64),
}

impl ImageScore {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::Mean
    }

    /// The picture's score of its positions'.
    pub fn of(self, positions: &[f64]) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let top = positions.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self {
            Self::Mean => mean(positions),
            Self::Max => top,
            Self::LogMeanExp(r) => {
                top + mean(&positions.iter().map(|a| (r * (a - top)).exp()).collect::<Vec<_>>()).ln() / r
            }
            Self::Top(share) => {
                let mut sorted = positions.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let count = (share * positions.len() as f64).round().max(1.0) as usize;
                mean(&sorted[..count.min(sorted.len())])
            }
        }
    }
}

impl From<ImageScore> for String {
    fn from(score: ImageScore) -> Self {
        match score {
            ImageScore::Mean => "mean".to_owned(),
            ImageScore::Max => "max".to_owned(),
            ImageScore::LogMeanExp(r) => format!("lse {r}"),
            ImageScore::Top(share) => format!("top {share}"),
        }
    }
}

impl TryFrom<String> for ImageScore {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for ImageScore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0);
        match text.split_once(' ').unwrap_or((text, "")) {
            ("mean", "") => Ok(Self::Mean),
            ("max", "") => Ok(Self::Max),
            ("lse", r) => {
                number(r).map(Self::LogMeanExp).ok_or_else(|| format!("`{text}`: write `lse 4`, a positive number"))
            }
            ("top", share) => number(share)
                .filter(|v| *v < 1.0)
                .map(Self::Top)
                .ok_or_else(|| format!("`{text}`: write `top 0.1`, a share above 0 and below 1")),
            _ => Err(format!("unknown variant `{text}`, expected one of `mean`, `max`, `lse 4`, `top 0.1`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITIONS: [f64; 4] = [0.5, -1.0, 2.0, 2.0];

    #[test]
    fn values_by_hand() {
        assert_eq!(ImageScore::Mean.of(&POSITIONS), 0.875);
        assert_eq!(ImageScore::Max.of(&POSITIONS), 2.0);
        assert_eq!(ImageScore::Top(0.75).of(&POSITIONS), 1.5);
        assert_eq!(ImageScore::Top(0.01).of(&POSITIONS), 2.0);
        let wanted = ((0.5f64.exp() + (-1f64).exp() + 2.0 * 2f64.exp()) / 4.0).ln();
        assert!((ImageScore::LogMeanExp(1.0).of(&POSITIONS) - wanted).abs() < 1e-12);
        assert!((ImageScore::LogMeanExp(1e-6).of(&POSITIONS) - 0.875).abs() < 1e-5);
        assert!((ImageScore::LogMeanExp(1e3).of(&POSITIONS) - 2.0).abs() < 1e-3);
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        for score in [ImageScore::Mean, ImageScore::Max, ImageScore::LogMeanExp(4.0), ImageScore::Top(0.1)] {
            assert_eq!(String::from(score).parse::<ImageScore>().unwrap(), score);
        }
        for text in ["top", "top 1", "lse 0", "lse nan", "mean 2", "median"] {
            assert!(text.parse::<ImageScore>().is_err(), "{text}");
        }
    }
}
