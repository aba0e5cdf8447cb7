//! The study reference: a page made of the schema, so that it says what the types say.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Tables of a study in the order in which they are worked through.
const TABLES: [&str; 14] = [
    "dataset",
    "split",
    "model",
    "activation",
    "probe",
    "score",
    "localise",
    "compare",
    "variance",
    "maximise",
    "tcav",
    "opinion",
    "consistency",
    "train",
];

const HEAD: &str = "<!-- Made from the types by `just reference`; do not edit. -->\n\n\
# The study file\n\n\
Every key that a study file may have: its type, what it is where it is left out, which values are allowed, and what it means.\n\
Unknown keys are refused. `cavern validate STUDY` checks a file, `--set table.key=value` changes a key for one run. An editor\n\
checks while you type if the file's first line names the schema: `cavern new schema` writes `study.schema.json`, and\n\
`#:schema ./study.schema.json` is the line (the extension Even Better TOML of VS Code reads it, and so does the checker taplo).\n\
A study that `cavern new study` writes beside a schema has it. The schema is also [docs/study.schema.json](study.schema.json).\n\n\
*Required* keys have no default. A dash is a key that may be left out: what happens then, its meaning says.\n";

const SURVEY: &str = "# The survey file\n\n\
What `cavern survey` reads ([maximisation](maximisation.md#across-networks)); its schema is\n\
[docs/survey.schema.json](survey.schema.json), or `cavern new schema survey.schema.json --survey`. Its tables `maximise`,\n\
`data.NAME.dataset` and `network.NAME.model` have the keys of a study's.\n";

/// The page of both kinds of file.
pub(crate) fn page(study: &Value, survey: &Value) -> String {
    let mut page = HEAD.to_owned();
    let writer = Writer { root: study };
    page.push_str("\n## The file itself\n\n");
    writer.rows(&mut page, study, "");
    let found = writer.tables(study);
    let mut named: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    named.sort_by_key(|name| TABLES.iter().position(|t| t == name));
    for name in named {
        writer.section(&mut page, study, "", name);
    }
    page.push('\n');
    page.push_str(SURVEY);
    let writer = Writer { root: survey };
    page.push_str("\n## The survey itself\n\n");
    writer.rows(&mut page, survey, "");
    for name in ["data", "network"] {
        let entry = writer.resolved(&survey["properties"][name]["additionalProperties"]);
        let _ = writeln!(page, "\n## `[{name}.NAME]` of a survey\n\n{}\n", text(entry));
        writer.rows(&mut page, entry, "");
    }
    writer.section(&mut page, survey, "", "attack");
    page
}

struct Writer<'s> {
    root: &'s Value,
}

impl<'s> Writer<'s> {
    /// What a schema refers to, or itself.
    fn resolved(&self, schema: &'s Value) -> &'s Value {
        let inner = schema["allOf"].get(0).unwrap_or(schema);
        match inner["$ref"].as_str().and_then(|r| r.strip_prefix("#/definitions/")) {
            Some(name) => &self.root["definitions"][name],
            None => inner,
        }
    }

    /// Keys of a table that are tables with keys of their own.
    fn tables(&self, table: &'s Value) -> Vec<(String, &'s Value)> {
        let all = keys(table).iter().map(|(name, key)| (name.clone(), self.resolved(key)));
        all.filter(|(_, table)| !table["properties"].is_null()).collect()
    }

    fn section(&self, page: &mut String, parent: &'s Value, path: &str, name: &str) {
        let key = &parent["properties"][name];
        let table = self.resolved(key);
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let _ = writeln!(page, "\n## `[{path}]`\n\n{}\n", text(key));
        self.rows(page, table, &path);
        for (inner, _) in self.tables(table) {
            self.section(page, table, &path, &inner);
        }
    }

    fn rows(&self, page: &mut String, table: &'s Value, path: &str) {
        page.push_str("| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n");
        for (name, key) in keys(table) {
            let resolved = self.resolved(key);
            let is_table = !resolved["properties"].is_null();
            let of_survey = self.root["title"] == "Survey" && is_table && name != "attack";
            let kind = if is_table && !of_survey {
                let anchor = format!("{path}{name}").replace('.', "");
                format!("[table](#{anchor})")
            } else {
                self.kind(key)
            };
            let required = table["required"].as_array().is_some_and(|r| r.iter().any(|r| r == name));
            let default = match &key["default"] {
                _ if required => "required".to_owned(),
                Value::Null => "–".to_owned(),
                value => format!("`{}`", toml(value)),
            };
            let meaning = format!("{}{}", text(key), self.choices(key));
            let cells = [format!("`{name}`"), kind, default, self.allowed(key), meaning];
            let _ = writeln!(page, "| {} |", cells.map(|c| c.replace('|', "\\|").replace('\n', " ")).join(" | "));
        }
    }

    fn kind(&self, key: &'s Value) -> String {
        let schema = self.resolved(key);
        if schema["oneOf"].is_array() {
            return "word".to_owned();
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let kinds: Vec<String> = choices.iter().map(|c| self.kind(c)).collect();
            return kinds.join(" or ");
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        let word = |kind: &&str| match *kind {
            "array" => format!("list of {}", self.kind(&schema["items"])),
            "object" => "table".to_owned(),
            "string" => "text".to_owned(),
            other => other.to_owned(),
        };
        types.iter().map(word).collect::<Vec<_>>().join(" or ")
    }

    /// The range of a number, or the words of a list.
    fn allowed(&self, key: &'s Value) -> String {
        let schema = self.resolved(key);
        if let Some(only) = schema.get("const") {
            return format!("`{}`", toml(only));
        }
        let number = |name: &str| key.get(name).or(schema.get(name)).map(toml);
        let low = number("minimum").map(|v| format!("from {v}"));
        let low = low.or(number("exclusiveMinimum").map(|v| format!("above {v}")));
        let high = number("maximum").map(|v| format!("to {v}"));
        let high = high.or(number("exclusiveMaximum").map(|v| format!("below {v}")));
        let range: Vec<String> = [low, high].into_iter().flatten().collect();
        let words = schema["items"]["enum"].as_array().into_iter().flatten().map(|w| format!("`{}`", toml(w)));
        range.into_iter().chain([words.collect::<Vec<_>>().join(", ")]).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// What the words of a choice mean, and the forms of text.
    fn choices(&self, key: &'s Value) -> String {
        let mut found = String::new();
        let items = self.resolved(&self.resolved(key)["items"]);
        let inner = self.resolved(key)["anyOf"].as_array().into_iter().flatten().map(|c| self.resolved(c));
        let within = inner.clone().map(|c| self.resolved(&c["items"]));
        for schema in [self.resolved(key), items].into_iter().chain(inner).chain(within) {
            for choice in schema["oneOf"].as_array().into_iter().flatten() {
                let _ = write!(found, "<br>`{}`: {}", toml(&choice["const"]), text(choice));
            }
            if schema["pattern"].is_string() && !std::ptr::eq(schema, key) {
                let _ = write!(found, "<br>{}", text(schema));
            }
        }
        found
    }
}

fn keys(table: &Value) -> &Map<String, Value> {
    table["properties"].as_object().unwrap()
}

fn text(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// A JSON value as TOML writes it.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
