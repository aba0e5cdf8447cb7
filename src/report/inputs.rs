//! What differs between the inputs of runs: code, weights, data and parameters, by their manifests.

use serde::Serialize;
use serde_json::Value;

/// One input that is not the same in all runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// `code`, `weights`, `data`, `device` or `parameters`.
    pub group: &'static str,
    /// The manifest's key.
    pub key: String,
    /// Its value in every run; empty where it is not there.
    pub values: Vec<String>,
}

/// The groups with the keys of the manifest that belong to them; what stands nowhere is a parameter.
const GROUPS: [(&str, &[&str]); 4] = [
    ("code", &["cavern", "schema"]),
    ("weights", &["model_digest", "model_files", "study.model.name", "study.model.weights", "study.model.revision"]),
    ("data", &["samples_digest", "samples", "skipped", "preprocess", "study.dataset", "study.split"]),
    ("device", &["device"]),
];
const PARAMETERS: &str = "parameters";
/// What follows from the rest, or is a name.
const LEFT_OUT: [&str; 4] = ["study_digest", "layers", "study.name", "study.about"];

/// Every group, in the order shown.
pub fn groups() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|g| g.0).chain([PARAMETERS])
}

/// The inputs in which manifests differ, by group and key.
pub fn inputs(manifests: &[Value]) -> Vec<Input> {
    let flat: Vec<Vec<(String, String)>> = manifests.iter().map(flattened).collect();
    let mut keys: Vec<&str> = flat.iter().flatten().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let of = |run: &[(String, String)], key: &str| {
        run.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut out: Vec<Input> = keys
        .into_iter()
        .filter(|key| !LEFT_OUT.iter().any(|l| begins(key, l)))
        .map(|key| Input {
            group: group(key),
            key: key.to_owned(),
            values: flat.iter().map(|run| of(run, key)).collect(),
        })
        .filter(|input| input.values.iter().any(|v| *v != input.values[0]))
        .collect();
    out.sort_by_key(|input| groups().position(|g| g == input.group));
    out
}

/// Whether a key is `start` or lies below it.
fn begins(key: &str, start: &str) -> bool {
    key.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn group(key: &str) -> &'static str {
    GROUPS.iter().find(|(_, starts)| starts.iter().any(|s| begins(key, s))).map_or(PARAMETERS, |g| g.0)
}

/// Leaves with their paths; a list is one value, but for lists of tables.
fn flattened(manifest: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    flatten("", manifest, &mut out);
    out
}

fn flatten(path: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, out);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().enumerate().for_each(|(i, value)| flatten(&format!("{path}[{i}]"), value, out));
        }
        Value::String(text) => out.push((path.to_owned(), text.clone())),
        Value::Null => {}
        other => out.push((path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_by_group() {
        let one = json!({"cavern": "0.1.0", "model_digest": "a", "samples_digest": "s", "study_digest": "x", "device": "cpu",
            "study": {"name": "n", "seed": 1, "probe": {"lambda": [0.1, 1.0]}, "dataset": {"count": 5}}});
        let two = json!({"cavern": "0.1.0", "model_digest": "b", "samples_digest": "s", "study_digest": "y", "device": "cpu",
            "model_files": [{"key": "model.weights", "digest": "d"}],
            "study": {"name": "m", "seed": 2, "probe": {"lambda": [0.1]}, "dataset": {"count": 5}}});
        let found = inputs(&[one.clone(), two]);
        let told: Vec<_> = found.iter().map(|i| (i.group, i.key.as_str(), i.values.join("|"))).collect();
        assert_eq!(
            told,
            [
                ("weights", "model_digest", "a|b".to_owned()),
                ("weights", "model_files[0].digest", "|d".to_owned()),
                ("weights", "model_files[0].key", "|model.weights".to_owned()),
                ("parameters", "study.probe.lambda", "[0.1,1.0]|[0.1]".to_owned()),
                ("parameters", "study.seed", "1|2".to_owned()),
            ]
        );
        assert!(inputs(&[one.clone(), one]).is_empty() && inputs(&[]).is_empty());
    }
}
