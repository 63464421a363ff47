//! `kind = "okta"`: an org of Okta.

use keyswap_admin::Okta;
use keyswap_admin::authority::{PrivateKey, TokenEndpoint};
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
pub(crate) struct OktaTable {
    url: Url,
    api_token: Option<SecretSource>,
    management_client_id: Option<String>,
    management_private_key: Option<SecretSource>,
    management_key_id: Option<String>,
    application_id: Option<String>,
    authorization_server: Option<String>,
    scope: Option<String>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for OktaTable {
    const NAME: &'static str = "okta";
    const PROVED_WITH: Option<&'static str> = Some("scope");

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        is_on_this_machine(&self.url)
    }

    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        self.api_token.as_mut().or(self.management_private_key.as_mut())
    }

    fn check(&self) -> Result<(), &'static str> {
        match (&self.api_token, &self.management_client_id, &self.management_private_key) {
            (Some(_), None, None) if self.management_key_id.is_none() => Ok(()),
            (None, Some(_), Some(_)) => Ok(()),
            _ => Err(
                "the management requests of okta are made with an `api_token`, or by a service app with its \
                 `management_client_id` and its `management_private_key`: name either the one or both of the \
                 others",
            ),
        }
    }

    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(Okta::token_endpoint(&self.url, self.authorization_server.as_deref())?))
    }

    fn ask(&self, asks: &mut Asks) {
        asks.scope.clone_from(&self.scope);
    }

    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let pace = to.pace.clone();
        Ok(Box::new(move |client| {
            let mut okta = Okta::builder(self.url.clone(), client.id()).pace(pace.clone());
            if let Some(token) = &self.api_token {
                okta = okta.api_token(token.read()?);
            }
            let app = (&self.management_client_id, &self.management_private_key);
            if let (Some(app), Some(key)) = app {
                let key = PrivateKey::from_pem(&key.read_text()?)?;
                okta = okta.service_app(app, key, self.management_key_id.clone());
            }
            if let Some(id) = &self.application_id {
                okta = okta.application(id);
            }
            if let Some(id) = &self.authorization_server {
                okta = okta.authorization_server(id);
            }
            if let Some(scope) = client.scope().or(self.scope.as_deref()) {
                okta = okta.scope(scope);
            }
            if let Some(authentication) = client.authentication() {
                okta = okta.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Okta(okta.build()?))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::AuthorityTable;
    use super::super::table::tests::{parsed, refused};
    use super::OktaTable;
    use crate::secret_source::SecretSource;

    const CLIENT: &str = "id = \"0oa1\"";

    fn okta(management: &str) -> String {
        format!("kind = \"okta\"\nurl = \"https://org.okta.com\"\nscope = \"read\"\n{management}")
    }

    fn read(management: &str) -> OktaTable {
        match parsed(CLIENT, &okta(management)).unwrap() {
            AuthorityTable::Okta(table) => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_okta_is_read_and_its_token_never_stands_in_the_file() {
        let table = read("api_token = { file = \"api-token\" }");
        assert_eq!(table.application_id, None);
        assert_eq!(table.api_token, Some(SecretSource::File("etc/api-token".into())));
        let error = refused(CLIENT, &okta("api_token = \"hunter2\""));
        assert!(error.contains("PATH") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_okta_has_an_api_token_or_a_service_app_with_its_key() {
        let app = "management_client_id = \"0oa2\"";
        let key = "management_private_key = { file = \"key.pem\" }";
        let table = read(&format!("{app}\n{key}"));
        assert_eq!(table.management_private_key, Some(SecretSource::File("etc/key.pem".into())));
        let token = "api_token = { file = \"token\" }";
        for mistake in [
            String::new(),
            app.to_owned(),
            key.to_owned(),
            format!("{token}\n{app}\n{key}"),
            format!("{token}\nmanagement_key_id = \"key-1\""),
        ] {
            let error = refused(CLIENT, &okta(&mistake));
            assert!(error.contains("`management_private_key`"), "{mistake}");
        }
    }
}
