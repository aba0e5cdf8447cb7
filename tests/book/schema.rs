//! The schemas say what cavern does: its own studies are valid, and what it refuses they refuse.

use std::path::{Path, PathBuf};

use cavern::study::{Study, Survey, schema};
use serde_json::{Value, json};

use super::root;

/// A study with every optional table, to change keys of.
fn full() -> toml::Table {
    let text = "version = 1\nname = \"full\"\n[dataset]\nformat = \"elements\"\n[model]\nname = \"elements_cnn\"\n\
        [maximise]\n[tcav]\n[opinion]\n[consistency]\n[variance]\n[train]\n";
    text.parse().unwrap()
}

/// What cavern makes of a table, with everything it says; or why it refuses it.
fn read(table: &toml::Table) -> Result<Value, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("study.toml");
    std::fs::write(&path, toml::to_string(table).unwrap()).unwrap();
    let study = Study::read(&path, &[]).map_err(|e| e.to_string())?;
    study.dataset.check().map_err(|e| e.to_string())?;
    Ok(serde_json::to_value(study).unwrap())
}

/// The table with a key at a dotted path.
fn with(path: &str, value: &Value) -> toml::Table {
    let mut table = full();
    let mut at = &mut table;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            at.insert(part.to_owned(), toml::Value::try_from(value).unwrap());
            break;
        }
        at = at.entry(part).or_insert_with(|| toml::Table::new().into()).as_table_mut().unwrap();
    }
    table
}

/// What a schema refers to, or itself.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    match schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/definitions/")) {
        Some(name) => &root["definitions"][name],
        None => schema,
    }
}

/// Every key of the study by its dotted path, with its schema: the key's own, and what it refers to.
fn keys<'s>(root: &'s Value, table: &'s Value, path: &str, found: &mut Vec<(String, &'s Value)>) {
    for (name, key) in table["properties"].as_object().unwrap() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let inner = resolved(root, key["allOf"].get(0).unwrap_or(key));
        if inner["properties"].is_object() {
            keys(root, inner, &path, found);
        } else {
            found.push((path, key));
        }
    }
}

/// Where a value does not follow a schema: the part of JSON Schema that ours use.
fn problems(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(root, schema);
    let mut found = Vec::new();
    let fits = |schema: &Value| problems(root, schema, value, at).is_empty();
    let array = |key: &str| schema[key].as_array().map(Vec::as_slice).unwrap_or_default();
    for part in array("allOf") {
        found.extend(problems(root, part, value, at));
    }
    let one_of = schema["anyOf"].is_null() || array("anyOf").iter().any(fits);
    let exactly = schema["oneOf"].is_null() || array("oneOf").iter().filter(|s| fits(s)).count() == 1;
    let listed = schema["enum"].is_null() || array("enum").contains(value);
    let constant = schema.get("const").is_none_or(|only| only == value);
    let types: Vec<&str> = match &schema["type"] {
        Value::Null => vec!["any"],
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        _ => true,
    };
    let bound = |key: &str, ok: fn(f64, f64) -> bool| match (schema[key].as_f64(), value.as_f64()) {
        (Some(limit), Some(value)) => ok(value, limit),
        _ => true,
    };
    let inside = bound("minimum", |v, l| v >= l)
        && bound("maximum", |v, l| v <= l)
        && bound("exclusiveMinimum", |v, l| v > l)
        && bound("exclusiveMaximum", |v, l| v < l);
    let matches = match (schema["pattern"].as_str(), value.as_str()) {
        (Some(pattern), Some(text)) => regex::Regex::new(pattern).unwrap().is_match(text),
        _ => true,
    };
    if !(one_of && exactly && listed && constant && types.iter().any(is) && inside && matches) {
        found.push(format!("{at}: {value}"));
    }
    if let Some(table) = value.as_object() {
        for needed in array("required").iter().filter_map(Value::as_str).filter(|key| !table.contains_key(*key)) {
            found.push(format!("{at}: no {needed}"));
        }
        for (name, inner) in table {
            let at = format!("{at}.{name}");
            match schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]) {
                Value::Bool(false) => found.push(format!("{at}: unknown key")),
                Value::Null => {}
                schema => found.extend(problems(root, schema, inner, &at)),
            }
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values.iter().for_each(|value| found.extend(problems(root, items, value, at)));
    }
    found
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root().join("probes")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.push(root().join("src/command/new/study.toml"));
    files
}

fn json_of(path: &Path) -> Value {
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn every_study_is_valid_and_unknown_keys_are_refused() {
    let files = files();
    assert!(files.len() > 10);
    for path in files {
        let schema = if Survey::is_one(&path) { schema::survey() } else { schema::study() };
        let mut value = json_of(&path);
        assert_eq!(problems(&schema, &schema, &value, ""), [""; 0], "{}", path.display());
        for table in ["", "/model", "/dataset", "/maximise"] {
            if let Some(inner) = value.pointer_mut(table).and_then(Value::as_object_mut) {
                inner.insert("nonsense".to_owned(), 1.into());
                let found = problems(&schema, &schema, &value, "");
                assert_eq!(found.len(), 1, "{}: {found:?}", path.display());
                value.pointer_mut(table).unwrap().as_object_mut().unwrap().remove("nonsense");
            }
        }
    }
}

/// A key at its default says nothing: the study is the one without it.
#[test]
fn defaults_are_those_of_the_types() {
    let schema = schema::study();
    let (plain, mut found) = (read(&full()).unwrap(), Vec::new());
    keys(&schema, &schema, "", &mut found);
    // An option's default may be null, which TOML has not.
    let default = |key: &'_ Value| key.get("default").filter(|value| !value.is_null()).cloned();
    for (path, key) in &found {
        if let Some(default) = &default(key) {
            assert_eq!(read(&with(path, default)).as_ref(), Ok(&plain), "{path} = {default}");
            assert_eq!(problems(&schema, key, default, path), [""; 0]);
        }
    }
    // Those without a default are required, or options.
    let without: Vec<&str> =
        found.iter().filter(|(_, key)| default(key).is_none()).map(|(path, _)| path.as_str()).collect();
    #[rustfmt::skip]
    let expected = [
        "dataset.count", "dataset.format", "dataset.group_until", "dataset.kinds", "dataset.root", "dataset.tile.size",
        "dataset.tile.stride", "dataset.world", "maximise.judge.head", "maximise.judge.labels", "maximise.judge.model",
        "maximise.judge.weights", "model.depth", "model.head", "model.input", "model.key", "model.labels", "model.name",
        "model.rename", "model.weights", "model.width", "name", "opinion.earlier", "probe.imported", "train.head_on",
        "train.held_out_source", "version",
    ];
    assert_eq!(without, expected);
}

/// What lies beyond a bound of the schema is refused by cavern too, with the key's name.
#[test]
fn bounds_are_those_of_the_checks() {
    let schema = schema::study();
    let mut found = Vec::new();
    keys(&schema, &schema, "", &mut found);
    let mut tried = 0;
    // The drawn pictures of `full` have no tiles.
    found.retain(|(path, _)| !path.starts_with("dataset.tile"));
    for (path, key) in found {
        let whole = key["type"] == "integer";
        let step = if whole { 1.0 } else { 0.01 };
        let number = |v: f64| if whole { json!(v as i64) } else { json!(v) };
        let limits = [("minimum", -step), ("exclusiveMinimum", 0.0), ("maximum", step), ("exclusiveMaximum", 0.0)];
        for (limit, beyond) in limits {
            let Some(limit) = key[limit].as_f64() else { continue };
            let beyond = number(limit + beyond);
            let read = read(&with(&path, &beyond));
            let message = read.err().unwrap_or_else(|| panic!("{path} = {beyond} is taken"));
            let name = path.rsplit('.').next().unwrap();
            // A count below zero is no number of its type.
            assert!(message.contains(name) || message.contains("invalid value"), "{path}: {message}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

/// Text of a form of its own: what cavern reads is what the pattern lets through, for these.
#[test]
fn forms_of_text_are_those_that_are_read() {
    let schema = schema::study();
    let forms = [
        ("probe.variants", vec!["full", "ti", "ti_max", "ti_lse", "ti_lse 4"], vec!["lse", "ti_lse x", "full 2"]),
        ("probe.image_score", vec!["mean", "max", "lse 4", "top 0.1"], vec!["median", "top", "lse x"]),
        ("score.views", vec!["hflip", "shift -14", "rotate ~15", "jpeg 75"], vec!["mirror", "shift far", "hflip 2"]),
        ("maximise.transforms", vec!["pad 12", "flip", "crop 0.05 0.5", "blur 1"], vec!["turn 3", "flip 2", "pad"]),
    ];
    let mut found = Vec::new();
    keys(&schema, &schema, "", &mut found);
    for (path, good, bad) in forms {
        let key = found.iter().find(|(p, _)| p == path).unwrap().1;
        let value = |text: &str| if path == "probe.image_score" { json!(text) } else { json!([text]) };
        for (texts, fine) in [(good, true), (bad, false)] {
            for text in texts {
                assert_eq!(read(&with(path, &value(text))).is_ok(), fine, "{path} = {text}");
                assert_eq!(problems(&schema, key, &value(text), path).is_empty(), fine, "{path} = {text}");
            }
        }
    }
    for (path, names) in [("score.views", ["few", "all"]), ("maximise.transforms", ["lucid", "none"])] {
        let key = found.iter().find(|(p, _)| p == path).unwrap().1;
        for name in names {
            assert!(read(&with(path, &json!(name))).is_ok(), "{path} = {name}");
            assert_eq!(problems(&schema, key, &json!(name), path), [""; 0]);
        }
        assert!(!problems(&schema, key, &json!("some"), path).is_empty());
    }
}
