//! `kind = "registration"`: any server with the client configuration endpoint of RFC 7592.

use keyswap_admin::authority::{RegistrationToken, TokenEndpoint};
use keyswap_admin::{ClientAuthentication, Registration};
use keyswap_tower::Profile;
use serde::Deserialize;
use url::Url;

use super::kind::{Connected, Connecting, Kind};
use super::table::Limit;
use super::{ConfiguredAuthority, say};
use crate::configuration::{OfClient, ProfileName, is_on_this_machine};
use crate::embedded::Asks;
use crate::exit::Failure;
use crate::store::{ConfiguredStore, Missing};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistrationTable {
    registration_client_uri: Url,
    token_endpoint: Url,
    #[serde(default)]
    client_chooses: bool,
    profile: Option<ProfileName>,
    scope: Option<String>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for RegistrationTable {
    const NAME: &'static str = "registration";
    const PROVED_WITH: Option<&'static str> = Some("scope");

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.registration_client_uri)
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        let profile = self.profile.map_or(Profile::default(), |ProfileName(profile)| profile);
        let (endpoint, basic) = (self.token_endpoint.clone(), ClientAuthentication::Basic);
        Ok(Some(TokenEndpoint::new(endpoint, profile, basic)))
    }

    fn ask(&self, asks: &mut Asks) {
        asks.scope.clone_from(&self.scope);
        asks.client_chooses = self.client_chooses;
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let pace = to.pace.clone();
        Ok(Box::new(move |client| {
            let token = registration_token(client, Missing::AnError)?;
            let (uri, endpoint) =
                (self.registration_client_uri.clone(), self.token_endpoint.clone());
            let mut registration = Registration::builder(uri, endpoint, client.id(), token)
                .client_chooses(self.client_chooses)
                .pace(pace.clone())
                .on_said(|line| say(Self::NAME, line));
            if let Some(ProfileName(profile)) = self.profile {
                registration = registration.profile(profile);
            }
            if let Some(scope) = client.scope().or(self.scope.as_deref()) {
                registration = registration.scope(scope);
            }
            if let Some(authentication) = client.authentication() {
                registration = registration.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Registration(registration.build()?))
        }))
    }
}

/// The place of a client's registration access token.
pub(crate) fn registration_token(
    client: &OfClient<'_>,
    missing: Missing,
) -> Result<RegistrationToken<ConfiguredStore>, Failure> {
    let name = RegistrationToken::<ConfiguredStore>::place(client.id());
    let store = ConfiguredStore::beside(client, &name, missing).map_err(|failure| {
        let way_out = match missing {
            Missing::AnError => {
                ". For the registration access token of the client: `keyswap init \
                 --registration-token-file FILE`"
            }
            Missing::Made => "",
        };
        failure.followed_by(way_out)
    })?;
    Ok(RegistrationToken::new(store))
}
