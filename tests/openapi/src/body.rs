//! The body of a request or of an answer against the content that an operation describes.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::operation::Operation;
use crate::schema::{Direction, validator};

/// A body as it was sent.
pub(crate) struct Body<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) bytes: &'a [u8],
    /// Parameters of a form that are right although they are not described.
    pub(crate) also_takes: &'a [&'a str],
}

/// What is wrong with a body. `content` is by media type; null if there is none.
pub(crate) fn check(
    operation: &Operation<'_>,
    content: &Value,
    body: &Body<'_>,
    direction: Direction,
) -> Vec<String> {
    let what = match direction {
        Direction::Request => "the body of the request",
        Direction::Answer => "the body of the answer",
    };
    let media_type = body.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    let described = content.as_object().into_iter().flatten();
    let Some((_, media)) = described.clone().find(|(own, _)| own.as_str() == media_type) else {
        let expected: Vec<&str> = described.map(|(own, _)| own.as_str()).collect();
        return vec![format!("{what} is {media_type:?}, where {expected:?} is described")];
    };
    let Some(schema) = media.get("schema") else { return Vec::new() };
    let value = match media_type.as_str() {
        "application/x-www-form-urlencoded" => form(body),
        _ => match serde_json::from_slice(body.bytes) {
            Ok(value) => value,
            // The text of the error may repeat a value.
            Err(_) => return vec![format!("{what} is not JSON")],
        },
    };
    let validator = validator(operation.description.document(), schema, direction);
    let errors = validator.iter_errors(&value);
    errors
        .map(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
            format!("{what}{place}: {}", error.masked())
        })
        .collect()
}

fn form(body: &Body<'_>) -> Value {
    let pairs = form_urlencoded::parse(body.bytes).into_owned();
    let pairs = pairs.filter(|(name, _)| !body.also_takes.contains(&name.as_str()));
    Value::Object(pairs.map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>())
}
