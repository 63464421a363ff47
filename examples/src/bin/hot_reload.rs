//! Hot reload from a file of your own: the file is rewritten while the program runs, and the next
//! request uses the new list.
//!
//! ```text
//! cargo run -p keyswap-examples --bin hot_reload
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use keyswap::FallbackPolicy;
use keyswap::reqwest::{FallbackMiddleware, client_builder};
use keyswap::store::Follow;
use keyswap::tower::{Authenticated, ClientSecretPost, Profile};
use keyswap_testkit::{AuthorizationServer, Client};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tokio::time::timeout;

const AUDIENCE: &str = "https://api.example/";
/// Far more than a reload takes: a change is seen by the operating system's own notification, and by a
/// look every 5 s where there is none.
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = AuthorizationServer::builder()
        .client(Client::new("billing", "Vq3hCc0Zc1JxSecretOfOctober").grant(AUDIENCE))
        .start()
        .await?;

    // The file that an operator edits, a deployment writes or Kubernetes mounts.
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("billing.json");
    write(
        &file,
        r#"{"keyswap": 1, "secrets": [{"id": "october", "value": "Vq3hCc0Zc1JxSecretOfOctober"}]}"#,
    )?;

    // Reads the first list, or says why it cannot. From then on the future keeps the ring in step; it
    // runs beside the program, and ends when it is dropped.
    let (ring, follow) = Follow::start_file(&file, FallbackPolicy::default()).await?;
    let mut status = follow.status();
    let mut changes = ring.subscribe();
    let following = tokio::spawn(follow.run());

    let fallback = FallbackMiddleware::new(ring.clone(), ClientSecretPost::new("billing"))
        .profile(Profile::Auth0);
    let client = ClientBuilder::new(client_builder().build()?).with(fallback).build();
    let endpoint = server.token_endpoint();
    let before = sign_in(&client, &endpoint).await?;
    println!("at the start:           accepted with {}", before.id);

    // A mistake in the file stops nothing: the last good list stays in use, and the program can tell.
    write(&file, r#"{"keyswap": 1, "secrets": [{"id": "november", "val"#)?;
    let problem =
        timeout(PATIENCE, status.changed()).await?.ok_or("the broken file went unseen")?;
    println!("with a broken file:     {problem}");
    let meanwhile = sign_in(&client, &endpoint).await?;
    println!("                        accepted with {}, as before", meanwhile.id);

    // The next list: the new secret first, and the old one behind it until no server wants it.
    write(
        &file,
        r#"{"keyswap": 1, "secrets": [
            {"id": "november", "value": "yT7mXo2LrWq8SecretOfNovember"},
            {"id": "october", "value": "Vq3hCc0Zc1JxSecretOfOctober"}
        ]}"#,
    )?;
    // Only to show it in order: a program has nothing to wait for.
    timeout(PATIENCE, changes.changed()).await?;
    server.set_secret("billing", "yT7mXo2LrWq8SecretOfNovember");
    let after = sign_in(&client, &endpoint).await?;
    println!("with the new list:      accepted with {}, without a restart", after.id);

    assert_eq!((before.id.as_str(), before.attempts), ("october", 1), "at the start");
    assert_eq!((meanwhile.id.as_str(), meanwhile.attempts), ("october", 1), "the broken file");
    assert_eq!((after.id.as_str(), after.attempts), ("november", 1), "the new list");
    following.abort();
    server.shutdown().await;
    Ok(())
}

/// Replaces the file in one step, so that nobody reads half of it. keyswap would keep the last good
/// list until the rest is there; this way there is nothing to wait for.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, file)
}

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
