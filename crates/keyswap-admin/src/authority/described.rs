//! What a server would be asked, written down in place of being sent.
//!
//! The requests of a plan are made by the very code that a rotation sends them with: within
//! [`written_down`] a request that may change something is kept instead of sent, so what is shown and what is sent
//! cannot come apart. Questions are sent all the same, since what follows may depend on their answers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt;
use keyswap_core::{Secret, SecretId};
use serde::Serialize;
use serde_json::Value;

use super::{Authority, NewSecret, SlotId};

/// Something that a rotation asks of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Asked<'a> {
    /// A token request that proves this secret.
    Probe(&'a Secret),
    /// Which secret it holds.
    ReadBack,
    /// Which secrets it has for the client, among them these.
    List(&'a [Secret]),
    /// To take this secret in place of the one that it has.
    Set(&'a Secret),
    /// To add this secret.
    Add(&'a NewSecret),
    /// To choose another one, which goes by this id, in place of the one that it has.
    Regenerate(&'a SecretId),
    /// To put one of the client's secrets into force, or to take it out of force.
    SetActive(&'a SlotId, bool),
    /// To remove one of the client's secrets, beside this one that stays.
    Remove(&'a SlotId, Option<&'a Secret>),
}

/// A request, as an authority would send it. It holds no secret of the client, and no header: the credentials of
/// management requests are in these.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Request {
    /// The method of HTTP; `RUN` where a program is run.
    pub method: String,
    /// The address; the program, where one is run.
    pub to: String,
    /// The body, if there is one; what the program gets on its standard input, where one is run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: impl Into<String>, to: impl Into<String>) -> Self {
        Self { method: method.into(), to: to.into(), body: None }
    }

    /// With a body. It must hold no secret.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }
}

/// The method, the address and the body.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.to)?;
        self.body.iter().try_for_each(|body| write!(f, " {body}"))
    }
}

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<Request>>>);

tokio::task_local! {
    static BOOK: Book;
    /// That what is sent only asks.
    static ASKING: ();
}

/// What an authority would be asked with, whose requests all go through `http::send` and
/// [`ProbeRequest`](super::ProbeRequest).
pub(super) async fn written_down<A: Authority>(authority: &A, asked: &Asked<'_>) -> Vec<Request> {
    let book = Book::default();
    // No answer to what was not sent is of use.
    let act = async {
        match *asked {
            Asked::Probe(secret) => drop(authority.probe(secret).await),
            Asked::ReadBack => drop(authority.read_back(&[]).await),
            Asked::List(known) => drop(authority.slots(known).await),
            Asked::Set(secret) => drop(authority.set_secret(secret).await),
            Asked::Add(new) => drop(authority.add_secret(new).await),
            Asked::Regenerate(id) => drop(authority.regenerate_secret(id).await),
            Asked::SetActive(slot, active) => drop(authority.set_active(slot, active).await),
            Asked::Remove(slot, Some(stays)) => {
                drop(authority.remove_secret_beside(slot, stays).await);
            }
            Asked::Remove(slot, None) => drop(authority.remove_secret(slot).await),
        }
    };
    BOOK.scope(book.clone(), act).await;
    std::mem::take(&mut *book.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Does this, which only asks and is sent in any case.
pub(super) async fn asking<T>(question: impl Future<Output = T>) -> T {
    ASKING.scope((), question).await
}

/// The request, if it is to be sent; it is written down where that is done.
pub(super) async fn unless_written_down(request: reqwest::Request) -> Option<reqwest::Request> {
    let Ok(book) = BOOK.try_with(Book::clone) else { return Some(request) };
    let only_asks = ASKING.try_with(|()| ()).is_ok();
    let mut seen = Request::new(request.method().as_str(), request.url().as_str());
    let sent = if only_asks {
        seen.body = request.body().and_then(reqwest::Body::as_bytes).and_then(shown);
        Some(request)
    } else {
        let body = http::Request::try_from(request).ok();
        let body = match body.map(|whole| whole.into_body().collect()) {
            Some(whole) => whole.await.ok(),
            None => None,
        };
        seen.body = body.and_then(|body| shown(&body.to_bytes()));
        None
    };
    book.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    sent
}

/// A body as it may be shown. The secrets in it are those of a plan, which are none; but what an authority has
/// to repeat of a client may hold the present one.
fn shown(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_empty())?;
    let hidden = serde_json::from_str::<Value>(text).ok();
    let hidden = hidden.and_then(|mut value| hide(&mut value).then_some(value));
    Some(hidden.map_or_else(|| text.to_owned(), |value| value.to_string()))
}

/// What stands where a secret would.
const HIDDEN: &str = "REDACTED";

/// Whether there was something to hide.
fn hide(value: &mut Value) -> bool {
    let mut hidden = false;
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| hidden |= hide(value)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_ascii_lowercase();
                let is_secret =
                    name.ends_with("secret") || name.ends_with("_token") || name == "password";
                match value {
                    Value::String(text) if is_secret && !is_of_a_plan(text) => {
                        HIDDEN.clone_into(text);
                        hidden = true;
                    }
                    value => hidden |= hide(value),
                }
            }
        }
        _ => {}
    }
    hidden
}

/// The values of the two secrets, and the id of the new one, in a plan.
pub(crate) const NEW_VALUE: &str = "NEW-SECRET";
pub(crate) const OLD_VALUE: &str = "PRESENT-SECRET";
pub(crate) const NEW_ID: &str = "NEW";

fn is_of_a_plan(text: &str) -> bool {
    [NEW_VALUE, OLD_VALUE].contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_repeats_of_a_client_is_shown_without_its_secret() {
        let body = br#"{"client_id":"billing","client_secret":"hunter2","more":[{"clientSecret":"hunter3"}],"token_endpoint_auth_method":"client_secret_post"}"#;
        let text = shown(body).unwrap();
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("billing") && text.contains("client_secret_post"), "{text}");
        let own = br#"{"client_secret":"NEW-SECRET"}"#;
        assert_eq!(shown(own).unwrap().as_bytes(), own, "as it is sent");
        assert_eq!(shown(b""), None);
    }
}
