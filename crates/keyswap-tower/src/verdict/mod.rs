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

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use http::response::Parts;
use keyswap_core::Verdict;

mod answer;
mod auth0;
mod auto;
mod client_first;
mod cognito;
mod entra;
mod fusionauth;
mod github;
mod google;
mod grpc;
mod hydra;
mod keycloak;
mod oidc_provider;
mod okta;
mod rfc6749;
mod salesforce;
mod slack;
mod wso2;
mod zitadel;

pub use grpc::Grpc;

use answer::{Answer, Media};

pub use client_first::ClientFirst;

/// Reads what an answer says about the secret that was sent.
///
/// Say [`Verdict::Refused`] only where the answer proves that client authentication failed: each such
/// answer costs another attempt, and a server may lock a client out after a few. Where there is a doubt
/// the verdict is [`Verdict::Inconclusive`], and the caller gets the answer unchanged.
///
/// A request with a code or a refresh token ([`is_single_use`](crate::credential::is_single_use)) is sent
/// again after [`Verdict::RefusedBeforeGrant`] alone: see [`ClientFirst`].
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
/// `docs/providers.md` has an example of each, and what is easily taken for one. Only status 400 and 401
/// with a JSON or form body can be refusals, and 200 at [`GitHub`](Self::GitHub) and
/// [`Slack`](Self::Slack); never a body with an access token, or one with a content encoding that was left
/// on it.
///
/// [`Keycloak`](Self::Keycloak), [`Hydra`](Self::Hydra), [`OidcProvider`](Self::OidcProvider) and, in the
/// words of its newer versions, [`Zitadel`](Self::Zitadel) are known to authenticate the client before they
/// look at a code or a refresh token, and say so ([`Verdict::RefusedBeforeGrant`]). Of the others that is
/// not known: [`ClientFirst`] is for those who know it of theirs.
///
/// ```
/// use keyswap_tower::verdict::Profile;
///
/// assert_eq!("auth0".parse(), Ok(Profile::Auth0));
/// assert_eq!(Profile::OidcProvider.to_string(), "oidc-provider");
/// assert_eq!(Profile::default().to_string(), "rfc6749");
/// let error = "oauth0".parse::<Profile>().unwrap_err();
/// assert!(error.to_string().starts_with("unknown profile \"oauth0\"; known are rfc6749, auth0, okta, "));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Profile {
    /// `rfc6749`: a server that keeps to RFC 6749 section 5.2, with the error `invalid_client` whatever its
    /// description. The default.
    #[default]
    Rfc6749,
    /// `auth0`: `invalid_client`, or 401 with `access_denied` and the description `Unauthorized`.
    Auth0,
    /// `okta`: `invalid_client`, unless it is about the `client_id` or says that no credentials were found.
    Okta,
    /// `entra`: Microsoft Entra ID, `invalid_client` with the number 7000215 or 7000222.
    Entra,
    /// `keycloak`: `unauthorized_client` where the description speaks of the credentials, and
    /// `invalid_client` with 401.
    Keycloak,
    /// `cognito`: Amazon Cognito, `invalid_client`.
    Cognito,
    /// `google`: `invalid_client`, unless it says that the client was not found.
    Google,
    /// `github`: status 200 with `incorrect_client_credentials`, as JSON or as a form.
    GitHub,
    /// `slack`: status 200 with `ok` false and `bad_client_secret`.
    Slack,
    /// `salesforce`: `invalid_client` or `invalid_client_credentials`.
    Salesforce,
    /// `hydra`: Ory Hydra, 401 with `invalid_client`, unless it says that another client authentication
    /// method is registered, since no other secret helps then.
    Hydra,
    /// `oidc-provider`, or `node-oidc-provider` as its repository is named: 401 with `invalid_client`, and
    /// 400 for a secret that has expired.
    OidcProvider,
    /// `zitadel`: 401 with `invalid_client`, unless it is about the header, the method or the token.
    Zitadel,
    /// `fusionauth`, as its users write it, or `fusion-auth`: `invalid_client` with the reason
    /// `invalid_client_authentication`.
    FusionAuth,
    /// `wso2`: WSO2 Identity Server, 401 with `invalid_client`, unless it says that the client could not be
    /// found.
    Wso2,
    /// `auto`: any of these. Refused is what one of them means by a refusal and none of them is known to
    /// say about something else; a doubt is inconclusive.
    ///
    /// Since GitHub and Slack answer errors with status 200, such an answer in JSON or a form is read up to
    /// [`FallbackLayer::max_answer`](crate::FallbackLayer::max_answer) before it is the caller's, and is
    /// accepted if it holds no error. In XML, with a content encoding, or over that limit it is
    /// inconclusive; of any other type it is accepted unread. Name the server where you know it: its
    /// accepted answers stream through, and codes and refresh tokens can have a fallback.
    Auto,
}

/// Names that are read as well.
const OTHER_NAMES: &[(&str, Profile)] =
    &[("fusion-auth", Profile::FusionAuth), ("node-oidc-provider", Profile::OidcProvider)];

/// What a profile makes of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Finding {
    /// Client authentication failed, and another secret may help.
    Refused,
    /// The same, by a server that is known to authenticate the client before it looks at the grant.
    RefusedBeforeGrant,
    /// This server's own way of saying that something else is wrong.
    OtherCause,
    /// Nothing that this server says about secrets.
    Nothing,
}

/// What the head alone settles.
enum Look {
    Settled(Verdict),
    Read(Media),
}

impl Profile {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Rfc6749,
        Self::Auth0,
        Self::Okta,
        Self::Entra,
        Self::Keycloak,
        Self::Cognito,
        Self::Google,
        Self::GitHub,
        Self::Slack,
        Self::Salesforce,
        Self::Hydra,
        Self::OidcProvider,
        Self::Zitadel,
        Self::FusionAuth,
        Self::Wso2,
        Self::Auto,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Rfc6749 => "rfc6749",
            Self::Auth0 => "auth0",
            Self::Okta => "okta",
            Self::Entra => "entra",
            Self::Keycloak => "keycloak",
            Self::Cognito => "cognito",
            Self::Google => "google",
            Self::GitHub => "github",
            Self::Slack => "slack",
            Self::Salesforce => "salesforce",
            Self::Hydra => "hydra",
            Self::OidcProvider => "oidc-provider",
            Self::Zitadel => "zitadel",
            Self::FusionAuth => "fusionauth",
            Self::Wso2 => "wso2",
            Self::Auto => "auto",
        }
    }

    fn judge(self, answer: &Answer<'_>) -> Finding {
        match self {
            Self::Rfc6749 => rfc6749::judge(answer),
            Self::Auth0 => auth0::judge(answer),
            Self::Okta => okta::judge(answer),
            Self::Entra => entra::judge(answer),
            Self::Keycloak => keycloak::judge(answer),
            Self::Cognito => cognito::judge(answer),
            Self::Google => google::judge(answer),
            Self::GitHub => github::judge(answer),
            Self::Slack => slack::judge(answer),
            Self::Salesforce => salesforce::judge(answer),
            Self::Hydra => hydra::judge(answer),
            Self::OidcProvider => oidc_provider::judge(answer),
            Self::Zitadel => zitadel::judge(answer),
            Self::FusionAuth => fusionauth::judge(answer),
            Self::Wso2 => wso2::judge(answer),
            Self::Auto => auto::judge(answer),
        }
    }

    /// Whether the server puts its errors under status 200, or under 400 and 401, or may do either.
    const fn errors_under(self) -> (bool, bool) {
        match self {
            Self::GitHub | Self::Slack => (true, false),
            Self::Auto => (true, true),
            _ => (false, true),
        }
    }

    fn look(self, head: &Parts) -> Look {
        let (under_ok, under_errors) = self.errors_under();
        let media = match head.status {
            StatusCode::OK if under_ok => Media::of(&head.headers),
            status if status.is_success() => return Look::Settled(Verdict::Accepted),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED if under_errors => {
                Media::of(&head.headers)
            }
            _ => return Look::Settled(Verdict::Inconclusive),
        };
        match media {
            Media::Json | Media::Form => Look::Read(media),
            // The other servers' status can be believed, and those two have no such answer.
            Media::Foreign if head.status == StatusCode::OK && self == Self::Auto => {
                Look::Settled(Verdict::Accepted)
            }
            Media::Foreign | Media::Sealed => Look::Settled(Verdict::Inconclusive),
        }
    }

    /// Whether a body under status 200 is what the server says when all went well.
    fn accepts(self, answer: &Answer<'_>, media: Media) -> bool {
        let well = match self {
            Self::Slack => answer.ok == Some(true),
            _ => answer.ok != Some(false),
        };
        // A form that was cut off is still a form, so it has to hold what was asked for.
        well && answer.error().is_none() && (media == Media::Json || answer.has_token)
    }
}

impl ReadVerdict for Profile {
    fn read_head(&self, head: &Parts) -> Option<Verdict> {
        match self.look(head) {
            Look::Settled(verdict) => Some(verdict),
            Look::Read(_) => None,
        }
    }

    fn read_body(&self, head: &Parts, body: &[u8]) -> Verdict {
        let media = match self.look(head) {
            Look::Settled(verdict) => return verdict,
            Look::Read(media) => media,
        };
        let ok = head.status == StatusCode::OK;
        // Revocation is answered so (RFC 7009 section 2.2), and there is no error in it.
        if ok && body.is_empty() && *self == Self::Auto {
            return Verdict::Accepted;
        }
        let Some(answer) = Answer::read(head.status, media, body) else {
            return Verdict::Inconclusive;
        };
        match self.judge(&answer) {
            Finding::Refused if !answer.has_token => Verdict::Refused,
            Finding::RefusedBeforeGrant if !answer.has_token => Verdict::RefusedBeforeGrant,
            _ if ok && self.accepts(&answer, media) => Verdict::Accepted,
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
        let known = Self::ALL.iter().map(|profile| (profile.name(), *profile));
        let mut known = known.chain(OTHER_NAMES.iter().copied());
        match known.find(|(known, _)| *known == name) {
            Some((_, profile)) => Ok(profile),
            None => Err(UnknownProfile { name: name.chars().take(64).collect() }),
        }
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
