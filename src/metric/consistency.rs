//! Do the directions of two layers say the same? A step along the first should be a step along the second, once it has
//! gone through the network between them (Nicolson et al. 2024).

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The `[consistency]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsistencyOptions {
    /// Test pictures that steps are made from.
    pub pictures: usize,
    /// Length of a step, as a share of the mean norm of the layer's activations.
    pub gamma: f64,
}

impl Default for ConsistencyOptions {
    fn default() -> Self {
        Self { pictures: 20, gamma: 0.01 }
    }
}

impl ConsistencyOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, ok: bool, wanted: &str| {
            if ok { Ok(()) } else { Err(Error::key(key, "out of range", wanted)) }
        };
        within("consistency.pictures", (2..=1000).contains(&self.pictures), "2 to 1000; 20 is the default")?;
        within("consistency.gamma", self.gamma > 0.0 && self.gamma <= 1.0, "above 0, to 1; 0.01 is the default")
    }
}

/// `|f(a1 + v1) - (a2 + v2)| / |v2|`: how far the step `moved - before` of the second layer is from `step`, in lengths of
/// that step. 0 is the same step, 1 is none at all, about the root of two an unrelated one of the same length. NaN where
/// the step has no length.
pub fn inconsistency(moved: &[f32], before: &[f32], step: &[f32]) -> f64 {
    let (mut off, mut length) = (0.0, 0.0);
    for ((moved, before), step) in moved.iter().zip(before).zip(step) {
        let (made, step) = (f64::from(*moved) - f64::from(*before), f64::from(*step));
        off += (made - step).powi(2);
        length += step * step;
    }
    if length > 0.0 { (off / length).sqrt() } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(inconsistency(&[1.0, 3.0], &[1.0, 1.0], &[0.0, 2.0]), 0.0);
        assert_eq!(inconsistency(&[1.0, 1.0], &[1.0, 1.0], &[0.0, 2.0]), 1.0);
        assert!((inconsistency(&[3.0, 1.0], &[1.0, 1.0], &[0.0, 2.0]) - 2f64.sqrt()).abs() < 1e-12);
        assert!(inconsistency(&[1.0], &[1.0], &[0.0]).is_nan());
    }

    #[test]
    fn options_are_checked() {
        let good = ConsistencyOptions::default();
        good.check().unwrap();
        let message = |o: ConsistencyOptions| o.check().unwrap_err().to_string();
        assert!(message(ConsistencyOptions { pictures: 0, ..good.clone() }).contains("consistency.pictures"));
        assert!(message(ConsistencyOptions { gamma: f64::NAN, ..good }).contains("consistency.gamma"));
    }
}
