//! What an [`Entra`] is made of.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use keyswap_core::SecretRing;
use keyswap_tower::Profile;
use url::Url;

use super::super::endpoint::TokenEndpoint;
use super::super::http::{client_for, with_segments};
use super::super::management::ManagementTokens;
use super::super::pace::{Pace, Turns};
use super::super::probe::{ClientAuthentication, ProbeRequest};
use super::super::{AuthorityError, AuthorityErrorKind};
use super::Entra;

const LOGIN: &str = "https://login.microsoftonline.com";
const GRAPH: &str = "https://graph.microsoft.com";
/// What the portal recommends; Graph itself takes two years where nothing is said.
const LIFETIME: Duration = Duration::from_secs(180 * 24 * 60 * 60);
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(24 * 60 * 60)..=Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Makes an [`Entra`].
#[derive(Debug)]
#[must_use]
pub struct EntraBuilder {
    tenant: String,
    client: String,
    application: Option<String>,
    login: Option<Url>,
    graph: Option<Url>,
    management: Option<(String, SecretRing)>,
    scope: Option<String>,
    authentication: ClientAuthentication,
    lifetime: Duration,
    propagation_window: Duration,
    pace: Pace,
    beside: Option<(reqwest::Client, ManagementTokens)>,
}

impl Entra {
    /// Where the programs of a tenant get their tokens: at the login address of the public cloud, unless another is
    /// given.
    ///
    /// # Errors
    ///
    /// When the address has no path.
    pub fn token_endpoint(
        login: Option<&Url>,
        tenant: &str,
    ) -> Result<TokenEndpoint, AuthorityError> {
        let login = match login {
            Some(url) => url.clone(),
            None => LOGIN.parse().map_err(|_| {
                AuthorityError::new(
                    AuthorityErrorKind::Configuration,
                    "entra: an address cannot be read",
                )
            })?,
        };
        let url = with_segments(&login, &[tenant, "oauth2", "v2.0", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::Entra, ClientAuthentication::Post);
        Ok(endpoint.issuer(with_segments(&login, &[tenant, "v2.0"])?))
    }
}

impl EntraBuilder {
    pub(super) fn new(tenant: String, client: String) -> Self {
        Self {
            tenant,
            client,
            application: None,
            login: None,
            graph: None,
            management: None,
            scope: None,
            authentication: ClientAuthentication::Post,
            lifetime: LIFETIME,
            propagation_window: Entra::usual().propagation_window,
            pace: Pace::new(),
            beside: None,
        }
    }

    /// Over these connections, with these management tokens.
    pub(super) fn beside(mut self, http: reqwest::Client, tokens: ManagementTokens) -> Self {
        self.beside = Some((http, tokens));
        self
    }

    /// The client that makes the management requests, with its secrets. Required.
    pub fn management(mut self, client_id: impl Into<String>, secrets: SecretRing) -> Self {
        self.management = Some((client_id.into(), secrets));
        self
    }

    /// The object id of the application, to name it by that in place of the client id.
    pub fn application(mut self, object_id: impl Into<String>) -> Self {
        self.application = Some(object_id.into());
        self
    }

    /// Where tokens are given out; `https://login.microsoftonline.com` by default. National clouds have others.
    pub fn login_url(mut self, url: Url) -> Self {
        self.login = Some(url);
        self
    }

    /// Where Microsoft Graph is; `https://graph.microsoft.com` by default. National clouds have others.
    pub fn graph_url(mut self, url: Url) -> Self {
        self.graph = Some(url);
        self
    }

    /// The scope of the token requests that prove a secret: an API's identifier and `/.default`. By default that of
    /// Microsoft Graph.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// How the client sends its secret. Post by default; Microsoft takes either.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How long a new secret is valid, from a day to ten years; 180 days by default. It ends by itself then, so rotate
    /// before that. A policy of the tenant may allow less.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// How long nodes may disagree after a change. 2 minutes by default: Microsoft does not say, and 4 to 18 s were
    /// reported.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the management requests, which others in the same tenant may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if the tenant or the management client is missing, the client id cannot be
    /// one, the lifetime is out of bounds, or an address is neither https nor loopback.
    pub fn build(self) -> Result<Entra, AuthorityError> {
        let configuration = |message: &str| {
            AuthorityError::new(AuthorityErrorKind::Configuration, format!("entra: {message}"))
        };
        if self.tenant.is_empty() {
            return Err(configuration("no tenant is given: its id or one of its domains"));
        }
        // It stands between quotation marks in an address.
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if self.client.is_empty() || !self.client.bytes().all(is_part) {
            return Err(configuration(
                "the client id cannot be one: it is the application (client) id of the app registration, for \
                 instance 11112222-bbbb-3333-cccc-4444dddd5555",
            ));
        }
        if !LIFETIMES.contains(&self.lifetime) {
            return Err(configuration("the lifetime of a secret is from a day to ten years"));
        }
        let url = |given: Option<Url>, usual: &str| match given {
            Some(url) => Ok(url),
            None => usual.parse().map_err(|_| configuration("an address cannot be read")),
        };
        let (login, graph) = (url(self.login, LOGIN)?, url(self.graph, GRAPH)?);
        let graph_scope = format!("{}/.default", graph.as_str().trim_end_matches('/'));
        let token_endpoint = Entra::token_endpoint(Some(&login), &self.tenant)?.url;
        let (http, tokens) = match self.beside {
            Some(shared) => shared,
            None => {
                let management = self
                    .management
                    .ok_or_else(|| configuration("no management client is given"))?;
                let http = client_for("entra", &[&login, &graph])?;
                let endpoint = (&http, token_endpoint.clone());
                let tokens = ManagementTokens::of_client(management, endpoint, Profile::Entra)
                    .parameter("scope", graph_scope.as_str());
                (http, tokens)
            }
        };
        let probe = ProbeRequest::new(http.clone(), token_endpoint, self.client.clone())
            .profile(Profile::Entra)
            .authentication(self.authentication)
            .parameter("scope", self.scope.unwrap_or(graph_scope));
        let by_client = |kind: &str| format!("{kind}(appId='{}')", self.client);
        let (application_url, principal_url) = match &self.application {
            Some(id) => (with_segments(&graph, &["v1.0", "applications", id])?, None),
            None => (
                with_segments(&graph, &["v1.0", &by_client("applications")])?,
                Some(with_segments(&graph, &["v1.0", &by_client("servicePrincipals")])?),
            ),
        };
        Ok(Entra {
            principal_url,
            application_url,
            http,
            turns: Turns::new(self.pace),
            tenant: self.tenant,
            login,
            graph,
            client: self.client,
            tokens,
            probe,
            lifetime: self.lifetime,
            propagation_window: self.propagation_window,
            has_personal_accounts: AtomicBool::new(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use keyswap_core::{Secret, SecretList};

    use super::*;

    fn builder(client: &str) -> EntraBuilder {
        let secret = Secret::new("management".parse().unwrap(), "management-value").unwrap();
        let ring = SecretRing::new(SecretList::new([secret]).unwrap());
        Entra::builder("contoso.onmicrosoft.com", client).management("rotator", ring)
    }

    #[test]
    fn the_addresses_are_those_of_the_cloud_and_name_the_application_by_either_id() {
        let entra = builder("1111-2222").build().unwrap();
        let url = "https://graph.microsoft.com/v1.0/applications(appId='1111-2222')";
        assert_eq!(entra.application_url.as_str(), url);
        let china = |url: &str| url.parse().unwrap();
        let entra = builder("1111-2222")
            .application("3333")
            .login_url(china("https://login.partner.microsoftonline.cn"))
            .graph_url(china("https://microsoftgraph.chinacloudapi.cn/"));
        let entra = entra.build().unwrap();
        let url = "https://microsoftgraph.chinacloudapi.cn/v1.0/applications/3333";
        assert_eq!(entra.application_url.as_str(), url);
        let another = entra.another("5555").build().unwrap();
        let url = "https://microsoftgraph.chinacloudapi.cn/v1.0/applications(appId='5555')";
        assert_eq!(another.application_url.as_str(), url);
    }

    #[test]
    fn what_cannot_be_is_named_before_anything_is_sent() {
        let refused = |builder: EntraBuilder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        let without = EntraBuilder { management: None, ..builder("1111") };
        assert!(refused(without).contains("no management client"));
        let without = EntraBuilder { tenant: String::new(), ..builder("1111") };
        assert!(refused(without).contains("no tenant"));
        for client in ["", "x') or (appId eq 'y", "1111/2222"] {
            assert!(refused(builder(client)).contains("client id cannot be one"), "{client}");
        }
        let short = builder("1111").lifetime(Duration::from_secs(60));
        assert!(refused(short).contains("from a day to ten years"));
        let plain = builder("1111").graph_url("http://graph.microsoft.com".parse().unwrap());
        assert!(refused(plain).contains("entra: "));
    }

    #[test]
    fn neither_the_authority_nor_what_makes_it_shows_a_secret() {
        let builder = builder("1111");
        let shown = format!("{builder:?}");
        let shown = format!("{shown} {:?}", builder.build().unwrap());
        assert!(shown.contains("1111") && !shown.contains("management-value"), "{shown}");
    }
}
