//! What Cognito says of an app client: how a secret of it can be proved, and who else depends on one.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::http::error_code;
use super::super::{AuthorityError, AuthorityErrorKind};
use crate::finding::{Finding, Subject};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    pub(super) user_pool_client: AppClient,
}

/// The parts of an app client that matter here (`UserPoolClientType`).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AppClient {
    #[serde(rename = "AllowedOAuthFlowsUserPoolClient")]
    uses_oauth: bool,
    #[serde(rename = "AllowedOAuthFlows")]
    flows: Vec<String>,
    #[serde(rename = "AllowedOAuthScopes")]
    scopes: Vec<String>,
    /// Sign-in by the user pools API, without the domain.
    #[serde(rename = "ExplicitAuthFlows")]
    explicit: Vec<String>,
    /// Whether it is there is all that is kept.
    #[serde(rename = "ClientSecret")]
    secret: Option<IgnoredAny>,
}

/// By which request a secret is proved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Proof {
    ClientCredentials,
    /// One that there is not: the client is looked at first, and then that.
    RefreshToken,
}

impl AppClient {
    fn allows(&self, flow: &str) -> bool {
        self.uses_oauth && self.flows.iter().any(|one| one == flow)
    }

    pub(super) fn proof(&self, id: &str, scope: Option<&str>) -> Result<Proof, AuthorityError> {
        let error = |kind, message| Err(AuthorityError::new(kind, message));
        if self.allows("client_credentials") {
            let known = |one: &&str| self.scopes.iter().any(|scope| scope == one);
            let unknown =
                scope.and_then(|scope| scope.split_ascii_whitespace().find(|one| !known(one)));
            return match unknown {
                None => Ok(Proof::ClientCredentials),
                Some(scope) => error(
                    AuthorityErrorKind::Configuration,
                    format!(
                        "app client {id} may not have the scope {scope}, with which its secret would be proved: \
                         name one of its own custom scopes (Login pages, in the console)"
                    ),
                ),
            };
        }
        if self.allows("code") {
            return Ok(Proof::RefreshToken);
        }
        error(
            AuthorityErrorKind::UnsupportedClient,
            format!(
                "app client {id} gets no tokens at the domain of its user pool, so no secret of it can be proved: \
                 it is allowed neither the client_credentials nor the code grant"
            ),
        )
    }

    /// What is worth knowing before its secret changes.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut found = vec![Finding::ok(
            Subject::Permissions,
            "the AWS credentials may describe the app client and list its secrets; whether they may add and delete \
             one, AWS says only when that is asked for",
        )];
        // None of these sends the secret, or a hash that is made with it.
        let explicit = self.explicit.iter().filter(|one| !one.ends_with("REFRESH_TOKEN_AUTH"));
        let explicit: Vec<_> = explicit.cloned().filter_map(error_code).collect();
        if !explicit.is_empty() {
            found.push(Finding::warning(
                Subject::Use,
                format!(
                    "users may sign in to it by the user pools API ({}), where a program shows a SECRET_HASH that it \
                     makes with the secret: no keyswap layer does that, so such a program has to take the secret \
                     from the list, and try the next one where Cognito says that it cannot verify the hash",
                    explicit.join(", ")
                ),
            ));
        }
        if self.secret.is_some() {
            found.push(Finding::warning(
                Subject::Use,
                "DescribeUserPoolClient still shows the secret that the app client was made with, and, others \
                 report, none once that is deleted: whatever reads it there (Terraform's `client_secret`, scripts) \
                 has to get it from the store from now on",
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> AppClient {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_proof_is_one_that_the_app_client_may_ask_for() {
        let own = client(
            r#"{"AllowedOAuthFlowsUserPoolClient":true,"AllowedOAuthFlows":["client_credentials"],
                "AllowedOAuthScopes":["orders/read","orders/write"]}"#,
        );
        assert_eq!(own.proof("id", None), Ok(Proof::ClientCredentials));
        assert_eq!(own.proof("id", Some("orders/write orders/read")), Ok(Proof::ClientCredentials));
        let error = own.proof("id", Some("orders/read orders/all")).unwrap_err();
        assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
        assert!(error.to_string().contains("orders/all"), "{error}");
        let of_users = client(
            r#"{"AllowedOAuthFlowsUserPoolClient":true,"AllowedOAuthFlows":["code","implicit"]}"#,
        );
        assert_eq!(of_users.proof("id", Some("any")), Ok(Proof::RefreshToken));
        for other in [
            "{}",
            r#"{"AllowedOAuthFlows":["client_credentials"]}"#,
            r#"{"AllowedOAuthFlowsUserPoolClient":true,"AllowedOAuthFlows":["implicit"]}"#,
        ] {
            let error = client(other).proof("id", None).unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::UnsupportedClient);
        }
    }

    #[test]
    fn who_else_depends_on_the_secret_is_told_and_the_secret_is_not() {
        let texts = |text: &str| -> Vec<String> {
            client(text).findings().iter().skip(1).map(ToString::to_string).collect()
        };
        assert!(texts("{}").is_empty());
        assert!(texts(r#"{"ExplicitAuthFlows":["ALLOW_REFRESH_TOKEN_AUTH"]}"#).is_empty());
        let told = texts(
            r#"{"ClientSecret":"the-value-of-it","ExplicitAuthFlows":["ALLOW_USER_SRP_AUTH","a b"]}"#,
        );
        assert!(told[0].contains("(ALLOW_USER_SRP_AUTH)"), "{told:?}");
        assert!(told[1].contains("Terraform"), "{told:?}");
        assert!(!told.join(" ").contains("the-value-of-it"), "{told:?}");
    }
}
