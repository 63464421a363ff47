//! A server like Okta.

use keyswap_testkit::{ClientAuthentication, Provider};

use super::{Vendor, quoted, the_scope, token};

pub(super) static VENDOR: Vendor = Vendor {
    name: "okta",
    about: "Two secrets a client",
    like: "a server like Okta",
    management: token("API token", "api-token"),
    serve: |server, client, asks, token| {
        let client = client.authentication(ClientAuthentication::SecretBasic);
        let client = client.grant("default").scopes(asks.scopes());
        server.provider(Provider::Okta).client(client).api_token(token)
    },
    authority: |url, asks| {
        let scope = quoted(asks.scope());
        format!(
            r#"kind = "okta"
url = "{url}"
scope = {scope}
api_token = {{ file = "api-token" }}"#
        )
    },
    asking: the_scope,
    refresh_token: false,
    gap: false,
};
