//! `[authority]`, of whichever kind.

use keyswap_admin::authority::TokenEndpoint;
use serde::Deserialize;

use super::auth0::Auth0Table;
use super::cognito::CognitoTable;
use super::entra::EntraTable;
use super::exec::ExecTable;
use super::fusionauth::FusionAuthTable;
use super::hydra::HydraTable;
use super::keycloak::KeycloakTable;
use super::kind::{Connected, Connecting, Kind};
use super::okta::OktaTable;
use super::registration::RegistrationTable;
use super::wso2::Wso2Table;
use super::zitadel::ZitadelTable;
use crate::embedded::Asks;
use crate::exit::Failure;
use crate::secret_source::SecretSource;

/// The authorization server; `kind` says which keys there are.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum AuthorityTable {
    Auth0(Auth0Table),
    Cognito(CognitoTable),
    Entra(EntraTable),
    Exec(ExecTable),
    // In one word, as its profile and its capabilities name it.
    #[serde(rename = "fusionauth")]
    FusionAuth(FusionAuthTable),
    Hydra(HydraTable),
    Keycloak(KeycloakTable),
    Okta(OktaTable),
    Registration(RegistrationTable),
    Wso2(Wso2Table),
    Zitadel(ZitadelTable),
}

/// How often a server may be asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit {
    /// How many management requests a second the server allows.
    pub(crate) requests_per_second: Option<f64>,
    /// The part of them that is taken.
    pub(crate) share: Option<f64>,
}

/// The same of whichever kind it is.
macro_rules! of_each {
    ($self:ident, $table:ident => $act:expr) => {
        match $self {
            Self::Auth0($table) => $act,
            Self::Cognito($table) => $act,
            Self::Entra($table) => $act,
            Self::Exec($table) => $act,
            Self::FusionAuth($table) => $act,
            Self::Hydra($table) => $act,
            Self::Keycloak($table) => $act,
            Self::Okta($table) => $act,
            Self::Registration($table) => $act,
            Self::Wso2($table) => $act,
            Self::Zitadel($table) => $act,
        }
    };
}

impl AuthorityTable {
    /// The name of its kind, and what a client may name for the token requests that prove its secret.
    pub(crate) fn proved_with(&self) -> (&'static str, Option<&'static str>) {
        fn of<K: Kind>(_: &K) -> (&'static str, Option<&'static str>) {
            (K::NAME, K::PROVED_WITH)
        }
        of_each!(self, table => of(table))
    }

    /// How often it may be asked.
    pub(crate) fn limit(&self) -> Limit {
        of_each!(self, table => table.limit())
    }

    /// Whether nothing but this machine is between it and the rotator.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        of_each!(self, table => table.is_on_this_machine())
    }

    /// The client that makes the management requests and where its secret comes from, if it is one that could
    /// itself be rotated here.
    pub(crate) fn management(&self) -> Option<(&str, &SecretSource)> {
        of_each!(self, table => table.management())
    }

    /// Where the secret comes from that management requests are made with.
    pub(crate) fn secret_source(&mut self) -> Option<&mut SecretSource> {
        of_each!(self, table => table.secret_source())
    }

    /// What does not go together.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        of_each!(self, table => table.check())
    }

    /// Where its clients get their tokens; `None` where that is not known.
    pub(crate) fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        of_each!(self, table => table.token_endpoint())
    }

    /// Notes what is asked of a server like it, for all clients.
    pub(crate) fn ask(&self, asks: &mut Asks) {
        of_each!(self, table => table.ask(asks));
    }

    /// Why there is no server like it here, in words for the user, if so.
    pub(crate) fn cannot_be_rehearsed(&self) -> Option<&'static str> {
        of_each!(self, table => table.cannot_be_rehearsed())
    }

    pub(super) async fn connect<'a>(
        &'a self,
        to: &mut Connecting<'a>,
    ) -> Result<Connected<'a>, Failure> {
        of_each!(self, table => table.connect(to).await)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::configuration::Configuration;

    /// What stands under `[client]` and under `[authority]`, in a configuration that has all else.
    pub(in super::super) fn parsed(
        client: &str,
        authority: &str,
    ) -> Result<AuthorityTable, String> {
        let text = format!(
            "[client]\n{client}\n[authority]\n{authority}\n[store]\ndirectory = \"store\"\n\
             [[application]]\nname = \"billing\"\n"
        );
        Configuration::parse(&text, Path::new("etc/keyswap.toml"))
            .map(|configuration| configuration.authority)
            .map_err(|error| error.to_string())
    }

    pub(in super::super) fn refused(client: &str, authority: &str) -> String {
        parsed(client, authority).unwrap_err()
    }
}
