//! `kind = "auth0"`: a tenant of Auth0.

use keyswap_admin::Auth0;
use keyswap_admin::authority::TokenEndpoint;
use serde::Deserialize;
use url::Url;

use super::ConfiguredAuthority;
use super::kind::{Connected, Connecting, Kind};
use super::table::Limit;
use crate::configuration::is_on_this_machine;
use crate::embedded::Asks;
use crate::exit::Failure;
use crate::secret_source::SecretSource;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth0Table {
    url: Url,
    audience: Option<String>,
    management_client_id: String,
    management_secret: SecretSource,
    management_audience: Option<String>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for Auth0Table {
    const NAME: &'static str = "auth0";
    const PROVED_WITH: Option<&'static str> = Some("audience");

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.url)
    }

    fn management(&self) -> Option<(&str, &SecretSource)> {
        Some((&self.management_client_id, &self.management_secret))
    }

    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        Some(&mut self.management_secret)
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(Auth0::token_endpoint(&self.url)?))
    }

    fn ask(&self, asks: &mut Asks) {
        asks.audience.clone_from(&self.audience);
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let management = &self.management_client_id;
        let ring = to.management_ring(management, &self.management_secret).await?;
        let mut tenant = Auth0::builder(self.url.clone(), management)
            .management(management, ring)
            .pace(to.pace.clone());
        if let Some(audience) = &self.management_audience {
            tenant = tenant.management_audience(audience);
        }
        let tenant = tenant.build()?;
        Ok(Box::new(move |client| {
            let mut auth0 = tenant.another(client.id());
            // What the management client may call is the Management API.
            let for_all = match client.is_management() {
                true => Some(tenant.management_audience()),
                false => self.audience.as_deref(),
            };
            if let Some(audience) = client.audience().or(for_all) {
                auth0 = auth0.audience(audience);
            }
            if let Some(authentication) = client.authentication() {
                auth0 = auth0.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Auth0(auth0.build()?))
        }))
    }
}
