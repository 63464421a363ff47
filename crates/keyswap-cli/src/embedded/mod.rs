//! The vendors as which the embedded server answers. Each is one file here, with all that is of its own.

mod asks;
mod auth0;
mod entra;
mod fusionauth;
mod hydra;
mod keycloak;
mod okta;
mod registration;
mod wso2;
mod zitadel;

use std::fmt;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use keyswap_testkit::{Builder, Client};

pub(crate) use self::asks::Asks;
use crate::authority::AuthorityTable;
use crate::exit::Failure;

/// The client that makes the management requests.
pub(crate) const MANAGEMENT_CLIENT: &str = "keyswap-rotator";
/// What Zitadel and WSO2 call the application.
const APPLICATION: &str = "billing-application";

/// Text as a configuration has it: a string of JSON is one of TOML as well.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// One vendor.
pub(crate) struct Vendor {
    /// As `--provider` names it.
    pub(crate) name: &'static str,
    /// What `--help` says of it.
    about: &'static str,
    /// What the server is said to be.
    pub(crate) like: &'static str,
    /// What management requests carry, if they carry anything.
    pub(crate) management: Option<Management>,
    /// The server with the client and the secret of the management.
    pub(crate) serve: fn(Builder, Client, &Asks, &str) -> Builder,
    /// What stands in `[authority]` for the server at this address.
    pub(crate) authority: fn(&str, &Asks) -> String,
    /// What a token request says beside its grant, at this address.
    asking: fn(&str, &Asks) -> Option<(&'static str, String)>,
    /// Programs get tokens by a refresh token, and not in their own name.
    pub(crate) refresh_token: bool,
    /// What a rotation has to say that there is a gap.
    pub(crate) gap: bool,
}

/// The secret that management requests carry.
pub(crate) struct Management {
    /// Up to 17 characters.
    pub(crate) label: &'static str,
    /// What it is, before the words that say where.
    pub(crate) what: &'static str,
    /// The file that it is in.
    pub(crate) file: &'static str,
    /// It belongs into the store before a rotation.
    pub(crate) kept: Option<Kept>,
}

/// How something else than the client's secret is put into the store.
pub(crate) struct Kept {
    /// The option of `keyswap init` for it.
    pub(crate) option: &'static str,
    /// The name of its place there.
    pub(crate) place: fn(&str) -> String,
}

const CLIENT_SECRET: Management = Management {
    label: "management client",
    what: "keyswap-rotator, its secret ",
    file: "management-secret",
    kept: None,
};

const fn token(label: &'static str, file: &'static str) -> Option<Management> {
    Some(Management { label, what: "", file, kept: None })
}

/// What stands in `[authority]` of the [`CLIENT_SECRET`].
const CLIENT_SECRET_LINES: &str = r#"management_client_id = "keyswap-rotator"
management_secret = { file = "management-secret" }"#;

/// With the client, and with the one that may change it, which has these scopes.
fn managed<S: Into<String>>(
    server: Builder,
    client: Client,
    secret: &str,
    scopes: impl IntoIterator<Item = S>,
) -> Builder {
    let management = Client::management(MANAGEMENT_CLIENT, secret).scopes(scopes);
    server.client(client).management_client(management)
}

/// Nothing beside the grant.
fn nothing(_: &str, _: &Asks) -> Option<(&'static str, String)> {
    None
}

fn the_scope(_: &str, asks: &Asks) -> Option<(&'static str, String)> {
    Some(("scope", asks.scope().to_owned()))
}

/// All of them, by name.
static VENDORS: [&Vendor; 9] = [
    &auth0::VENDOR,
    &entra::VENDOR,
    &fusionauth::VENDOR,
    &hydra::VENDOR,
    &keycloak::VENDOR,
    &okta::VENDOR,
    &registration::VENDOR,
    &wso2::VENDOR,
    &zitadel::VENDOR,
];

impl Vendor {
    /// The one whose server a configuration names, if there is an emulator of it.
    pub(crate) fn of(authority: &AuthorityTable) -> Result<&'static Self, Failure> {
        if let Some(reason) = authority.cannot_be_rehearsed() {
            return Err(Failure::usage(reason));
        }
        let (name, _) = authority.proved_with();
        let found = VENDORS.iter().find(|vendor| vendor.name == name).copied();
        found
            .ok_or_else(|| Failure::failed(format!("nothing here is like a server of kind {name}")))
    }

    /// What a program of the client sends to get a token, without its secret.
    pub(crate) fn token_request(&self, url: &str, asks: &Asks) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        match self.refresh_token {
            true => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("refresh_token", &format!("refresh-token-of-{}", asks.client));
            }
            false => {
                form.append_pair("grant_type", "client_credentials");
            }
        }
        if let Some((name, value)) = (self.asking)(url, asks) {
            form.append_pair(name, &value);
        }
        form.finish()
    }

    /// What reads the value of `--provider`.
    pub(crate) fn parser() -> impl TypedValueParser<Value = &'static Self> {
        let names = VENDORS.iter().map(|one| PossibleValue::new(one.name).help(one.about));
        let known = |name: String| VENDORS.iter().find(|one| one.name == name).copied();
        let named = move |name| known(name).ok_or("it is not known");
        PossibleValuesParser::new(names).try_map(named)
    }
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
