//! The parameters in a request's body: read to see who signed it already, and replaced.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::request::Parts;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::wiped::Wiped;
use super::{Unsuitable, encode_into, encoded_length, is_json, media_type};

pub(super) const CLIENT_ID: &str = "client_id";
pub(super) const CLIENT_SECRET: &str = "client_secret";
pub(super) const CLIENT_ASSERTION: &str = "client_assertion";
pub(super) const CLIENT_ASSERTION_TYPE: &str = "client_assertion_type";

/// How the parameters are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Form,
    Json,
}

impl Format {
    /// What the head says about the body.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Unsuitable> {
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(Unsuitable::new("the body is compressed"));
        }
        match media_type(headers) {
            Some(form) if form.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                Ok(Self::Form)
            }
            Some(json) if is_json(json) => Ok(Self::Json),
            _ => Err(Unsuitable::new(
                "a secret in the body needs a Content-Type of application/x-www-form-urlencoded or \
                 application/json",
            )),
        }
    }

    /// What the parameters say about the client. A body that cannot be read says nothing.
    pub(super) fn carried(self, body: &[u8]) -> Carried {
        let mut carried = Carried::default();
        if !may_name_client(body) {
            return carried;
        }
        match self {
            Self::Form => {
                for segment in segments(body) {
                    carried.note(&form_name(segment));
                }
            }
            Self::Json => {
                if let Ok(Members(members)) = serde_json::from_slice(body) {
                    for (Name(name), _) in &members {
                        carried.note(name.as_bytes());
                    }
                }
            }
        }
        carried
    }

    /// Whether a parameter of this name has a value that is a text and that `test` is true of. One that
    /// is named twice has two values.
    pub(super) fn any(self, body: &[u8], name: &str, test: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Form => segments(body).any(|segment| {
                // Most other parameters are passed over by their first character.
                [name.as_bytes().first(), Some(&b'%')].contains(&segment.first())
                    && *form_name(segment) == *name.as_bytes()
                    && test(&form_value(segment))
            }),
            Self::Json => {
                let Ok(Members(members)) = serde_json::from_slice(body) else { return false };
                members.iter().filter(|(Name(key), _)| key == name).any(|(_, value)| {
                    serde_json::from_str(value.get()).is_ok_and(|Name(text)| test(&text))
                })
            }
        }
    }

    /// The body with these parameters, in this order at its end, in place of those of the same names.
    /// All others stay byte for byte and in their order. The new body is wiped when its last handle goes.
    pub(super) fn replace(self, body: &[u8], ours: &[(&str, &str)]) -> Result<Bytes, Unsuitable> {
        match self {
            Self::Form => Ok(form(body, ours).into_bytes()),
            Self::Json => Ok(json(body, ours)?.into_bytes()),
        }
    }
}

/// What a request says about the client that it comes from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Carried {
    pub(super) id: bool,
    pub(super) secret: bool,
    pub(super) assertion: bool,
}

impl Carried {
    pub(super) fn nothing(self) -> bool {
        self == Self::default()
    }

    fn note(&mut self, name: &[u8]) {
        self.id |= name == CLIENT_ID.as_bytes();
        self.secret |= name == CLIENT_SECRET.as_bytes();
        self.assertion |= name == CLIENT_ASSERTION.as_bytes();
    }
}

/// Refuses a request that signs in by its header. RFC 6749 section 2.3: "The client MUST NOT use more
/// than one authentication method in each request."
pub(super) fn refuse_header(head: &Parts) -> Result<(), Unsuitable> {
    if head.headers.contains_key(AUTHORIZATION) {
        return Err(Unsuitable::new(
            "the request has an Authorization header already, and two client authentication methods \
             in one request are an error (RFC 6749 section 2.3)",
        ));
    }
    Ok(())
}

/// Refuses a request that signs in by its query, where no credential belongs (RFC 6749 section 2.3.1).
pub(super) fn refuse_query(head: &Parts) -> Result<(), Unsuitable> {
    let Some(query) = head.uri.query() else { return Ok(()) };
    let carried = Format::Form.carried(query.as_bytes());
    if carried.secret || carried.assertion {
        return Err(Unsuitable::new(
            "the request has a client_secret or a client_assertion in its query already, and two \
             client authentication methods in one request are an error (RFC 6749 section 2.3)",
        ));
    }
    Ok(())
}

/// A request that signs in by a secret in its body.
pub(super) const SECRET_IN_BODY: Unsuitable = Unsuitable::new(
    "the request has a client_secret in its body already, and two client authentication methods in \
     one request are an error (RFC 6749 section 2.3)",
);

/// A request that signs in by an assertion in its body.
pub(super) const ASSERTION_IN_BODY: Unsuitable = Unsuitable::new(
    "the request has a client_assertion in its body already, and two client authentication methods in \
     one request are an error (RFC 6749 section 2.3)",
);

/// Whether a parameter of a form or of a JSON object may be one about the client. Where there is a doubt, it
/// may.
pub(super) fn may_name_client(body: &[u8]) -> bool {
    // Nearly all requests have none, and most of them nothing that looks like one from afar.
    const STEP: usize = 16;
    let far = (0..body.len()).step_by(STEP).any(|at| {
        let rest = &body[at..];
        match rest.first_chunk() {
            Some(window) => looks_like_client(window),
            None => {
                let mut window = [0; STEP + 4];
                window[..rest.len()].copy_from_slice(rest);
                looks_like_client(&window)
            }
        }
    });
    far && names_client(body)
}

/// Whether one of the first 16 places has `e_t_` of `client_` with a letter behind it that matters, or begins
/// an escape. Written so that the compiler looks at all places at once.
fn looks_like_client(window: &[u8; 20]) -> bool {
    let mut found = false;
    for at in 0..16 {
        let (first, next) = (window[at], window[at + 4]);
        found |= (first == b'%') | (first == b'\\');
        found |= (first == b'e')
            & (window[at + 2] == b't')
            & (window[at + 3] == b'_')
            & ((next == b'i') | (next == b's') | (next == b'a'));
    }
    found
}

/// One look at each byte.
fn names_client(body: &[u8]) -> bool {
    // `client_credentials` is the commonest grant type, so that this much of a name says nothing yet.
    fn begins_with_name(body: &[u8]) -> bool {
        body.strip_prefix(b"client_").is_some_and(|rest| matches!(rest, [b'i' | b's' | b'a', ..]))
    }
    let mut in_name = true;
    begins_with_name(body)
        || body.iter().enumerate().any(|(position, byte)| match byte {
            b'&' => {
                in_name = true;
                begins_with_name(&body[position + 1..])
            }
            b'=' => {
                in_name = false;
                false
            }
            b'"' => begins_with_name(&body[position + 1..]),
            // A name that is written with escapes, in a form or in JSON.
            b'%' => in_name,
            b'\\' => true,
            _ => false,
        })
}

fn name_of(segment: &[u8]) -> &[u8] {
    let end = segment.iter().position(|byte| *byte == b'=').unwrap_or(segment.len());
    &segment[..end]
}

fn segments(form: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    form.split(|byte| *byte == b'&').filter(|segment| !segment.is_empty())
}

/// The name in a segment, decoded as far as it matters: no name that is asked for has a space in it.
fn form_name(segment: &[u8]) -> Cow<'_, [u8]> {
    let name = name_of(segment);
    if !name.contains(&b'%') {
        return Cow::Borrowed(name);
    }
    let decoded = form_urlencoded::parse(name).next();
    Cow::Owned(decoded.map_or(Vec::new(), |(name, _)| name.into_owned().into_bytes()))
}

/// The value in a segment, decoded.
fn form_value(segment: &[u8]) -> Cow<'_, str> {
    let value = segment.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or_default();
    match std::str::from_utf8(value) {
        Ok(plain) if !plain.contains(['%', '+']) => Cow::Borrowed(plain),
        _ => form_urlencoded::parse(segment).next().map_or(Cow::Borrowed(""), |(_, value)| value),
    }
}

/// A form with parameters behind it, which it has not yet.
pub(super) fn append(form: &[u8], parameters: &[u8]) -> Wiped {
    let mut whole = Wiped::with_capacity(form.len() + 1 + parameters.len());
    whole.extend_from_slice(form);
    if !matches!(form, [] | [.., b'&']) {
        whole.push(b'&');
    }
    whole.extend_from_slice(parameters);
    whole
}

pub(super) fn form(body: &[u8], ours: &[(&str, &str)]) -> Wiped {
    // Segment by segment, so that what is kept needs no second encoding.
    let kept = segments(body).filter(|segment| {
        let name = form_name(segment);
        !ours.iter().any(|(ours, _)| *name == *ours.as_bytes())
    });
    let ours_length =
        |(name, value): &(&str, &str)| name.len() + encoded_length(value) + "&=".len();
    let length: usize = kept.clone().map(|segment| segment.len() + 1).sum::<usize>()
        + ours.iter().map(ours_length).sum::<usize>();
    let mut form = Wiped::with_capacity(length);
    for segment in kept {
        form.extend_from_slice(segment);
        form.push(b'&');
    }
    for (position, (name, value)) in ours.iter().enumerate() {
        if position > 0 {
            form.push(b'&');
        }
        form.extend_from_slice(name.as_bytes());
        form.push(b'=');
        encode_into(value, &mut form);
    }
    form
}

fn json(body: &[u8], ours: &[(&str, &str)]) -> Result<Wiped, Unsuitable> {
    let Members(mut members) = serde_json::from_slice(body)
        .map_err(|_| Unsuitable::new("the body has a JSON type but is not a JSON object"))?;
    members.retain(|(Name(name), _)| !ours.iter().any(|(ours, _)| name == ours));
    // A character takes at most six bytes, as \u00XX; quotes, colon and comma come to each member.
    let kept: usize =
        members.iter().map(|(Name(name), value)| 6 * name.len() + value.get().len() + 4).sum();
    let added: usize = ours.iter().map(|(name, value)| 6 * (name.len() + value.len()) + 6).sum();
    let mut json = Wiped::with_capacity(kept + added + 2);
    json.push(b'{');
    for (Name(name), value) in &members {
        string(&mut json, name)?;
        json.push(b':');
        json.extend_from_slice(value.get().as_bytes());
        json.push(b',');
    }
    for (position, (name, value)) in ours.iter().enumerate() {
        if position > 0 {
            json.push(b',');
        }
        string(&mut json, name)?;
        json.push(b':');
        string(&mut json, value)?;
    }
    json.push(b'}');
    Ok(json)
}

fn string(json: &mut Vec<u8>, text: &str) -> Result<(), Unsuitable> {
    serde_json::to_writer(json, text)
        .map_err(|_| Unsuitable::new("a parameter cannot be written as JSON"))
}

/// The members of a JSON object: values as they are written, in their order, also numbers that no Rust
/// type holds.
struct Members<'a>(Vec<(Name<'a>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Name<'de>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name as it is, and with each of its characters escaped.
    fn spellings(name: &str, escape: impl Fn(u8) -> String) -> Vec<String> {
        let escaped = |at: usize| {
            format!("{}{}{}", &name[..at], escape(name.as_bytes()[at]), &name[at + 1..])
        };
        (0..name.len()).map(escaped).chain([name.to_owned()]).collect()
    }

    #[test]
    fn a_parameter_about_the_client_is_found_in_any_place_and_spelling() {
        let all = [
            (CLIENT_ID, Carried { id: true, ..Carried::default() }),
            (CLIENT_SECRET, Carried { secret: true, ..Carried::default() }),
            (CLIENT_ASSERTION, Carried { assertion: true, ..Carried::default() }),
        ];
        for (name, expected) in all {
            for spelling in spellings(name, |byte| format!("%{byte:02x}")) {
                for form in [
                    format!("{spelling}=x"),
                    spelling.clone(),
                    format!("&&a=b&{spelling}=x&c=d"),
                    format!("a=%3D=&{spelling}="),
                ] {
                    assert_eq!(Format::Form.carried(form.as_bytes()), expected, "{form}");
                }
            }
            for spelling in spellings(name, |byte| format!("\\u{byte:04X}")) {
                for json in [
                    format!(r#"{{"{spelling}":1}}"#),
                    format!(r#"{{ "a" : "=&" , "{spelling}" : null, "b": [] }}"#),
                ] {
                    assert_eq!(Format::Json.carried(json.as_bytes()), expected, "{json}");
                }
            }
        }
    }

    #[test]
    fn a_usual_request_is_known_at_a_glance_to_say_nothing_about_the_client() {
        for body in [
            "",
            "grant_type=client_credentials&audience=https%3A%2F%2Fapi.example%2F&scope=a+b",
            r#"{"grant_type":"client_credentials","audience":"https://api.example/"}"#,
            "grant_type=authorization_code&code=a%2Fb&redirect_uri=https%3A%2F%2Fclient_id",
        ] {
            assert!(!may_name_client(body.as_bytes()), "{body}");
        }
    }
}
