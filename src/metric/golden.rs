//! Golden values of tests/golden/statistics.py, for the tests of this module.

use serde_json::Value;

fn entry(case: &str, name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../tests/golden/statistics.json")).unwrap();
    all[case][name].clone()
}

/// A number.
pub(super) fn number(case: &str, name: &str) -> f64 {
    entry(case, name).as_f64().unwrap()
}

/// A list of numbers; `null` is NaN.
pub(super) fn numbers(case: &str, name: &str) -> Vec<f64> {
    entry(case, name).as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}
