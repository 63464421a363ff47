//! `kind = "entra"`: a tenant of Microsoft Entra ID.

use std::time::Duration;

use keyswap_admin::Entra;
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

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntraTable {
    tenant: String,
    management_client_id: String,
    management_secret: SecretSource,
    object_id: Option<String>,
    scope: Option<String>,
    login_url: Option<Url>,
    graph_url: Option<Url>,
    lifetime_days: Option<u32>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl EntraTable {
    /// How long a new secret is valid.
    fn lifetime(&self) -> Option<Duration> {
        self.lifetime_days.map(|days| DAY * days)
    }
}

impl Kind for EntraTable {
    const NAME: &'static str = "entra";
    const PROVED_WITH: Option<&'static str> = Some("scope");

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        [&self.login_url, &self.graph_url]
            .into_iter()
            .all(|url| url.as_ref().is_some_and(is_on_this_machine))
    }

    fn management(&self) -> Option<(&str, &SecretSource)> {
        Some((&self.management_client_id, &self.management_secret))
    }

    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        Some(&mut self.management_secret)
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(Entra::token_endpoint(self.login_url.as_ref(), &self.tenant)?))
    }

    fn ask(&self, asks: &mut Asks) {
        asks.scope.clone_from(&self.scope);
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let management = &self.management_client_id;
        let ring = to.management_ring(management, &self.management_secret).await?;
        // The tenant, as its management client sees it.
        let mut tenant = Entra::builder(&self.tenant, management)
            .management(management, ring)
            .pace(to.pace.clone());
        if let Some(url) = &self.login_url {
            tenant = tenant.login_url(url.clone());
        }
        if let Some(url) = &self.graph_url {
            tenant = tenant.graph_url(url.clone());
        }
        if let Some(lifetime) = self.lifetime() {
            tenant = tenant.lifetime(lifetime);
        }
        let tenant = tenant.build()?;
        Ok(Box::new(move |client| {
            let mut entra = tenant.another(client.id());
            if let Some(id) = &self.object_id {
                entra = entra.application(id);
            }
            if let Some(scope) = client.scope().or(self.scope.as_deref()) {
                entra = entra.scope(scope);
            }
            if let Some(authentication) = client.authentication() {
                entra = entra.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Entra(entra.build()?))
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::table::AuthorityTable;
    use super::super::table::tests::{parsed, refused};
    use crate::secret_source::SecretSource;

    #[test]
    fn an_entra_is_read_and_its_secrets_are_valid_for_days() {
        let client = "id = \"1111\"\nscope = \"api://billing/.default\"";
        let entra = |more: &str| {
            format!(
                "kind = \"entra\"\ntenant = \"contoso.onmicrosoft.com\"\nmanagement_client_id = \"2222\"\n\
                 management_secret = {{ file = \"secret\" }}\n{more}"
            )
        };
        let authority = parsed(client, &entra("lifetime_days = 90")).unwrap();
        let AuthorityTable::Entra(table) = &authority else { panic!() };
        assert_eq!(table.management_secret, SecretSource::File("etc/secret".into()));
        assert_eq!(table.lifetime(), Some(Duration::from_secs(90 * 86_400)));
        assert!(!authority.is_on_this_machine());
        let here = "login_url = \"http://127.0.0.1:4400\"\ngraph_url = \"http://localhost:4400\"";
        assert!(parsed(client, &entra(here)).unwrap().is_on_this_machine());
        let error = refused(client, &entra("lifetime = \"90d\""));
        assert!(error.contains("unknown field `lifetime`"), "{error}");
        assert!(error.contains("`lifetime_days`"), "{error}");
        let error = refused(client, &entra("").replace("tenant", "tennant"));
        assert!(error.contains("tennant"), "{error}");
    }
}
