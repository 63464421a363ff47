//! A server like FusionAuth.

use keyswap_testkit::Provider;

use super::{Vendor, nothing, token};

pub(super) static VENDOR: Vendor = Vendor {
    name: "fusionauth",
    about: "One secret an application",
    like: "a server like FusionAuth",
    management: token("API key", "api-key"),
    serve: |server, client, _, key| {
        let client = client.grant_types(["authorization_code", "refresh_token"]);
        server.provider(Provider::FusionAuth).client(client).api_token(key)
    },
    authority: |url, _| {
        format!(
            r#"kind = "fusionauth"
url = "{url}"
api_key = {{ file = "api-key" }}"#
        )
    },
    asking: nothing,
    refresh_token: true,
    gap: false,
};
