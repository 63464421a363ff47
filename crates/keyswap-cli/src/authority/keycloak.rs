//! `kind = "keycloak"`: a realm of a Keycloak.

use keyswap_admin::Keycloak;
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
pub(crate) struct KeycloakTable {
    url: Url,
    realm: String,
    management_client_id: String,
    management_secret: SecretSource,
    management_realm: Option<String>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for KeycloakTable {
    const NAME: &'static str = "keycloak";
    const PROVED_WITH: Option<&'static str> = None;

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.url)
    }

    /// A client of the same id in another realm is another one.
    fn management(&self) -> Option<(&str, &SecretSource)> {
        let is_of_the_realm =
            self.management_realm.as_ref().is_none_or(|realm| *realm == self.realm);
        is_of_the_realm.then_some((&self.management_client_id, &self.management_secret))
    }

    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        Some(&mut self.management_secret)
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(Keycloak::token_endpoint(&self.url, &self.realm)?))
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let management = &self.management_client_id;
        let ring = to.management_ring(management, &self.management_secret).await?;
        let mut realm = Keycloak::builder(self.url.clone(), &self.realm, management)
            .management(management, ring)
            .pace(to.pace.clone());
        if let Some(other) = &self.management_realm {
            realm = realm.management_realm(other);
        }
        let realm = realm.build()?;
        Ok(Box::new(move |client| {
            let mut keycloak = realm.another(client.id());
            if let Some(authentication) = client.authentication() {
                keycloak = keycloak.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Keycloak(keycloak.build()?))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::AuthorityTable;
    use super::super::table::tests::{parsed, refused};
    use crate::secret_source::SecretSource;

    #[test]
    fn a_keycloak_is_read_and_needs_a_realm_and_no_scope() {
        let client = "id = \"billing\"";
        let keycloak = |more: &str| {
            format!(
                "kind = \"keycloak\"\nurl = \"https://login.example/auth\"\n\
                 management_client_id = \"keyswap\"\n\
                 management_secret = {{ file = \"management\" }}\n{more}"
            )
        };
        let realm = keycloak("realm = \"shop\"");
        let AuthorityTable::Keycloak(table) = parsed(client, &realm).unwrap() else { panic!() };
        assert_eq!(table.management_realm, None);
        assert_eq!(table.management_secret, SecretSource::File("etc/management".into()));
        assert!(refused(client, &keycloak("")).contains("missing field `realm`"));
        let error = refused(&format!("{client}\nscope = \"read\""), &realm);
        assert!(error.contains("has a `scope`") && error.contains("without one"), "{error}");
    }
}
