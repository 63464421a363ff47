//! The vendors whose descriptions are at hand.

use crate::vendor::Vendor;

macro_rules! description {
    ($file:literal) => {
        include_str!(concat!("../descriptions/", $file, ".json"))
    };
}

impl Vendor {
    /// Auth0: the clients of the Management API. The token endpoint is described elsewhere.
    #[must_use]
    pub fn auth0() -> Self {
        Self::new("Auth0", &[description!("auth0-management")]).undescribed("POST", "/oauth/token")
    }

    /// Okta: an OAuth application and its secrets, and the token endpoints, for clients that authenticate with Basic.
    #[must_use]
    pub fn okta() -> Self {
        Self::new("Okta", &[description!("okta-management"), description!("okta-oauth")])
            // Its other operations say what an unknown token is answered with.
            .also_answers("getApplication", 401)
    }

    /// Keycloak: clients and their secrets in the Admin REST API. That describes no errors, and says 200 of what has no
    /// body: the statuses are those that 26.7.3 gives.
    #[must_use]
    pub fn keycloak() -> Self {
        let measured = [
            ("getClients", &[401, 403, 404][..]),
            ("getClientByRealmById", &[401, 403, 404]),
            ("putClient", &[204, 400, 401, 403, 404]),
        ];
        let mut keycloak = Self::new("Keycloak", &[description!("keycloak-admin-23.0.7")])
            .undescribed("POST", "/realms/{}/protocol/openid-connect/token");
        for (operation, statuses) in measured {
            for status in statuses {
                keycloak = keycloak.also_answers(operation, *status);
            }
        }
        keycloak
    }

    /// Microsoft Entra ID: the passwords of an application in Microsoft Graph, and the report of their use (written by hand
    /// from its metadata and reference).
    #[must_use]
    pub fn entra() -> Self {
        let activity = description!("msgraph-beta-credential-activity");
        Self::new("Microsoft Entra ID", &[description!("msgraph-application-passwords"), activity])
            .undescribed("POST", "/{}/oauth2/v2.0/token")
    }

    /// Ory Hydra: clients and their rotated secrets, and the token endpoint, for clients that authenticate with Basic. Of the
    /// parameters of a token request the description has some (RFC 6749 section 4.4.2 has a scope).
    #[must_use]
    pub fn hydra() -> Self {
        Self::new("Ory Hydra", &[description!("hydra")]).also_takes("oauth2TokenExchange", "scope")
    }

    /// Ory Hydra up to v26.2.0, which has no rotated secrets: there a request for them is one for a path that there is not,
    /// and the answer to that is not described.
    #[must_use]
    pub fn hydra_without_rotated_secrets() -> Self {
        Self::hydra().also_answers("deleteRotatedOAuth2ClientSecrets", 404)
    }

    /// FusionAuth: an application. What is sent to the OAuth endpoints is not described. Its documentation says that some
    /// errors have no body ("The response will be empty"), where the description has one for all.
    #[must_use]
    pub fn fusionauth() -> Self {
        Self::new("FusionAuth", &[description!("fusionauth")])
            .undescribed("POST", "/oauth2/token")
            .undescribed("POST", "/oauth2/introspect")
            .also_answers("patchApplicationWithId", 401)
            .also_answers("patchApplicationWithId", 404)
    }

    /// WSO2 Identity Server: the OAuth protocol of an application, and its secrets.
    #[must_use]
    pub fn wso2() -> Self {
        Self::new("WSO2 Identity Server", &[description!("wso2-is")])
            .undescribed("POST", "/oauth2/token")
            .undescribed("POST", "/t/{}/oauth2/token")
    }

    /// A server of RFC 7591 and RFC 7592 (written by hand from these). The addresses are the server's own choice.
    #[must_use]
    pub fn registration() -> Self {
        Self::new("RFC 7591 and 7592", &[description!("rfc7591-7592-registration")])
            .undescribed("POST", "/token")
    }
}
