//! A server like Zitadel.

use keyswap_testkit::{ClientAuthentication, Provider};

use super::{APPLICATION, Vendor, nothing, token};

/// The project that the application belongs to.
const PROJECT: &str = "billing-project";

pub(super) static VENDOR: Vendor = Vendor {
    name: "zitadel",
    about: "One secret an application, which the server chooses",
    like: "a server like Zitadel",
    management: token("management token", "token"),
    serve: |server, client, _, token| {
        let client = client
            .authentication(ClientAuthentication::SecretBasic)
            .application(APPLICATION)
            .grant(PROJECT)
            .grant_types(["authorization_code", "refresh_token"]);
        server.provider(Provider::Zitadel).client(client).api_token(token)
    },
    authority: |url, _| {
        format!(
            r#"kind = "zitadel"
url = "{url}"
project_id = "{PROJECT}"
application_id = "{APPLICATION}"
token = {{ file = "token" }}"#
        )
    },
    asking: nothing,
    refresh_token: true,
    gap: true,
};
