//! A program that uses the oauth2 crate: one line of it changes, and it survives a changed secret.
//!
//! ```text
//! cargo run -p keyswap-examples --bin oauth2_crate
//! ```

use std::error::Error;

use keyswap::oauth::OAuth2Client;
use keyswap::reqwest::{FallbackMiddleware, client_builder};
use keyswap::tower::{ClientSecretBasic, Profile};
use keyswap::{Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client};
use oauth2::basic::BasicClient;
use oauth2::{ClientId, TokenResponse, TokenUrl};

const AUDIENCE: &str = "https://api.example/";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = AuthorizationServer::builder()
        .client(Client::new("billing", "Vq3hCc0Zc1JxSecretOfOctober").grant(AUDIENCE))
        .start()
        .await?;

    let october = Secret::new("october".parse()?, "Vq3hCc0Zc1JxSecretOfOctober")?;
    let november = Secret::new("november".parse()?, "yT7mXo2LrWq8SecretOfNovember")?;
    let ring = SecretRing::new(SecretList::new([october, november])?);
    let fallback = FallbackMiddleware::new(ring.clone(), ClientSecretBasic::new("billing"))
        .profile(Profile::Auth0)
        .origin(server.url().parse()?);

    // The oauth2 crate's client as it was, but for `set_client_secret`: that call is gone. With a secret of
    // its own the crate would sign the requests itself, and with another method than the middleware's they
    // would go out as they are, once, with that secret. The client id is the middleware's.
    let client = BasicClient::new(ClientId::new("billing".into()))
        .set_token_uri(TokenUrl::new(server.token_endpoint())?);

    // The one line. It was:
    //     let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
    // and `client_builder()` follows no redirects either.
    let http = OAuth2Client::new(client_builder().build()?, fallback);

    // The secret changes at the server between the first token and the second.
    let mut tokens = Vec::new();
    for secret in ["Vq3hCc0Zc1JxSecretOfOctober", "yT7mXo2LrWq8SecretOfNovember"] {
        server.set_secret("billing", secret);
        let answer = client
            .exchange_client_credentials()
            .add_extra_param("audience", AUDIENCE)
            .request_async(&http)
            .await?;
        tokens.push(answer.access_token().secret().clone());
    }

    for usage in ring.usage().secrets {
        println!("{}: accepted {}, refused {}", usage.id, usage.accepted, usage.refused);
    }
    println!("{} tokens, 0 failed", tokens.len());

    let counts = server.counts();
    assert!(tokens.iter().all(|token| server.accepts_token(token, AUDIENCE)), "the tokens");
    assert_eq!((counts.token_accepted, counts.token_refused), (2, 1), "{counts:?}");
    server.shutdown().await;
    Ok(())
}
