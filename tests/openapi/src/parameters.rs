//! What the path, the query and the headers of a request say, against the parameters that an operation describes, and
//! the headers of an answer.

use http::{HeaderMap, Request};
use serde_json::{Value, json};

use crate::operation::Operation;
use crate::schema::{Direction, validator};

/// What is wrong with the parameters of a request.
pub(crate) fn check<B>(operation: &Operation<'_>, request: &Request<B>) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    let query: Vec<(String, String)> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let headers = request.headers();
    let mut wrong = Vec::new();
    let described = operation.parameters();
    for parameter in &described {
        let name = parameter["name"].as_str().unwrap_or_default();
        let values = match parameter["in"].as_str() {
            Some("path") => values_of(&operation.variables, name),
            Some("query") => values_of(&query, name),
            Some("header") => in_headers(headers, name),
            _ => continue,
        };
        let place = parameter["in"].as_str().unwrap_or_default();
        if values.is_empty() && parameter["required"] == true {
            wrong.push(format!("the {place} parameter {name} is missing"));
        }
        let errors = errors(operation, &parameter["schema"], &values, Direction::Request);
        wrong.extend(errors.map(|error| format!("the {place} parameter {name}: {error}")));
    }
    let is_described = |name: &str| {
        described.iter().any(|parameter| parameter["in"] == "query" && parameter["name"] == name)
    };
    for (name, _) in query.iter().filter(|(name, _)| !is_described(name)) {
        wrong.push(format!("the query parameter {name} is not described"));
    }
    if let Some(missing) = missing_credentials(operation, headers) {
        wrong.push(missing);
    }
    wrong
}

/// What is wrong with the headers of an answer, of which `described` is what the operation says. Others may come.
pub(crate) fn check_headers(
    operation: &Operation<'_>,
    described: &Value,
    headers: &HeaderMap,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let header = operation.description.resolved(header);
        let values = in_headers(headers, name);
        if values.is_empty() && header["required"] == true {
            wrong.push(format!("the header {name} of the answer is missing"));
        }
        let errors = errors(operation, &header["schema"], &values, Direction::Answer);
        wrong.extend(errors.map(|error| format!("the header {name} of the answer: {error}")));
    }
    wrong
}

/// What is wrong with the values of one parameter or header.
fn errors(
    operation: &Operation<'_>,
    schema: &Value,
    values: &[String],
    direction: Direction,
) -> impl Iterator<Item = String> + use<> {
    let described = operation.description.resolved(schema);
    let validator = validator(operation.description.document(), schema, direction);
    let wrong = |value: &String| -> Vec<String> {
        let value = typed(described, value);
        validator.iter_errors(&value).map(|error| error.masked().to_string()).collect()
    };
    values.iter().flat_map(wrong).collect::<Vec<_>>().into_iter()
}

fn values_of(pairs: &[(String, String)], name: &str) -> Vec<String> {
    pairs.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
}

fn in_headers(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// The text of a parameter as the value that its schema is about.
fn typed(schema: &Value, text: &str) -> Value {
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let is = |kind: &str| kinds.iter().any(|own| own == kind);
    let parsed = match () {
        () if is("integer") || is("number") => {
            text.parse::<serde_json::Number>().ok().map(Value::Number)
        }
        () if is("boolean") => text.parse::<bool>().ok().map(Value::Bool),
        () => None,
    };
    parsed.unwrap_or_else(|| json!(text))
}

/// What `security` asks for and the headers do not have: one of the alternatives, with all its schemes.
fn missing_credentials(operation: &Operation<'_>, headers: &HeaderMap) -> Option<String> {
    let alternatives = operation.security()?;
    let names = |alternative: &Value| -> Vec<String> {
        alternative.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let satisfied = alternatives
        .iter()
        .any(|alternative| names(alternative).iter().all(|name| has(operation, name, headers)));
    let wanted: Vec<String> = alternatives.iter().map(|one| names(one).join(" and ")).collect();
    (!satisfied && !alternatives.is_empty())
        .then(|| format!("it carries no credentials ({})", wanted.join(" or ")))
}

fn has(operation: &Operation<'_>, name: &str, headers: &HeaderMap) -> bool {
    let scheme = &operation.description.document()["components"]["securitySchemes"][name];
    let scheme = operation.description.resolved(scheme);
    let kind = scheme["type"].as_str().unwrap_or_default();
    let word = match (kind, scheme["scheme"].as_str()) {
        ("apiKey", _) => {
            let header = scheme["name"].as_str().filter(|_| scheme["in"] == "header");
            return header.is_some_and(|header| headers.contains_key(header));
        }
        ("http", Some(word)) => word,
        ("oauth2" | "openIdConnect", _) => "bearer",
        // Nothing that a header shows.
        _ => return false,
    };
    let given = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given
        .and_then(|given| given.split_once(' '))
        .is_some_and(|(own, rest)| own.eq_ignore_ascii_case(word) && !rest.is_empty())
}
