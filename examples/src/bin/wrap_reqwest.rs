//! A reqwest client that a program has already, with keyswap around it: the secret changes at the
//! server, and no request fails.
//!
//! ```text
//! cargo run -p keyswap-examples --bin wrap_reqwest
//! ```

use std::error::Error;
use std::time::Duration;

use keyswap::reqwest::FallbackMiddleware;
use keyswap::tower::{Authenticated, ClientSecretPost, Profile};
use keyswap::{Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

const AUDIENCE: &str = "https://api.example/";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // In place of your tenant: a server that accepts one secret a client, as Auth0 does.
    let server = AuthorizationServer::builder()
        .client(Client::new("billing", "Vq3hCc0Zc1JxSecretOfOctober").grant(AUDIENCE))
        .start()
        .await?;

    // The client as it was before. Only one thing matters to keyswap: it follows no redirects, since a
    // redirected token request would hand the secret to whoever the answer points at.
    // (`keyswap::reqwest::client_builder()` starts from such settings.)
    let existing = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(5))
        .build()?;

    // The secret in use, and the one that will follow. The ids are yours to choose; logs and reports
    // show them in place of the values.
    let october = Secret::new("october".parse()?, "Vq3hCc0Zc1JxSecretOfOctober")?;
    let november = Secret::new("november".parse()?, "yT7mXo2LrWq8SecretOfNovember")?;
    let ring = SecretRing::new(SecretList::new([october, november])?);

    // All that changes in the program. Keep a clone of the ring to look at it, or to replace its list.
    let fallback = FallbackMiddleware::new(ring.clone(), ClientSecretPost::new("billing"))
        .profile(Profile::Auth0);
    let client = ClientBuilder::new(existing).with(fallback).build();

    let endpoint = server.token_endpoint();
    let first = sign_in(&client, &endpoint).await?;
    println!("before the change: accepted with {}, at attempt {}", first.id, first.attempts);

    // Somebody changes the secret at the server. From here on it refuses the old one.
    server.set_secret("billing", "yT7mXo2LrWq8SecretOfNovember");
    let second = sign_in(&client, &endpoint).await?;
    println!("after the change:  accepted with {}, at attempt {}", second.id, second.attempts);

    // The ring learns which secret works, so that soon no request is refused at first.
    let mut later = second.clone();
    for _ in 0..10 {
        later = sign_in(&client, &endpoint).await?;
    }
    println!("a little later:    accepted with {}, at attempt {}", later.id, later.attempts);

    assert_eq!((first.id.as_str(), first.attempts), ("october", 1), "before the change");
    assert_eq!((second.id.as_str(), second.attempts), ("november", 2), "after the change");
    assert_eq!((later.id.as_str(), later.attempts), ("november", 1), "a little later");
    println!("12 sign-ins, 0 failed");
    server.shutdown().await;
    Ok(())
}

/// Gets a token, and gives what keyswap says about how that went. The request holds no secret and no
/// client id: the middleware puts both in.
async fn sign_in(
    client: &ClientWithMiddleware,
    endpoint: &str,
) -> Result<Authenticated, Box<dyn Error>> {
    let answer = client
        .post(endpoint)
        .form(&[("grant_type", "client_credentials"), ("audience", AUDIENCE)])
        .send()
        .await?
        .error_for_status()?;
    let authenticated = answer.extensions().get::<Authenticated>().cloned();
    Ok(authenticated.ok_or("the middleware did not sign this request")?)
}
