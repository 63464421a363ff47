//! What a [`Wso2`] is made of.

use std::time::Duration;

use keyswap_core::SecretRing;
use keyswap_tower::Profile;
use url::Url;

use super::super::http::{client_for, with_segments};
use super::super::management::ManagementTokens;
use super::super::pace::{Pace, Turns};
use super::super::probe::{ClientAuthentication, ProbeRequest};
use super::super::{AuthorityError, AuthorityErrorKind};
use super::{SCOPES, Wso2};

/// Makes a [`Wso2`].
#[derive(Debug)]
#[must_use]
pub struct Wso2Builder {
    base: Url,
    client: String,
    application: String,
    management: Option<(String, SecretRing)>,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    pace: Pace,
    beside: Option<(reqwest::Client, ManagementTokens, String)>,
}

/// What is answered to a client that showed the right secret and may not use the client credentials grant
/// (`AccessTokenIssuer.issue`, which has looked at the client by then).
const PAST_AUTHENTICATION: [(&str, &str); 1] =
    [("unauthorized_client", "The authenticated client is not authorized")];

impl Wso2Builder {
    pub(super) fn new(base: Url, client: String, application: String) -> Self {
        Self {
            base,
            client,
            application,
            management: None,
            authentication: ClientAuthentication::Post,
            propagation_window: Wso2::usual().propagation_window,
            pace: Pace::new(),
            beside: None,
        }
    }

    /// Over these connections, with these tokens of this management client.
    pub(super) fn beside(
        mut self,
        http: reqwest::Client,
        tokens: ManagementTokens,
        management: String,
    ) -> Self {
        self.beside = Some((http, tokens, management));
        self
    }

    /// The client that makes the management requests, with its secrets. Required.
    pub fn management(mut self, client_id: impl Into<String>, secrets: SecretRing) -> Self {
        self.management = Some((client_id.into(), secrets));
        self
    }

    /// How the client sends its secret. Post by default; WSO2 takes either, unless the application is set to one. It
    /// reads a secret in the header as it stands, without decoding it.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How long nodes may disagree after a change. 30 s by default; WSO2 does not say.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the management requests, which others of the same server may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if the application or the management client is missing, or the address is
    /// neither https nor loopback.
    pub fn build(self) -> Result<Wso2, AuthorityError> {
        let configuration = |message: &str| {
            AuthorityError::new(AuthorityErrorKind::Configuration, format!("wso2: {message}"))
        };
        if self.application.is_empty() {
            return Err(configuration(
                "no application is given: its id stands in the address of its page in the console",
            ));
        }
        let endpoint = Wso2::token_endpoint(&self.base)?.url;
        let (http, tokens, management) = match self.beside {
            Some(shared) => shared,
            None => {
                let management = self
                    .management
                    .ok_or_else(|| configuration("no management client is given"))?;
                let http = client_for("wso2", &[&self.base])?;
                let id = management.0.clone();
                let at = (&http, endpoint.clone());
                let tokens = ManagementTokens::of_client(management, at, Profile::Wso2)
                    .parameter("scope", &SCOPES.join(" "));
                (http, tokens, id)
            }
        };
        let probe = ProbeRequest::new(http.clone(), endpoint, self.client.clone())
            .profile(Profile::Wso2)
            .authentication(self.authentication)
            .incomplete("client_credentials", &PAST_AUTHENTICATION);
        let path =
            ["api", "server", "v1", "applications", &self.application, "inbound-protocols", "oidc"];
        let protocol_url = with_segments(&self.base, &path)?;
        Ok(Wso2 {
            secrets_url: with_segments(&protocol_url, &["secrets"])?,
            protocol_url,
            http,
            turns: Turns::new(self.pace),
            base: self.base,
            client: self.client,
            application: self.application,
            management,
            tokens,
            probe,
            authentication: self.authentication,
            propagation_window: self.propagation_window,
            remarks: Default::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use keyswap_core::{Secret, SecretList};

    use super::*;

    fn builder(url: &str, application: &str) -> Wso2Builder {
        let secret = Secret::new("management".parse().unwrap(), "management-value").unwrap();
        let ring = SecretRing::new(SecretList::new([secret]).unwrap());
        Wso2::builder(url.parse().unwrap(), "billing", application).management("rotator", ring)
    }

    #[test]
    fn the_organization_stays_in_the_address() {
        let url = "https://api.asgardeo.io/t/shop/api/server/v1/applications/a-1/inbound-protocols/oidc/secrets";
        for base in ["https://api.asgardeo.io/t/shop", "https://api.asgardeo.io/t/shop/"] {
            let wso2 = builder(base, "a-1").build().unwrap();
            assert_eq!(wso2.secrets_url.as_str(), url);
            let another = wso2.another("orders", "a-2").build().unwrap();
            assert_eq!(another.secrets_url.as_str(), url.replace("a-1", "a-2"));
        }
    }

    #[test]
    fn what_cannot_be_is_named_before_anything_is_sent() {
        let refused = |builder: Wso2Builder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        let here = "https://login.example";
        assert!(refused(builder(here, "")).contains("no application"));
        let without = Wso2Builder { management: None, ..builder(here, "a-1") };
        assert!(refused(without).contains("no management client"));
        assert!(refused(builder("http://login.example", "a-1")).contains("wso2: "));
    }

    #[test]
    fn neither_the_authority_nor_what_makes_it_shows_a_secret() {
        let builder = builder("https://login.example", "a-1");
        let shown = format!("{builder:?}");
        let shown = format!("{shown} {:?}", builder.build().unwrap());
        assert!(shown.contains("billing") && !shown.contains("management-value"), "{shown}");
    }
}
