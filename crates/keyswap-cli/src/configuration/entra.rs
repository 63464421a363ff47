//! `[authority]` with `kind = "entra"`: a tenant of Microsoft Entra ID.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::is_on_this_machine;
use crate::secret_source::SecretSource;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntraTable {
    pub(crate) tenant: String,
    pub(crate) management_client_id: String,
    pub(crate) management_secret: SecretSource,
    pub(crate) object_id: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) login_url: Option<Url>,
    pub(crate) graph_url: Option<Url>,
    lifetime_days: Option<u32>,
    pub(super) requests_per_second: Option<f64>,
    pub(super) share: Option<f64>,
}

impl EntraTable {
    /// How long a new secret is valid.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.lifetime_days.map(|days| DAY * days)
    }

    /// Whether nothing but this machine is between it and the rotator.
    pub(super) fn is_on_this_machine(&self) -> bool {
        [&self.login_url, &self.graph_url]
            .into_iter()
            .all(|url| url.as_ref().is_some_and(is_on_this_machine))
    }
}
