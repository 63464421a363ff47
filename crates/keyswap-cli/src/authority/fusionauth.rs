//! `kind = "fusionauth"`: a FusionAuth.

use keyswap_admin::FusionAuth;
use keyswap_admin::authority::TokenEndpoint;
use serde::Deserialize;
use url::Url;

use super::ConfiguredAuthority;
use super::kind::{Connected, Connecting, Kind};
use super::table::Limit;
use crate::configuration::is_on_this_machine;
use crate::exit::Failure;
use crate::secret_source::SecretSource;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FusionAuthTable {
    url: Url,
    api_key: SecretSource,
    application_id: Option<String>,
    tenant_id: Option<String>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for FusionAuthTable {
    const NAME: &'static str = "fusionauth";
    const PROVED_WITH: Option<&'static str> = None;

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.url)
    }

    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        Some(&mut self.api_key)
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(FusionAuth::token_endpoint(&self.url)?))
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let pace = to.pace.clone();
        Ok(Box::new(move |client| {
            let mut fusionauth = FusionAuth::builder(self.url.clone(), client.id())
                .api_key(self.api_key.read()?)
                .pace(pace.clone());
            if let Some(id) = &self.application_id {
                fusionauth = fusionauth.application(id);
            }
            if let Some(id) = &self.tenant_id {
                fusionauth = fusionauth.tenant(id);
            }
            if let Some(authentication) = client.authentication() {
                fusionauth = fusionauth.authentication(authentication);
            }
            Ok(ConfiguredAuthority::FusionAuth(fusionauth.build()?))
        }))
    }
}
