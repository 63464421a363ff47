//! A server like WSO2 Identity Server.

use keyswap_testkit::Provider;

use super::{APPLICATION, CLIENT_SECRET, CLIENT_SECRET_LINES, Vendor, managed, nothing};

/// Of its management API, behind `internal_application_mgt_`.
const SCOPES: [&str; 4] =
    ["view", "client_secret_view", "client_secret_create", "client_secret_delete"];

pub(super) static VENDOR: Vendor = Vendor {
    name: "wso2",
    about: "Two secrets an application, which the server chooses, and of which the newest stays",
    like: "a server like WSO2 Identity Server",
    management: Some(CLIENT_SECRET),
    serve: |server, client, _, secret| {
        let scopes = SCOPES.map(|scope| format!("internal_application_mgt_{scope}"));
        let server = server.provider(Provider::Wso2 { hashes: false });
        managed(server, client.application(APPLICATION), secret, scopes)
    },
    authority: |url, _| {
        format!(
            r#"kind = "wso2"
url = "{url}/t/shop"
application_id = "{APPLICATION}"
{CLIENT_SECRET_LINES}"#
        )
    },
    asking: nothing,
    refresh_token: false,
    gap: false,
};
