//! The members of an answer that may say something about the secret, out of JSON or a form.

use std::borrow::Cow;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::credential::{essence, is_json};

/// What the head says about the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Media {
    /// JSON, as RFC 6749 section 5.2 has it.
    Json,
    /// A form: GitHub answers so when it was not asked for JSON.
    Form,
    /// It may hold an error that cannot be read here: XML, or any type with a content encoding.
    Sealed,
    /// No OAuth answer is of this type.
    Foreign,
}

impl Media {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let identity =
            |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
        if headers.contains_key(CONTENT_ENCODING)
            && !headers.get_all(CONTENT_ENCODING).iter().all(identity)
        {
            return Self::Sealed;
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(first), second) = (types.next(), types.next()) else { return Self::Foreign };
        // Two types, of which only one can be right.
        if second.is_some() {
            return Self::Sealed;
        }
        match essence(first) {
            Some(name) if is_json(name) => Self::Json,
            Some(name) if name.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                Self::Form
            }
            Some(name) if is_xml(name) => Self::Sealed,
            _ => Self::Foreign,
        }
    }
}

fn is_xml(name: &str) -> bool {
    let end = name.len().checked_sub(4).and_then(|start| name.get(start..));
    end.is_some_and(|end| ["/xml", "+xml"].iter().any(|xml| end.eq_ignore_ascii_case(xml)))
}

/// An answer as all profiles see it.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    error: Option<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    /// FusionAuth's `error_reason`.
    reason: Option<Cow<'a, str>>,
    /// Entra's `error_codes`; empty where they cannot be read.
    codes: Option<Vec<u64>>,
    /// Slack's `ok`.
    pub(super) ok: Option<bool>,
    /// It holds an access token.
    pub(super) has_token: bool,
}

impl<'a> Answer<'a> {
    /// `None` where the body is no answer: it is cut off, is no object, names a member twice, or gives
    /// one another type.
    pub(super) fn read(status: StatusCode, media: Media, body: &'a [u8]) -> Option<Self> {
        match media {
            Media::Json => Self::from_json(status, body),
            Media::Form => Self::from_form(status, body),
            Media::Sealed | Media::Foreign => None,
        }
    }

    fn from_json(status: StatusCode, body: &'a [u8]) -> Option<Self> {
        // An array would be read as the members in their order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let members: Members<'a> = serde_json::from_slice(body).ok()?;
        let text = |member: Option<&'a RawValue>| match member {
            Some(raw) => serde_json::from_str::<Text<'a>>(raw.get()).ok().map(|text| Some(text.0)),
            None => Some(None),
        };
        Some(Self {
            status,
            error: text(members.error)?,
            description: text(members.error_description)?,
            reason: text(members.error_reason)?,
            codes: members
                .error_codes
                .map(|raw| serde_json::from_str(raw.get()).unwrap_or_default()),
            ok: members.ok.and_then(|raw| serde_json::from_str(raw.get()).ok()),
            has_token: members.access_token.is_some_and(|raw| raw.get() != "\"\""),
        })
    }

    fn from_form(status: StatusCode, body: &'a [u8]) -> Option<Self> {
        let (mut error, mut description, mut reason) = (None, None, None);
        let (mut codes, mut ok, mut token) = (None, None, None);
        for (name, value) in form_urlencoded::parse(body) {
            let slot = match &*name {
                "error" => &mut error,
                "error_description" => &mut description,
                "error_reason" => &mut reason,
                "error_codes" => &mut codes,
                "ok" => &mut ok,
                "access_token" => &mut token,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Some(Self {
            status,
            error,
            description,
            reason,
            codes: codes.map(|codes| codes.parse().into_iter().collect()),
            ok: ok.and_then(|ok| ok.parse().ok()),
            has_token: token.is_some_and(|token| !token.is_empty()),
        })
    }

    /// The error code; an empty one is none.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref().filter(|error| !error.is_empty())
    }

    /// The error description, empty where there is none.
    pub(super) fn description(&self) -> &str {
        self.description.as_deref().unwrap_or_default()
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(super) fn codes(&self) -> Option<&[u64]> {
        self.codes.as_deref()
    }

    /// Whether the status is one of the two that RFC 6749 section 5.2 has for errors.
    pub(super) fn is_error_status(&self) -> bool {
        matches!(self.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)
    }

    /// `invalid_client` with one of these two.
    pub(super) fn is_invalid_client(&self) -> bool {
        self.is_error_status() && self.error() == Some("invalid_client")
    }

    pub(super) fn describes(&self, any_of: &[&str]) -> bool {
        any_of.iter().any(|text| self.description().contains(text))
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    error_description: Option<&'a RawValue>,
    #[serde(borrow)]
    error_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    error_codes: Option<&'a RawValue>,
    #[serde(borrow)]
    ok: Option<&'a RawValue>,
    #[serde(borrow)]
    access_token: Option<&'a RawValue>,
}

/// Borrowed where no escape is in it, which a bare `Cow` never is.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
