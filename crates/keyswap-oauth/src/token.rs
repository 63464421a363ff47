//! One access token.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};

/// An access token, wiped from memory when its last handle goes. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Token {
    value: Arc<SecretString>,
    /// `None`: the server did not say (RFC 6749 section 5.1 recommends `expires_in`).
    life: Option<Life>,
    scope: Option<Arc<str>>,
}

/// When a token is worth renewing, and when it is over.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) renew: Instant,
    pub(crate) end: Instant,
}

impl Token {
    pub(crate) fn new(value: String, life: Option<Life>, scope: Option<String>) -> Self {
        let value = Arc::new(SecretString::from(value));
        Self { value, life, scope: scope.map(Arc::from) }
    }

    /// The scopes that the server granted, separated by spaces, where it says so.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// The token itself, for an `Authorization: Bearer` header.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// Whether its life, counted from before it was asked for, is over.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.life.is_some_and(|life| now >= life.end)
    }

    /// Whether it is time for another one, though it may still be used.
    pub(crate) fn is_aging(&self, now: Instant) -> bool {
        self.life.is_some_and(|life| now >= life.renew)
    }

    /// Whether both handles are of the same token: how a caller says which one was refused.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
