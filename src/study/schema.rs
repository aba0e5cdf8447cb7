//! JSON schemas of study and survey files, from the types: what editors complete and check against, and what the study
//! reference of the book is made of.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::{Study, Survey};

/// The schema of study files, those for `cavern train` among them. Draft 7 of JSON Schema, which editors of TOML know.
pub fn study() -> Value {
    of::<Study>()
}

/// The schema of survey files.
pub fn survey() -> Value {
    of::<Survey>()
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(tidy));
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Leaves out what TOML has not (null), what no editor knows (`uint`), and what repeats itself (whole tables of defaults);
/// comments become sentences on one line.
fn tidy(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("format");
    if object.get("default").is_some_and(|d| d.is_object() || d.is_null()) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|c| c["type"] != "null");
        if let [only] = choices.as_slice() {
            let only = vec![only.clone()];
            object.remove("anyOf");
            object.insert("allOf".to_owned(), only.into());
        }
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = plain(text);
    }
}

/// A documentation comment without its line breaks and rustdoc's escapes.
fn plain(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n").replace("\\[", "[").replace("\\]", "]")
}
