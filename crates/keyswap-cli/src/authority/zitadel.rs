//! `kind = "zitadel"`: an instance of ZITADEL.

use keyswap_admin::Zitadel;
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
pub(crate) struct ZitadelTable {
    url: Url,
    token: SecretSource,
    project_id: String,
    application_id: String,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for ZitadelTable {
    const NAME: &'static str = "zitadel";
    const PROVED_WITH: Option<&'static str> = None;

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.url)
    }

    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        Some(&mut self.token)
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(Zitadel::token_endpoint(&self.url)?))
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let pace = to.pace.clone();
        Ok(Box::new(move |client| {
            let mut zitadel = Zitadel::builder(self.url.clone(), client.id())
                .application(&self.project_id, &self.application_id)
                .token(self.token.read()?)
                .pace(pace.clone());
            if let Some(authentication) = client.authentication() {
                zitadel = zitadel.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Zitadel(zitadel.build()?))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::AuthorityTable;
    use super::super::table::tests::{parsed, refused};
    use crate::secret_source::SecretSource;

    #[test]
    fn a_zitadel_is_read_and_needs_both_ids_and_no_scope() {
        let client = "id = \"1@shop\"";
        let zitadel = |ids: &str| {
            format!(
                "kind = \"zitadel\"\nurl = \"https://shop.zitadel.cloud\"\n\
                 token = {{ file = \"token\" }}\n{ids}"
            )
        };
        let both = zitadel("project_id = \"2\"\napplication_id = \"3\"");
        let AuthorityTable::Zitadel(table) = parsed(client, &both).unwrap() else { panic!() };
        assert_eq!(table.token, SecretSource::File("etc/token".into()));
        let error = refused(client, &zitadel("project_id = \"2\""));
        assert!(error.contains("missing field `application_id`"), "{error}");
        let error = refused(&format!("{client}\nscope = \"read\""), &both);
        assert!(error.contains("has a `scope`") && error.contains("without one"), "{error}");
    }
}
