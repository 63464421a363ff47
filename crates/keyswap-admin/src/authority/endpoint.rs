//! Where programs get their tokens.

use keyswap_tower::Profile;
use url::Url;

use super::ClientAuthentication;

/// The token endpoint of an authorization server, and what a program has to know to use it.
///
/// Each server's own is found without any credentials of the management API: [`Auth0::token_endpoint`] and the like.
///
/// ```
/// use keyswap_admin::Auth0;
/// use keyswap_tower::Profile;
///
/// let endpoint = Auth0::token_endpoint(&"https://tenant.eu.auth0.com".parse()?)?;
/// assert_eq!(endpoint.url.as_str(), "https://tenant.eu.auth0.com/oauth/token");
/// assert_eq!(endpoint.profile, Profile::Auth0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Auth0::token_endpoint`]: super::Auth0::token_endpoint
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenEndpoint {
    /// Where token requests go.
    pub url: Url,
    /// The issuer, whose metadata stands at a well-known address below it (RFC 8414 section 3, OpenID Connect Discovery
    /// section 4), where that is known.
    pub issuer: Option<Url>,
    /// How the server says that a secret is wrong.
    pub profile: Profile,
    /// How a client authenticates that is not registered for another way.
    pub authentication: ClientAuthentication,
}

impl TokenEndpoint {
    /// An endpoint whose issuer is not known.
    #[must_use]
    pub fn new(url: Url, profile: Profile, authentication: ClientAuthentication) -> Self {
        Self { url, issuer: None, profile, authentication }
    }

    /// With this issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: Url) -> Self {
        self.issuer = Some(issuer);
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::authority::{Auth0, Entra, FusionAuth, Hydra, Keycloak, Okta, Wso2, Zitadel};

    #[test]
    fn each_server_has_its_token_endpoint_where_it_documents_it() {
        let url = |text: &str| text.parse().unwrap();
        let here = url("http://127.0.0.1:4400");
        let cases = [
            (
                Auth0::token_endpoint(&url("https://tenant.eu.auth0.com/")),
                "https://tenant.eu.auth0.com/oauth/token",
                "https://tenant.eu.auth0.com/",
            ),
            (
                Entra::token_endpoint(None, "contoso.onmicrosoft.com"),
                "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
                "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0",
            ),
            (
                Entra::token_endpoint(Some(&here), "t"),
                "http://127.0.0.1:4400/t/oauth2/v2.0/token",
                "http://127.0.0.1:4400/t/v2.0",
            ),
            (
                FusionAuth::token_endpoint(&here),
                "http://127.0.0.1:4400/oauth2/token",
                "http://127.0.0.1:4400/",
            ),
            (
                Hydra::token_endpoint(&url("https://auth.example/hydra")),
                "https://auth.example/hydra/oauth2/token",
                "https://auth.example/hydra",
            ),
            (
                Keycloak::token_endpoint(&url("https://login.example"), "a shop"),
                "https://login.example/realms/a%20shop/protocol/openid-connect/token",
                "https://login.example/realms/a%20shop",
            ),
            (
                Okta::token_endpoint(&url("https://org.okta.com"), None),
                "https://org.okta.com/oauth2/default/v1/token",
                "https://org.okta.com/oauth2/default",
            ),
            (
                Okta::token_endpoint(&url("https://org.okta.com"), Some("aus1")),
                "https://org.okta.com/oauth2/aus1/v1/token",
                "https://org.okta.com/oauth2/aus1",
            ),
            (
                Wso2::token_endpoint(&url("https://api.asgardeo.io/t/shop")),
                "https://api.asgardeo.io/t/shop/oauth2/token",
                "https://api.asgardeo.io/t/shop/oauth2/token",
            ),
            (
                Zitadel::token_endpoint(&url("https://shop.zitadel.cloud")),
                "https://shop.zitadel.cloud/oauth/v2/token",
                "https://shop.zitadel.cloud/",
            ),
        ];
        for (endpoint, expected, issuer) in cases {
            let endpoint = endpoint.unwrap();
            assert_eq!(endpoint.url.as_str(), expected);
            assert_eq!(endpoint.issuer.unwrap().as_str(), issuer);
        }
    }

    #[cfg(feature = "cognito")]
    #[test]
    fn an_amazon_cognito_gives_tokens_at_its_domain_and_is_the_issuer_at_its_region() {
        let domain = "https://shop.auth.eu-west-1.amazoncognito.com".parse().unwrap();
        let endpoint = crate::authority::Cognito::token_endpoint("eu-west-1_AbC", &domain).unwrap();
        let url = "https://shop.auth.eu-west-1.amazoncognito.com/oauth2/token";
        assert_eq!(endpoint.url.as_str(), url);
        let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC";
        assert_eq!(endpoint.issuer.unwrap().as_str(), issuer);
    }
}
