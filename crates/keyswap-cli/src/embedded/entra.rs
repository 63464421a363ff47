//! A server like Microsoft Entra ID.

use keyswap_testkit::Provider;

use super::{CLIENT_SECRET, CLIENT_SECRET_LINES, Vendor, managed, quoted};

/// The tenant that a server like Entra is.
const TENANT: &str = "contoso.onmicrosoft.com";

pub(super) static VENDOR: Vendor = Vendor {
    name: "entra",
    about: "Several secrets an application, which the server chooses",
    like: "a server like Microsoft Entra ID",
    management: Some(CLIENT_SECRET),
    serve: |server, client, asks, secret| {
        let api = asks.scope.as_deref().and_then(|scope| scope.strip_suffix("/.default"));
        let client = match api {
            Some(api) => client.grant(api),
            None => client,
        };
        managed(server.provider(Provider::Entra), client, secret, ["Application.ReadWrite.OwnedBy"])
    },
    authority: |url, asks| {
        let scope = asks.scope.as_deref().map(|scope| format!("\nscope = {}", quoted(scope)));
        let scope = scope.unwrap_or_default();
        format!(
            r#"kind = "entra"
tenant = "{TENANT}"
login_url = "{url}"
graph_url = "{url}"{scope}
{CLIENT_SECRET_LINES}"#
        )
    },
    asking: |url, asks| {
        let graph = || format!("{url}/.default");
        Some(("scope", asks.scope.clone().unwrap_or_else(graph)))
    },
    refresh_token: false,
    gap: false,
};
