//! One access token.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// What stands before a token in its header (RFC 6750 section 2.1).
const SCHEME: &str = "Bearer ";

/// An access token, wiped from memory when its last handle goes. `Debug` shows nothing of it.
///
/// A clone is another handle on the same token.
#[derive(Clone)]
pub struct Token {
    shared: Arc<Shared>,
}

struct Shared {
    /// With the scheme before it, so that token and header are one buffer.
    value: Arc<SecretString>,
    header: HeaderValue,
    life: Option<Life>,
    scope: Option<Box<str>>,
}

/// When a token is worth renewing, and when it is over.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) renew: Instant,
    pub(crate) end: Instant,
}

/// A text that no `Authorization: Bearer` header can carry.
#[derive(Debug)]
pub(crate) struct Unfit;

impl Token {
    /// `life` is `None` if the server did not say (RFC 6749 section 5.1 recommends `expires_in`).
    pub(crate) fn new(
        value: &str,
        life: Option<Life>,
        scope: Option<String>,
    ) -> Result<Self, Unfit> {
        // Narrower than a header, and wider than RFC 6750's b64token, which some tokens do not keep to.
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Unfit);
        }
        // Of its final size from the start: a buffer that grows leaves copies that nobody wipes.
        let mut text = String::with_capacity(SCHEME.len() + value.len());
        text.push_str(SCHEME);
        text.push_str(value);
        let value = Arc::new(SecretString::from(text));
        let bytes = Bytes::from_owner(Shown(Arc::clone(&value)));
        let mut header = HeaderValue::from_maybe_shared(bytes).map_err(|_| Unfit)?;
        header.set_sensitive(true);
        let shared = Shared { value, header, life, scope: scope.map(String::into_boxed_str) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The scopes that the server granted, separated by spaces, where it says so.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.shared.scope.as_deref()
    }

    /// The token itself. For an `Authorization` header, [`header`](Self::header) needs no copy.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.shared.value.expose_secret()[SCHEME.len()..]
    }

    /// The value of an `Authorization` header: `Bearer`, a space and the token (RFC 6750 section 2.1).
    ///
    /// It is marked as sensitive. A clone of it shares the token's buffer, which is wiped when the last
    /// handle of either kind goes.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.shared.header
    }

    /// Whether its life, counted from before it was asked for, is over.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.shared.life.is_some_and(|life| now >= life.end)
    }

    /// When it is time for another one, though this one may still be used; `None`: no time is known.
    pub(crate) fn renew_at(&self) -> Option<Instant> {
        self.shared.life.map(|life| life.renew)
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.shared.life.map(|life| life.end)
    }

    /// Whether both handles are of the same token: how a caller says which one was refused.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The buffer as the owner of a header's bytes.
struct Shown(Arc<SecretString>);

impl AsRef<[u8]> for Shown {
    fn as_ref(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_token_are_one_buffer() {
        let token = Token::new("mF_9.B5f-4.1JqM", None, None).unwrap();
        assert_eq!(token.expose(), "mF_9.B5f-4.1JqM");
        assert_eq!(token.header(), "Bearer mF_9.B5f-4.1JqM");
        let copy = token.header().clone();
        assert_eq!(copy.as_bytes()[SCHEME.len()..].as_ptr(), token.expose().as_ptr());
        // The header keeps the buffer after the token is gone, and nothing else does.
        let buffer = Arc::downgrade(&token.shared.value);
        drop(token);
        assert_eq!(copy, "Bearer mF_9.B5f-4.1JqM");
        assert!(buffer.upgrade().is_some());
        drop(copy);
        assert!(buffer.upgrade().is_none());
    }

    #[test]
    fn debug_shows_neither_the_token_nor_its_header() {
        let token = Token::new("hunter2", None, None).unwrap();
        assert!(token.header().is_sensitive());
        let shown = format!("{token:?} {:?} {:?}", token.header(), token.header().clone());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!token.is_expired(Instant::now() + std::time::Duration::from_secs(1 << 30)));
    }

    #[test]
    fn a_text_that_does_not_fit_into_a_header_is_no_token() {
        for text in ["", "a b", " a", "a\r\nx-injected: 1", "a\0", "tök", "a\u{7f}"] {
            assert!(Token::new(text, None, None).is_err(), "{text:?}");
        }
        for text in ["a", "2YotnFZFEjr1zCsicMWpAA==", "!\"#~", "a,b;c"] {
            assert_eq!(Token::new(text, None, None).unwrap().expose(), text);
        }
    }
}
