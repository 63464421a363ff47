//! A schema of an OpenAPI description as a JSON Schema of the version 2020-12.
//!
//! OpenAPI 3.1 is that already; 3.0 has its own words for some of it (OpenAPI 3.0.3, "Schema Object").

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

/// Whether something is sent to the server or comes from it: a `readOnly` member is never sent, and a `writeOnly` one
/// never comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    Request,
    Answer,
}

/// Where a schema stands: for a value of its own, or as one of several that a value has to agree with.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Whole,
    Part,
}

/// What says nothing about a value, or is said in another way in JSON Schema.
const LEFT_OUT: [&str; 11] = [
    "$schema",
    "description",
    "title",
    "nullable",
    "discriminator",
    "xml",
    "example",
    "examples",
    "externalDocs",
    "default",
    "deprecated",
];

/// A validator for one schema of a document. What the schema does not name is refused, unless it says otherwise or was
/// cut: a member that nobody describes is a mistake of whoever sends it.
pub(crate) fn validator(document: &Value, schema: &Value, direction: Direction) -> Validator {
    let converter = Converter { document, direction };
    let mut root = match converter.convert(schema, Place::Whole) {
        Value::Object(root) => root,
        boolean => Map::from_iter([("allOf".to_owned(), json!([boolean]))]),
    };
    let components = document["components"]["schemas"].as_object();
    let components: Map<String, Value> = components
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.clone(), converter.convert(schema, Place::Part)))
        .collect();
    root.insert("components".to_owned(), json!({ "schemas": components }));
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&Value::Object(root))
        .unwrap_or_else(|error| panic!("a schema of the description is none: {error}"))
}

struct Converter<'a> {
    document: &'a Value,
    direction: Direction,
}

impl Converter<'_> {
    fn convert(&self, schema: &Value, place: Place) -> Value {
        let Value::Object(schema) = schema else { return schema.clone() };
        let mut converted = Map::new();
        match schema.get("$ref") {
            // Beside a reference nothing counts in 3.0, and nothing that matters stands there in 3.1.
            Some(reference) => {
                converted.insert("$ref".to_owned(), reference.clone());
            }
            None => self.convert_words(schema, &mut converted),
        }
        if place == Place::Whole && self.is_closed(schema) {
            converted.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
        }
        match schema.get("nullable") {
            Some(Value::Bool(true)) => nullable(converted),
            _ => Value::Object(converted),
        }
    }

    fn convert_words(&self, schema: &Map<String, Value>, converted: &mut Map<String, Value>) {
        for (word, value) in schema {
            let value = match (word.as_str(), value) {
                (word, _) if LEFT_OUT.contains(&word) || word.starts_with("x-") => continue,
                ("readOnly" | "writeOnly", _) => continue,
                ("properties" | "patternProperties", Value::Object(members)) => {
                    Value::Object(self.members(members))
                }
                ("required", Value::Array(names)) => Value::Array(self.required(schema, names)),
                ("items", value) => self.convert(value, Place::Whole),
                // What was cut is not missing in the original.
                ("additionalProperties", Value::Bool(false))
                    if self.direction == Direction::Answer && is_cut(schema) =>
                {
                    continue;
                }
                ("additionalProperties", value) => self.convert(value, Place::Whole),
                ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => {
                    parts.iter().map(|part| self.convert(part, Place::Part)).collect()
                }
                ("not", value) => self.convert(value, Place::Part),
                // In 3.0 they say how `minimum` and `maximum` are meant.
                ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(_)) => continue,
                ("minimum", value) if schema.get("exclusiveMinimum") == Some(&json!(true)) => {
                    converted.insert("exclusiveMinimum".to_owned(), value.clone());
                    continue;
                }
                ("maximum", value) if schema.get("exclusiveMaximum") == Some(&json!(true)) => {
                    converted.insert("exclusiveMaximum".to_owned(), value.clone());
                    continue;
                }
                (_, value) => value.clone(),
            };
            converted.insert(word.clone(), value);
        }
    }

    fn members(&self, members: &Map<String, Value>) -> Map<String, Value> {
        let convert = |member: &Value| match self.goes_the_other_way(member) {
            true => Value::Bool(false),
            false => self.convert(member, Place::Whole),
        };
        members.iter().map(|(name, member)| (name.clone(), convert(member))).collect()
    }

    fn required(&self, schema: &Map<String, Value>, names: &[Value]) -> Vec<Value> {
        let other_way = |name: &Value| {
            let member = name.as_str().and_then(|name| schema.get("properties")?.get(name));
            member.is_some_and(|member| self.goes_the_other_way(member))
        };
        names.iter().filter(|name| !other_way(name)).cloned().collect()
    }

    fn goes_the_other_way(&self, member: &Value) -> bool {
        let word = match self.direction {
            Direction::Request => "readOnly",
            Direction::Answer => "writeOnly",
        };
        member[word] == true || self.target(member).is_some_and(|target| target[word] == true)
    }

    /// Whether it names members, and all of them.
    fn is_closed(&self, schema: &Map<String, Value>) -> bool {
        let mut names_members = false;
        let mut open = false;
        self.each_part(schema, &mut |part| {
            names_members |= part.contains_key("properties");
            open |= self.direction == Direction::Answer && is_cut(part);
        });
        names_members && !open && !schema.contains_key("additionalProperties")
    }

    /// The schema, what it refers to, and what it is put together of.
    fn each_part(&self, schema: &Map<String, Value>, see: &mut impl FnMut(&Map<String, Value>)) {
        see(schema);
        let parts = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|word| schema.get(word));
        let parts = parts.filter_map(Value::as_array).flatten();
        let target = schema.get("$ref").and_then(|_| self.resolve(schema.get("$ref")?));
        for part in parts.chain(target).filter_map(Value::as_object) {
            self.each_part(part, see);
        }
    }

    fn target(&self, schema: &Value) -> Option<&Value> {
        self.resolve(schema.get("$ref")?)
    }

    fn resolve(&self, reference: &Value) -> Option<&Value> {
        self.document.pointer(reference.as_str()?.strip_prefix('#')?)
    }
}

fn is_cut(schema: &Map<String, Value>) -> bool {
    schema.contains_key("x-trimmed")
}

fn nullable(mut schema: Map<String, Value>) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    match schema.get_mut("type") {
        Some(kind) => {
            *kind = json!([kind.take(), "null"]);
            Value::Object(schema)
        }
        None => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({ "components": { "schemas": {
            "Link": { "type": "object", "required": ["href"], "properties": { "href": { "type": "string" } } },
            "Named": { "allOf": [
                { "$ref": "#/components/schemas/Link" },
                { "type": "object", "properties": { "name": { "type": "string", "nullable": true } } },
            ] },
            "Cut": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "kept": { "type": "integer", "minimum": 0, "exclusiveMinimum": true } },
                "x-trimmed": "1 of 2 properties kept",
            },
            "Ways": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": { "type": "string", "readOnly": true },
                    "secret": { "type": "string", "writeOnly": true },
                    "free": { "type": "object" },
                },
            },
        } } })
    }

    fn takes(name: &str, direction: Direction, value: Value) -> bool {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        validator(&document(), &schema, direction).is_valid(&value)
    }

    #[test]
    fn a_member_that_is_not_described_is_refused_also_where_a_schema_is_put_together() {
        for direction in [Direction::Request, Direction::Answer] {
            let named = |value| takes("Named", direction, value);
            assert!(named(json!({ "href": "a", "name": "b" })));
            assert!(named(json!({ "href": "a", "name": null })));
            assert!(!named(json!({ "href": "a", "nam": "b" })));
            assert!(!named(json!({ "href": null })));
            assert!(!named(json!({ "name": "b" })), "href is required");
        }
    }

    #[test]
    fn what_was_cut_may_come_and_is_not_sent() {
        assert!(takes("Cut", Direction::Answer, json!({ "kept": 1, "cut": true })));
        assert!(!takes("Cut", Direction::Request, json!({ "kept": 1, "cut": true })));
        assert!(!takes("Cut", Direction::Answer, json!({ "kept": 0 })), "0 is excluded");
    }

    #[test]
    fn what_only_the_server_writes_is_not_sent_and_what_only_it_reads_does_not_come() {
        use Direction::{Answer, Request};
        assert!(takes("Ways", Request, json!({ "secret": "s", "free": { "any": 1 } })));
        assert!(!takes("Ways", Request, json!({ "id": "1" })));
        assert!(takes("Ways", Answer, json!({ "id": "1" })));
        assert!(!takes("Ways", Answer, json!({ "id": "1", "secret": "s" })));
        assert!(!takes("Ways", Answer, json!({})), "the id has to come");
    }
}
