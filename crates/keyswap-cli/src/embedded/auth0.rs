//! A server like a tenant of Auth0.

use keyswap_testkit::Client;

use super::{CLIENT_SECRET, CLIENT_SECRET_LINES, Vendor, managed, quoted};

pub(super) static VENDOR: Vendor = Vendor {
    name: "auth0",
    about: "One secret a client",
    like: "an Auth0-compatible server",
    management: Some(CLIENT_SECRET),
    serve: |server, client, asks, secret| {
        managed(server, client.grant(asks.audience()), secret, Client::MANAGEMENT_SCOPES)
    },
    authority: |url, asks| {
        let audience = quoted(asks.audience());
        format!(
            r#"kind = "auth0"
url = "{url}"
audience = {audience}
{CLIENT_SECRET_LINES}"#
        )
    },
    asking: |_, asks| Some(("audience", asks.audience().to_owned())),
    refresh_token: false,
    gap: false,
};
