//! One OpenAPI description: its operations by method and path.

use http::Method;
use serde_json::{Map, Value};

use crate::operation::Operation;

/// A parsed description.
pub(crate) struct Description {
    document: Value,
    /// The path of the first server, whose variables stand for any segment.
    base: String,
}

impl Description {
    /// Reads a description in JSON.
    pub(crate) fn parse(text: &str) -> Self {
        let document: Value = serde_json::from_str(text).expect("a description is JSON");
        let url = document["servers"][0]["url"].as_str().unwrap_or_default();
        let path = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest.find('/').map_or("", |slash| &rest[slash..]));
        let base = path.trim_end_matches('/').to_owned();
        Self { document, base }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// The operation that a request to this path is for. Where several templates fit, the one with the most literal
    /// segments counts (OpenAPI 3.0.3, "Path Templating Matching").
    pub(crate) fn operation(&self, method: &Method, path: &str) -> Option<Operation<'_>> {
        let word = method.as_str().to_ascii_lowercase();
        let paths = self.document["paths"].as_object()?;
        let fitting = paths.iter().filter_map(|(template, item)| {
            let operation = item.get(&word)?;
            let template = format!("{}{template}", self.base);
            let variables = fit(&template, path)?;
            Some((template, variables, item, operation))
        });
        let (template, variables, item, operation) =
            fitting.min_by_key(|(_, variables, ..)| variables.len())?;
        Some(Operation {
            description: self,
            method: method.clone(),
            template,
            variables,
            item,
            operation,
        })
    }

    /// All operations, without a request.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        paths.flat_map(move |(template, item)| {
            let operations = item.as_object().into_iter().flatten();
            let operations = operations.filter(|(word, _)| is_method(word));
            operations.filter_map(move |(word, operation)| {
                let method = word.to_ascii_uppercase().parse().ok()?;
                let template = format!("{}{template}", self.base);
                let variables = Vec::new();
                Some(Operation { description: self, method, template, variables, item, operation })
            })
        })
    }

    /// Every path with the methods that it takes, for an error.
    pub(crate) fn known_paths(&self) -> impl Iterator<Item = String> + '_ {
        let paths = self.document["paths"].as_object();
        paths.into_iter().flatten().map(|(template, item)| {
            let methods = item.as_object().into_iter().flat_map(Map::keys);
            let methods =
                methods.filter(|word| is_method(word)).map(|word| word.to_ascii_uppercase());
            format!("{} {}{template}", methods.collect::<Vec<_>>().join("/"), self.base)
        })
    }

    /// What a `$ref` stands for, or the value itself.
    pub(crate) fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value.get("$ref").and_then(Value::as_str);
        match reference.and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self
                .document
                .pointer(pointer)
                .unwrap_or_else(|| panic!("the description has no {pointer}")),
            None => value,
        }
    }
}

fn is_method(word: &str) -> bool {
    matches!(word, "get" | "put" | "post" | "delete" | "options" | "head" | "patch" | "trace")
}

/// The values of a template's variables in this path, each decoded.
fn fit(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    let mut variables = Vec::new();
    loop {
        match (template.next(), path.next()) {
            (None, None) => return Some(variables),
            (Some(expected), Some(found)) => match variable(expected) {
                Some((before, name, after)) => {
                    let value = found.strip_prefix(before)?.strip_suffix(after)?;
                    if value.is_empty() {
                        return None;
                    }
                    variables.push((name.to_owned(), decoded(value)));
                }
                None if expected == found => {}
                None => return None,
            },
            _ => return None,
        }
    }
}

/// The variable of a segment, and what stands around it: Microsoft Graph has `applications(appId='{appId}')`.
fn variable(segment: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = segment.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// A path segment without its percent-encoding.
fn decoded(segment: &str) -> String {
    // A plus is itself in a path (RFC 3986 section 3.3), and a space in a form.
    let form = segment.replace('+', "%2B");
    let mut pairs = form_urlencoded::parse(form.as_bytes());
    pairs.next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description::parse(
            r#"{
                "servers": [{ "url": "https://{host}/t/{tenant}/api" }],
                "paths": {
                    "/clients/{id}": { "get": { "operationId": "read" } },
                    "/clients/mine": { "get": { "operationId": "mine" } },
                    "/clients(name='{name}')": { "get": { "operationId": "named" } }
                }
            }"#,
        )
    }

    fn found(path: &str) -> Option<String> {
        let description = description();
        description.operation(&Method::GET, path).map(|operation| operation.id())
    }

    #[test]
    fn an_operation_is_found_by_its_template_and_the_most_literal_one_counts() {
        assert_eq!(found("/t/carbon.super/api/clients/7").as_deref(), Some("read"));
        assert_eq!(found("/t/carbon.super/api/clients/mine").as_deref(), Some("mine"));
        assert_eq!(found("/t/x/api/clients(name='b')").as_deref(), Some("named"));
        for path in [
            "/clients/7",
            "/t/x/api/clients/",
            "/t/x/api/clients/7/more",
            "/t/x/api/client/7",
            "/t/x/api/clients(name='')",
            "/t/x/api/clients(id='b')",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
        let description = description();
        assert!(description.operation(&Method::PUT, "/t/x/api/clients/7").is_none());
        let operation = description.operation(&Method::GET, "/t/x/api/clients/a%20b+c").unwrap();
        assert_eq!(operation.variables[1], ("id".to_owned(), "a b+c".to_owned()));
    }
}
