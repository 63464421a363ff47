//! `kind = "cognito"`: a user pool of Amazon Cognito.

#[cfg(feature = "aws")]
use keyswap_admin::Cognito;
use keyswap_admin::authority::TokenEndpoint;
use serde::Deserialize;
use url::Url;

#[cfg(feature = "aws")]
use super::ConfiguredAuthority;
use super::kind::{Connected, Connecting, Kind};
use super::table::Limit;
#[cfg(feature = "aws")]
use crate::configuration::OfClient;
use crate::configuration::is_on_this_machine;
use crate::exit::Failure;

/// It is read in every build, so that one without AWS can say so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(any(feature = "aws", test)),
    expect(dead_code, reason = "only read where AWS is built in")
)]
pub(crate) struct CognitoTable {
    user_pool_id: String,
    domain: Url,
    endpoint: Option<Url>,
    scope: Option<String>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for CognitoTable {
    const NAME: &'static str = "cognito";
    const PROVED_WITH: Option<&'static str> = Some("scope");

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    fn is_on_this_machine(&self) -> bool {
        self.endpoint.as_ref().is_some_and(is_on_this_machine)
    }

    #[cfg(feature = "aws")]
    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(Some(Cognito::token_endpoint(&self.user_pool_id, &self.domain)?))
    }

    #[cfg(not(feature = "aws"))]
    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(None)
    }

    fn cannot_be_rehearsed(&self) -> Option<&'static str> {
        Some(
            "a server of kind = \"cognito\" cannot be rehearsed: its requests are signed with the AWS credentials of this \
             machine, which a rehearsal does not use. `keyswap plan` and `keyswap verify` look at the real one and \
             change nothing",
        )
    }

    #[cfg(feature = "aws")]
    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        // The pool, of which any app client will do here.
        let any = to.configuration.clients().next();
        let any = any.as_ref().map(OfClient::id).unwrap_or_default();
        let mut pool = Cognito::builder(&self.user_pool_id, any, self.domain.clone());
        if let Some(endpoint) = &self.endpoint {
            pool = pool.endpoint(endpoint.clone());
        }
        let pool = pool.pace(to.pace.clone()).build()?;
        Ok(Box::new(move |client| {
            let mut cognito = pool.another(client.id());
            if let Some(scope) = client.scope().or(self.scope.as_deref()) {
                cognito = cognito.scope(scope);
            }
            if let Some(authentication) = client.authentication() {
                cognito = cognito.authentication(authentication);
            }
            Ok(ConfiguredAuthority::Cognito(cognito.build()?))
        }))
    }

    #[cfg(not(feature = "aws"))]
    async fn connect<'a>(&'a self, _: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        Err(Failure::usage(
            "the configuration names an Amazon Cognito, and this keyswap was built without AWS: install it \
             with `cargo install --path crates/keyswap-cli --features aws`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::{parsed, refused};
    use super::super::table::{AuthorityTable, Limit};

    const CLIENT: &str = "id = \"1example\"";

    fn cognito(more: &str) -> String {
        format!(
            "kind = \"cognito\"\nuser_pool_id = \"eu-west-1_AbC\"\n\
             domain = \"https://shop.auth.eu-west-1.amazoncognito.com\"\nscope = \"orders/read\"\n{more}"
        )
    }

    #[test]
    fn a_cognito_is_read_and_no_key_of_aws_stands_in_the_file() {
        let authority = parsed(CLIENT, &cognito("requests_per_second = 5")).unwrap();
        let AuthorityTable::Cognito(table) = &authority else { panic!() };
        assert_eq!((table.user_pool_id.as_str(), &table.endpoint), ("eu-west-1_AbC", &None));
        let domain = "shop.auth.eu-west-1.amazoncognito.com";
        assert_eq!(
            (table.domain.host_str(), table.scope.as_deref()),
            (Some(domain), Some("orders/read"))
        );
        assert_eq!(authority.limit(), Limit { requests_per_second: Some(5.0), share: None });
        let error = refused(CLIENT, &cognito("secret_access_key = \"hunter2\""));
        assert!(error.contains("unknown field") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_cognito_is_on_this_machine_where_its_endpoint_is() {
        let is_here = |more: &str| parsed(CLIENT, &cognito(more)).unwrap().is_on_this_machine();
        assert!(!is_here(""));
        assert!(!is_here("endpoint = \"https://vpce.example\""));
        assert!(is_here("endpoint = \"http://127.0.0.1:5000\""));
    }
}
