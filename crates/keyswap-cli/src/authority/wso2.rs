//! `kind = "wso2"`: a WSO2 Identity Server, or an organization of Asgardeo.

use keyswap_admin::Wso2;
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
pub(crate) struct Wso2Table {
    url: Url,
    management_client_id: String,
    management_secret: SecretSource,
    application_id: String,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for Wso2Table {
    const NAME: &'static str = "wso2";
    const PROVED_WITH: Option<&'static str> = None;

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
        Ok(Some(Wso2::token_endpoint(&self.url)?))
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let management = &self.management_client_id;
        let ring = to.management_ring(management, &self.management_secret).await?;
        let server = Wso2::builder(self.url.clone(), management, &self.application_id);
        let server = server.management(management, ring).pace(to.pace.clone()).build()?;
        Ok(Box::new(move |client| {
            let mut wso2 = server.another(client.id(), &self.application_id);
            if let Some(authentication) = client.authentication() {
                wso2 = wso2.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Wso2(wso2.build()?))
        }))
    }
}
