//! Numbers that may be undefined, in JSON: NaN is written as `null` and read back as NaN.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes NaN and infinities as `null`.
///
/// # Errors
/// When the format refuses.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(*value).serialize(serializer)
}

/// Reads `null` as NaN.
///
/// # Errors
/// When it is neither a number nor `null`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
