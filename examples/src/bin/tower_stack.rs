//! The fallback layer in a tower stack, with retry, timeout and concurrency limit around it.
//!
//! ```text
//! cargo run -p keyswap-examples --bin tower_stack
//! ```

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use keyswap::reqwest::{ReqwestService, client_builder};
use keyswap::tower::{ClientSecretPost, FallbackLayer, Profile};
use keyswap::{Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Times};
use tokio::time::Sleep;
use tower::retry::Policy;
use tower::{BoxError, ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let server = AuthorizationServer::builder()
        .client(Client::new("billing", "Vq3hCc0Zc1JxSecretOfOctober").grant("https://api.example/"))
        .start()
        .await?;

    let october = Secret::new("october".parse()?, "Vq3hCc0Zc1JxSecretOfOctober")?;
    let november = Secret::new("november".parse()?, "yT7mXo2LrWq8SecretOfNovember")?;
    let ring = SecretRing::new(SecretList::new([october, november])?);
    let fallback =
        FallbackLayer::new(ring, ClientSecretPost::new("billing")).profile(Profile::Auth0);

    // Outermost first:
    // - The retry sends the whole request again when the server is out of order: 503 alone. A 401 is the
    //   business of the fallback under it; one that reaches the retry was refused with every secret, and
    //   to repeat that is only noise, or a locked account.
    // - The timeout bounds one try with all its attempts. Under the fallback layer it would bound each
    //   single attempt; over the retry, the whole call.
    // - The limit counts requests, not attempts: one that falls back keeps its place, and one that pauses
    //   before a retry has given its place back.
    // - The fallback layer is innermost, right on the client, so that it sees the server's own answers.
    let client = ServiceBuilder::new()
        .retry(RetryUnavailable { left: 3 })
        .timeout(Duration::from_secs(10))
        .concurrency_limit(8)
        .layer(fallback)
        .service(ReqwestService::new(client_builder().build()?));

    // The hardest moment: the secret was changed, and the server is out of order for two requests.
    server.set_secret("billing", "yT7mXo2LrWq8SecretOfNovember");
    server.inject(Fault::ServerError { endpoint: Endpoint::Token, status: 503 }, Times(2));

    // The retry needs a body that can be cloned: `Full` can.
    let request = Request::post(server.token_endpoint())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(
            r#"{"grant_type":"client_credentials","audience":"https://api.example/"}"#,
        )))?;
    let answer = client.oneshot(request).await?;

    let status = answer.status();
    let authenticated = answer.body().authenticated().cloned();
    let body = answer.into_body().collect().await?.to_bytes();
    let counts = server.counts();
    println!("the server was out of order:  {} times (retried)", counts.faults);
    println!("it refused the old secret:    {} time (fell back)", counts.token_refused);
    println!("the caller saw one answer:    {status}, {} bytes", body.len());

    assert_eq!(status, StatusCode::OK, "the retries did not get through");
    assert_eq!(
        (counts.faults, counts.token_refused, counts.token_accepted),
        (2, 1, 1),
        "{counts:?}"
    );
    let authenticated = authenticated.ok_or("the layer did not sign the request")?;
    assert_eq!(
        (authenticated.id.as_str(), authenticated.attempts),
        ("november", 2),
        "the last try"
    );
    server.shutdown().await;
    Ok(())
}

/// Repeats a request that was answered with 503, after a pause.
#[derive(Clone, Debug)]
struct RetryUnavailable {
    left: u32,
}

impl<B: Clone, A> Policy<Request<B>, Response<A>, BoxError> for RetryUnavailable {
    type Future = Sleep;

    fn retry(
        &mut self,
        _request: &mut Request<B>,
        answer: &mut Result<Response<A>, BoxError>,
    ) -> Option<Sleep> {
        let unavailable = matches!(answer, Ok(answer) if answer.status() == 503);
        if !unavailable || self.left == 0 {
            return None;
        }
        self.left -= 1;
        // A real policy waits as `Retry-After` says, and otherwise longer each time, with jitter.
        Some(tokio::time::sleep(Duration::from_millis(50)))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}
