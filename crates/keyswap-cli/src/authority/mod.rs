//! The authority that a configuration names: a file a kind, with its keys in `[authority]` and how it is reached.

mod auth0;
mod cognito;
mod configured;
mod entra;
mod exec;
mod fusionauth;
mod hydra;
mod keycloak;
mod kind;
mod okta;
mod registration;
mod table;
mod wso2;
mod zitadel;

use std::io::IsTerminal;

pub(crate) use self::configured::ConfiguredAuthority;
pub(crate) use self::kind::Purpose;
use self::kind::{Connected, Connecting, Member};
pub(crate) use self::registration::registration_token;
pub(crate) use self::table::{AuthorityTable, Limit};
use crate::configuration::{Configuration, OfClient};
use crate::exit::Failure;

/// What all clients of a configuration share at their server: connections, the management token, the pace.
pub(crate) struct Shared<'a> {
    connected: Connected<'a>,
    _member: Option<Member>,
}

impl<'a> Shared<'a> {
    pub(crate) async fn new(configuration: &'a Configuration) -> Result<Self, Failure> {
        Self::to(Purpose::Rotates, configuration).await
    }

    pub(crate) async fn to(
        purpose: Purpose,
        configuration: &'a Configuration,
    ) -> Result<Self, Failure> {
        let mut to = Connecting::new(configuration, purpose);
        let connected = configuration.authority.connect(&mut to).await?;
        Ok(Self { connected, _member: to.member() })
    }

    /// The server, for one client.
    pub(crate) fn authority(&self, client: &OfClient<'_>) -> Result<ConfiguredAuthority, Failure> {
        (self.connected)(client)
    }
}

/// A line of an authority's own.
fn say(who: &str, line: &str) {
    // On a terminal there may be a live line, which is drawn again by itself.
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{clear}{who}: {line}");
}
