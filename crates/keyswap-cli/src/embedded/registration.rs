//! A server at which clients registered dynamically (RFC 7592).

use keyswap_admin::authority::RegistrationToken;
use keyswap_store::FileStore;
use keyswap_testkit::{AtUpdate, ClientAuthentication, Provider};

use super::{Kept, Management, Vendor};

pub(super) static VENDOR: Vendor = Vendor {
    name: "registration",
    about: "Dynamic registration (RFC 7592): another secret and another token with each update",
    like: "a server with dynamic client registration",
    management: Some(Management {
        label: "registration",
        what: "its access token ",
        file: "registration-token",
        kept: Some(Kept {
            option: "--registration-token-file",
            place: RegistrationToken::<FileStore>::place,
        }),
    }),
    serve: |server, client, asks, token| {
        let at_update = match asks.client_chooses {
            true => AtUpdate::TakesSecret,
            false => AtUpdate::IssuesSecret,
        };
        let provider = Provider::Registration { at_update, rotates_token: true };
        let client = client.authentication(ClientAuthentication::SecretBasic);
        server.provider(provider).client(client).api_token(token)
    },
    authority: |url, asks| {
        let client = percent_encoded(&asks.client);
        let chooses = if asks.client_chooses { "\nclient_chooses = true" } else { "" };
        format!(
            r#"kind = "registration"
registration_client_uri = "{url}/register/{client}"
token_endpoint = "{url}/token"{chooses}"#
        )
    },
    asking: |_, asks| asks.scope.clone().map(|scope| ("scope", scope)),
    refresh_token: false,
    gap: true,
};

fn percent_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
