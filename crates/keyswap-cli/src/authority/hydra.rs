//! `kind = "hydra"`: an Ory Hydra, administered at its admin API.

use keyswap_admin::Hydra;
use keyswap_admin::authority::TokenEndpoint;
use serde::Deserialize;
use url::Url;

use super::ConfiguredAuthority;
use super::kind::{Connected, Connecting, Kind};
use super::table::Limit;
use crate::configuration::is_on_this_machine;
use crate::embedded::Asks;
use crate::exit::Failure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HydraTable {
    url: Url,
    admin_url: Url,
    scope: Option<String>,
    overlap: Option<bool>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for HydraTable {
    const NAME: &'static str = "hydra";
    const PROVED_WITH: Option<&'static str> = Some("scope");

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.admin_url)
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(Hydra::token_endpoint(&self.url)?))
    }

    fn ask(&self, asks: &mut Asks) {
        asks.scope.clone_from(&self.scope);
        asks.overlap = self.overlap;
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let pace = to.pace.clone();
        Ok(Box::new(move |client| {
            let (url, admin_url) = (self.url.clone(), self.admin_url.clone());
            let mut hydra = Hydra::builder(url, admin_url, client.id()).pace(pace.clone());
            if let Some(scope) = client.scope().or(self.scope.as_deref()) {
                hydra = hydra.scope(scope);
            }
            if let Some(overlap) = self.overlap {
                hydra = hydra.overlap(overlap);
            }
            // So long it looks whether what it removed is gone from each node.
            if let Some(window) = client.propagation_window() {
                hydra = hydra.propagation_window(window);
            }
            if let Some(authentication) = client.authentication() {
                hydra = hydra.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Hydra(hydra.build()?))
        }))
    }
}
