//! A client as it is registered at the server: what a test declares about it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// How a client proves at the token endpoint who it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// The secret in the request's body (RFC 6749 section 2.3.1): the default of this server.
    #[default]
    SecretPost,
    /// The secret in the `Authorization` header (RFC 6749 section 2.3.1).
    ///
    /// Either form is taken from a client of either kind; only what the management API shows differs.
    SecretBasic,
    /// An assertion that is signed with the secret (`client_secret_jwt`: RFC 7523 section 2.2 with HS256, HS384 or
    /// HS512). Auth0 has no such method, but other servers do. The secret itself is not taken from such a client.
    ///
    /// The assertion is for the token endpoint or for the server's URL (`aud`), comes from the client (`iss` and
    /// `sub`), is valid for an hour at most (`exp`), and has a `jti` that was not seen before. Whatever is wrong with
    /// it is answered with 401 and `invalid_client` (RFC 7523 section 3.2), and the reason in the description.
    SecretJwt,
    /// An assertion that is signed with a private key (RFC 7523). The server knows such a client, but never accepts its
    /// secret, so that a program that rotates secrets can be seen to refuse it.
    PrivateKeyJwt,
    /// A public client, which has no secret to prove.
    None,
}

impl ClientAuthentication {
    pub(crate) fn uses_secret(self) -> bool {
        self.sends_secret() || self == Self::SecretJwt
    }

    pub(crate) fn sends_secret(self) -> bool {
        matches!(self, Self::SecretPost | Self::SecretBasic)
    }
}

/// What a grant gives access to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Resource {
    /// This server's own management API, whose address is known only once the server listens.
    Management,
    Audience(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) resource: Resource,
    pub(crate) scopes: Vec<String>,
}

/// A client to register at an [`AuthorizationServer`](crate::AuthorizationServer).
///
/// ```
/// use keyswap_testkit::Client;
///
/// let billing = Client::new("billing", "first-secret").grant("https://api.example/").scopes(["read:invoices"]);
/// let rotator = Client::management("rotator", "mgmt-secret").scopes(["read:clients", "update:client_keys"]);
/// assert!(!format!("{billing:?}{rotator:?}").contains("secret\""));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) name: String,
    pub(crate) application: Option<String>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) grant_types: Vec<String>,
    pub(crate) authentication: ClientAuthentication,
    pub(crate) takes_personal_accounts: bool,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) signature: Option<Signature>,
}

/// Whether a signature of a message is the client's.
#[derive(Clone)]
pub(crate) struct Signature(pub(crate) Arc<IsSignature>);

/// Says so of a message and a signature.
type IsSignature = dyn Fn(&[u8], &[u8]) -> bool + Send + Sync;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("grants", &self.grants)
            .field("grant_types", &self.grant_types)
            .field("authentication", &self.authentication)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// The scopes that a rotation needs at Auth0's management API, and those that [`Client::management`] has.
    pub const MANAGEMENT_SCOPES: [&'static str; 4] =
        ["read:clients", "read:client_keys", "update:clients", "update:client_keys"];

    /// What a service app is [granted](Client::grant) to get scopes of Okta's own APIs.
    pub const OKTA_ORG: &'static str = "okta";

    /// A client that may use the client credentials grant, and has no access to any API yet.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            name: id.clone(),
            id,
            secret: secret.into(),
            application: None,
            grants: Vec::new(),
            grant_types: vec!["client_credentials".to_owned()],
            authentication: ClientAuthentication::default(),
            takes_personal_accounts: false,
            attributes: Map::new(),
            signature: None,
        }
    }

    /// A client that may use the management API, with [`Client::MANAGEMENT_SCOPES`] until
    /// [`scopes`](Client::scopes) says otherwise.
    pub fn management(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id, secret).management_grant()
    }

    pub(crate) fn management_grant(mut self) -> Self {
        if !self.grants.iter().any(|grant| grant.resource == Resource::Management) {
            let scopes = Self::MANAGEMENT_SCOPES.map(str::to_owned).to_vec();
            self.grants.push(Grant { resource: Resource::Management, scopes });
        }
        self
    }

    /// The name that the management API shows; the client id unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What the management API of Okta (`appId`), Zitadel (`applicationId`) or Keycloak (`id`) calls it by; the client id
    /// unless set.
    pub fn application(mut self, id: impl Into<String>) -> Self {
        self.application = Some(id.into());
        self
    }

    /// Lets people sign in with personal Microsoft accounts: at [`Provider::Entra`](crate::Provider::Entra) such an
    /// application has two secrets at most.
    pub fn takes_personal_accounts(mut self) -> Self {
        self.takes_personal_accounts = true;
        self
    }

    /// Lets the client get tokens for `audience` (Auth0's *client grant*; for Okta the id of a custom
    /// authorization server, for Zitadel that of the project), without scopes unless [`scopes`](Client::scopes)
    /// follows.
    pub fn grant(mut self, audience: impl Into<String>) -> Self {
        let resource = Resource::Audience(audience.into());
        self.grants.push(Grant { resource, scopes: Vec::new() });
        self
    }

    /// The scopes of the grant that was added last, in place of those it had.
    ///
    /// # Panics
    ///
    /// When the client has no grant yet: scopes belong to one.
    #[track_caller]
    pub fn scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let Some(grant) = self.grants.last_mut() else {
            panic!("client `{}` has no grant to scope: call `grant` before `scopes`", self.id);
        };
        grant.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The grant types that the client may use; `client_credentials` alone unless set.
    pub fn grant_types<I>(mut self, grant_types: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.grant_types = grant_types.into_iter().map(Into::into).collect();
        self
    }

    /// Keeps this with the client, as the management API of Auth0 or Cognito shows it: `jwt_configuration`, for
    /// instance.
    pub fn attribute(mut self, name: impl Into<String>, value: Value) -> Self {
        self.attributes.insert(name.into(), value);
        self
    }

    /// Says whether a signature (second) of a message (first) is that of the client's private key, for a service app of
    /// [`Provider::Okta`](crate::Provider::Okta): a client that signs in at the org's own server by an assertion and
    /// with the token for [`OKTA_ORG`](Client::OKTA_ORG) makes management requests.
    pub fn signed_by(
        mut self,
        is_signature: impl Fn(&[u8], &[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.signature = Some(Signature(Arc::new(is_signature)));
        self.authentication(ClientAuthentication::PrivateKeyJwt)
    }

    /// How the client authenticates; [`ClientAuthentication::SecretPost`] unless set.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let client = Client::new("billing", "a-very-secret-value").grant("https://api.example/");
        let shown = format!("{client:?}");
        assert!(shown.contains("billing") && shown.contains("https://api.example/"), "{shown}");
        assert!(!shown.contains("a-very-secret-value"), "{shown}");
    }

    #[test]
    #[should_panic(expected = "call `grant` before `scopes`")]
    fn scopes_without_a_grant_are_a_mistake_that_is_named() {
        let _ = Client::new("billing", "secret").scopes(["read"]);
    }

    #[test]
    fn a_second_management_grant_does_not_take_the_scopes_away() {
        let client = Client::management("rotator", "secret").scopes(["read:clients"]);
        let client = client.management_grant();
        assert_eq!(client.grants.len(), 1);
        assert_eq!(client.grants[0].scopes, ["read:clients"]);
    }
}
