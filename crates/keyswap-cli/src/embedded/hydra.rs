//! A server like Ory Hydra.

use keyswap_testkit::{ClientAuthentication, Provider};

use super::{Vendor, quoted, the_scope};

pub(super) static VENDOR: Vendor = Vendor {
    name: "hydra",
    about: "A secret and up to five of before, of which the server chooses the new one",
    like: "a server like Ory Hydra, with rotated secrets,",
    management: None,
    serve: |server, client, asks, _| {
        let client = client.authentication(ClientAuthentication::SecretBasic);
        let client = client.grant("any").scopes(asks.scopes());
        let provider = match asks.overlap {
            Some(false) => Provider::Hydra,
            _ => Provider::HydraWithRotatedSecrets,
        };
        server.provider(provider).client(client)
    },
    authority: |url, asks| {
        let scope = quoted(asks.scope());
        let overlap = asks.overlap.map(|overlap| format!("\noverlap = {overlap}"));
        let overlap = overlap.unwrap_or_default();
        format!(
            r#"kind = "hydra"
url = "{url}"
admin_url = "{url}"
scope = {scope}{overlap}"#
        )
    },
    asking: the_scope,
    refresh_token: false,
    gap: false,
};
