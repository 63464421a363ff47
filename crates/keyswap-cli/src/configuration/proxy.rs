//! `[proxy]`: what `keyswap proxy` has to know of the server beyond `[authority]`.

use keyswap_admin::ClientAuthentication;
use keyswap_admin::authority::TokenEndpoint;
use keyswap_tower::{Origin, Profile};
use serde::Deserialize;
use url::Url;

use super::{Configuration, ProfileName};
use crate::exit::Failure;

/// All of it has a default, unless nothing is known of the server.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyTable {
    token_endpoint: Option<Url>,
    issuer: Option<Url>,
    pub(crate) introspection_endpoint: Option<Url>,
    pub(crate) revocation_endpoint: Option<Url>,
    profile: Option<ProfileName>,
    /// The user's word that the server looks at the client before it looks at a code or a refresh token.
    #[serde(default)]
    pub(crate) client_first: bool,
}

impl ProxyTable {
    pub(super) fn check(&self) -> Result<(), String> {
        let addresses = [
            ("token_endpoint", &self.token_endpoint),
            ("issuer", &self.issuer),
            ("introspection_endpoint", &self.introspection_endpoint),
            ("revocation_endpoint", &self.revocation_endpoint),
        ];
        for (name, url) in addresses {
            if let Some(Err(error)) = url.as_ref().map(|url| url.as_str().parse::<Origin>()) {
                return Err(format!("the `{name}` of [proxy]: {error}"));
            }
        }
        Ok(())
    }
}

impl Configuration {
    /// Where the clients of this configuration get their tokens.
    pub(crate) fn token_endpoint(&self) -> Result<TokenEndpoint, Failure> {
        let given = &self.proxy;
        let mut endpoint = match (self.authority.token_endpoint()?, &given.token_endpoint) {
            (Some(mut known), given) => {
                known.url = given.clone().unwrap_or(known.url);
                known
            }
            (None, Some(url)) => {
                TokenEndpoint::new(url.clone(), Profile::Auto, ClientAuthentication::Basic)
            }
            (None, None) => {
                return Err(Failure::usage(format!(
                    "the configuration {} does not say where tokens are got: write it under [proxy], as \
                     token_endpoint = \"https://auth.example/token\"",
                    self.path.display()
                )));
            }
        };
        if let Some(issuer) = &given.issuer {
            endpoint = endpoint.issuer(issuer.clone());
        }
        if let Some(ProfileName(profile)) = given.profile {
            endpoint.profile = profile;
        }
        // Secrets go nowhere else, and never in clear text to another machine.
        endpoint.url.as_str().parse::<Origin>().map_err(|error| {
            Failure::usage(format!("the token endpoint of {}: {error}", self.path.display()))
        })?;
        Ok(endpoint)
    }
}
