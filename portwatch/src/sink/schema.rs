//! The contract as types of a whole line, for reading back and for the JSON Schema.

use crate::report::{
    Assign, Body, Conflict, Lost, Refused, Release, Resolved, SCHEMA, Start, Summary,
};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One line of the output, read back. Unknown fields are errors, also those that a capture's reader
/// skips.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub struct Record {
    /// Name and version of the contract.
    pub schema: String,
    /// When it happened.
    pub time: String,
    /// Number of the line.
    pub seq: u64,
    /// Where.
    pub host: String,
    /// Which run, where several are replayed together.
    pub run: Option<String>,
    /// What.
    pub body: Body,
}

#[derive(Deserialize)]
struct Line {
    schema: String,
    time: String,
    seq: u64,
    host: String,
    #[serde(default)]
    run: Option<String>,
    #[serde(flatten)]
    body: Body,
}

impl TryFrom<Value> for Record {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let Line {
            schema,
            time,
            seq,
            host,
            run,
            body,
        } = Line::deserialize(&value).map_err(|error| error.to_string())?;
        let mut told = serde_json::to_value(&body).map_err(|error| error.to_string())?;
        for name in ["schema", "time", "seq", "host", "run"] {
            told[name] = Value::Null;
        }
        match surprise(&value, &told) {
            Some(name) => Err(format!("unknown field `{name}`")),
            None => Ok(Self {
                schema,
                time,
                seq,
                host,
                run,
                body,
            }),
        }
    }
}

/// A field of `line` that was not taken into `told`.
fn surprise<'a>(line: &'a Value, told: &Value) -> Option<&'a str> {
    match (line, told) {
        (Value::Object(line), Value::Object(told)) => {
            line.iter().find_map(|(name, value)| match told.get(name) {
                Some(told) => surprise(value, told),
                None => Some(name.as_str()),
            })
        }
        (Value::Array(line), Value::Array(told)) => {
            let mut pairs = line.iter().zip(told);
            pairs.find_map(|(value, told)| surprise(value, told))
        }
        _ => None,
    }
}

/// The JSON Schema (2020-12) of a line. Open to fields it does not know, because later programs may
/// add some within version 1.
#[must_use]
pub fn json_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let kinds: Vec<Value> = vec![
        kind::<Start>(&mut generator, "start"),
        kind::<Conflict>(&mut generator, "conflict"),
        kind::<Resolved>(&mut generator, "resolved"),
        kind::<Refused>(&mut generator, "refused"),
        kind::<Assign>(&mut generator, "assign"),
        kind::<Release>(&mut generator, "release"),
        kind::<Lost>(&mut generator, "lost"),
        kind::<Summary>(&mut generator, "summary"),
    ];
    let mut definitions = Value::Object(generator.take_definitions(true));
    open(&mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:portwatch:events:1",
        "title": "portwatch event, version 1",
        "description": "One line of `portwatch --format json`. Fields may be added within version 1; \
                        none is renamed, retyped or dropped.",
        "oneOf": kinds,
        "$defs": definitions,
    })
}

/// The line of type `name`: the envelope's properties, then those of `T`.
fn kind<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str) -> Value {
    let mut schema = T::json_schema(generator).to_value();
    open(&mut schema);
    let envelope = [
        ("schema", json!({"const": SCHEMA})),
        ("type", json!({"const": name})),
        (
            "time",
            json!({"type": "string", "format": "date-time",
                        "description": "When it happened, UTC, nanoseconds."}),
        ),
        (
            "seq",
            json!({"type": "integer", "minimum": 0,
                       "description": "Number of the line in this output."}),
        ),
        (
            "host",
            json!({"type": "string", "description": "Host name."}),
        ),
    ];
    let mut required: Vec<Value> = envelope.iter().map(|(name, _)| json!(name)).collect();
    let run = json!({"type": "string", "description":
                     "The capture's run, where several are replayed together."});
    let mut properties: Map<String, Value> = envelope
        .into_iter()
        .chain([("run", run)])
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    if let Some(Value::Object(own)) = schema.get_mut("properties").map(Value::take) {
        properties.extend(own);
    }
    if let Some(Value::Array(own)) = schema.get_mut("required").map(Value::take) {
        required.extend(own);
    }
    schema["title"] = json!(name);
    schema["properties"] = Value::Object(properties);
    schema["required"] = Value::Array(required);
    schema
}

/// Removes every `additionalProperties: false`: it is for the tests that read lines back.
fn open(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
                fields.remove("additionalProperties");
            }
            fields.values_mut().for_each(open);
        }
        Value::Array(items) => items.iter_mut().for_each(open),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_the_envelope_first() {
        let schema = json_schema();
        let kinds = schema["oneOf"].as_array().unwrap();
        assert_eq!(kinds.len(), 8);
        for kind in kinds {
            let names: Vec<_> = kind["properties"]
                .as_object()
                .unwrap()
                .keys()
                .take(5)
                .collect();
            assert_eq!(names, ["schema", "type", "time", "seq", "host"]);
            assert!(kind["required"].as_array().unwrap().len() >= 5);
        }
        assert!(!schema.to_string().contains("additionalProperties\":false"));
    }

    #[test]
    fn every_reference_is_defined() {
        fn check(value: &Value, definitions: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(name)) = fields.get("$ref") {
                        let name = name.strip_prefix("#/$defs/").unwrap();
                        assert!(definitions.get(name).is_some(), "{name}");
                    }
                    fields.values().for_each(|value| check(value, definitions));
                }
                Value::Array(items) => items.iter().for_each(|value| check(value, definitions)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let schema = json_schema();
        check(&schema, &schema["$defs"]);
    }
}
