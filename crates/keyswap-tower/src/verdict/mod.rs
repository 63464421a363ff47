//! What an answer says about the secret, in the words of each provider.
//!
//! One file a provider. [`Profile`] names those that are known; a server that is not among them needs
//! an implementation of [`ReadVerdict`]:
//!
//! ```
//! use http::{StatusCode, response::Parts};
//! use keyswap_core::Verdict;
//! use keyswap_tower::verdict::ReadVerdict;
//!
//! /// A server that says all in the status code.
//! struct StatusAlone;
//!
//! impl ReadVerdict for StatusAlone {
//!     fn read_head(&self, head: &Parts) -> Option<Verdict> {
//!         Some(match head.status {
//!             status if status.is_success() => Verdict::Accepted,
//!             StatusCode::UNAUTHORIZED => Verdict::Refused,
//!             _ => Verdict::Inconclusive,
//!         })
//!     }
//!
//!     fn read_body(&self, _head: &Parts, _body: &[u8]) -> Verdict {
//!         Verdict::Inconclusive
//!     }
//! }
//! ```

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use http::response::Parts;
use keyswap_core::Verdict;
use serde::Deserialize;

use crate::credential::{is_json, media_type};

mod auth0;
mod hydra;
mod rfc6749;

/// Reads what an answer says about the secret that was sent.
///
/// Say [`Verdict::Refused`] only where the answer proves that client authentication failed: each such
/// answer costs another attempt, and a server may lock a client out after a few. Where there is a doubt
/// the verdict is [`Verdict::Inconclusive`], and the caller gets the answer unchanged.
pub trait ReadVerdict {
    /// The verdict from status and headers alone; `None` when the body decides.
    ///
    /// A body that is not asked for is not read and streams through.
    fn read_head(&self, head: &Parts) -> Option<Verdict>;

    /// The verdict from the whole answer, where the head left it open.
    ///
    /// `body` is complete. An answer larger than
    /// [`FallbackLayer::max_answer`](crate::FallbackLayer::max_answer) does not get here: it is
    /// inconclusive.
    fn read_body(&self, head: &Parts, body: &[u8]) -> Verdict;
}

impl<V: ReadVerdict + ?Sized> ReadVerdict for Arc<V> {
    fn read_head(&self, head: &Parts) -> Option<Verdict> {
        (**self).read_head(head)
    }

    fn read_body(&self, head: &Parts, body: &[u8]) -> Verdict {
        (**self).read_body(head, body)
    }
}

/// The authorization servers whose way of refusing a secret is known.
///
/// ```
/// use keyswap_tower::verdict::Profile;
///
/// assert_eq!("auth0".parse(), Ok(Profile::Auth0));
/// assert_eq!(Profile::default().to_string(), "rfc6749");
/// let error = "oauth0".parse::<Profile>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown profile \"oauth0\"; known are rfc6749, auth0, hydra");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Profile {
    /// A server that keeps to RFC 6749 section 5.2: status 400 or 401 with the JSON error
    /// `invalid_client`. The default.
    #[default]
    Rfc6749,
    /// Auth0: also status 401 with `access_denied` and the description `Unauthorized`, which is how it
    /// answers a wrong secret and an unknown client.
    Auth0,
    /// Ory Hydra: status 401 with `invalid_client`, unless the description says that another client
    /// authentication method is registered, since no other secret helps then.
    Hydra,
}

impl Profile {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Rfc6749, Self::Auth0, Self::Hydra];

    const fn name(self) -> &'static str {
        match self {
            Self::Rfc6749 => "rfc6749",
            Self::Auth0 => "auth0",
            Self::Hydra => "hydra",
        }
    }

    fn refuses(self, status: StatusCode, answer: &OAuthError<'_>) -> bool {
        match self {
            Self::Rfc6749 => rfc6749::refuses(status, answer),
            Self::Auth0 => auth0::refuses(status, answer),
            Self::Hydra => hydra::refuses(status, answer),
        }
    }
}

impl ReadVerdict for Profile {
    fn read_head(&self, head: &Parts) -> Option<Verdict> {
        if head.status.is_success() {
            return Some(Verdict::Accepted);
        }
        let speaks = matches!(head.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)
            && media_type(&head.headers).is_some_and(is_json);
        if speaks { None } else { Some(Verdict::Inconclusive) }
    }

    fn read_body(&self, head: &Parts, body: &[u8]) -> Verdict {
        match serde_json::from_slice::<OAuthError<'_>>(body) {
            Ok(answer) if self.refuses(head.status, &answer) => Verdict::Refused,
            _ => Verdict::Inconclusive,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        let known = Self::ALL.iter().find(|profile| profile.name() == name);
        known.copied().ok_or_else(|| UnknownProfile { name: name.chars().take(64).collect() })
    }
}

/// A name that is not one of a [`Profile`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownProfile {
    name: String,
}

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown profile {:?}; known are ", self.name)?;
        for (position, profile) in Profile::ALL.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{profile}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownProfile {}

/// The error answer of RFC 6749 section 5.2. An answer that names a member twice, or gives it another
/// type, is none.
#[derive(Deserialize)]
struct OAuthError<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow, rename = "error_description")]
    description: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl OAuthError<'_> {
    fn description(&self) -> &str {
        self.description.as_ref().map_or("", |text| &text.0)
    }
}
