//! A server like a realm of Keycloak.

use keyswap_testkit::Provider;

use super::{CLIENT_SECRET, CLIENT_SECRET_LINES, Vendor, managed, nothing};

/// The realm that a server like Keycloak has.
const REALM: &str = "shop";

pub(super) static VENDOR: Vendor = Vendor {
    name: "keycloak",
    about: "One secret a client",
    like: "a server like Keycloak",
    management: Some(CLIENT_SECRET),
    serve: |server, client, _, secret| {
        managed(server.provider(Provider::Keycloak), client, secret, ["manage-clients"])
    },
    authority: |url, _| {
        format!(
            r#"kind = "keycloak"
url = "{url}"
realm = "{REALM}"
{CLIENT_SECRET_LINES}"#
        )
    },
    asking: nothing,
    refresh_token: false,
    gap: false,
};
