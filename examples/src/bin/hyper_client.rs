//! The fallback layer around hyper-util's client, without reqwest.
//!
//! ```text
//! cargo run -p keyswap-examples --bin hyper_client
//! ```

use std::error::Error;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use keyswap::tower::{ClientSecretBasic, FallbackLayer, Profile};
use keyswap::{Secret, SecretList, SecretRing};
use keyswap_testkit::{self as testkit, AuthorizationServer};
use tower::{ServiceBuilder, ServiceExt};

const GRANT: &str = "grant_type=client_credentials&audience=https%3A%2F%2Fapi.example%2F";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Two servers that take the same secret; the one is yours, the other one somebody else's.
    let yours = server().await?;
    let another = server().await?;

    let october = Secret::new("october".parse()?, "Vq3hCc0Zc1JxSecretOfOctober")?;
    let november = Secret::new("november".parse()?, "yT7mXo2LrWq8SecretOfNovember")?;
    let ring = SecretRing::new(SecretList::new([october, november])?);

    // hyper-util's client sends anything anywhere, also in clear text. The pin sees to both: an origin is
    // https or loopback, and a request that goes elsewhere gets no secret. Outside of this example, build
    // the client on a connector with TLS, for instance `hyper_rustls::HttpsConnector`.
    let fallback = FallbackLayer::new(ring, ClientSecretBasic::new("billing"))
        .profile(Profile::Auth0)
        .origin(yours.url().parse()?);

    // The layer gives the client a body of its own type, which holds what can be sent again; the type of
    // the client follows from it. It follows no redirects, which is as it should be.
    let client = ServiceBuilder::new()
        .layer(fallback)
        .service(Client::builder(TokioExecutor::new()).build_http());

    let request = post(&yours.token_endpoint())?;
    let answer = client.clone().oneshot(request).await?;
    let status = answer.status();
    let authenticated = answer.body().authenticated().cloned();
    // The body of an accepted answer streams through as hyper gives it.
    let body = answer.into_body().collect().await?.to_bytes();
    let authenticated = authenticated.ok_or("the layer did not sign the request")?;
    println!("accepted with {}, at attempt {}", authenticated.id, authenticated.attempts);
    println!("the caller saw one answer: {status}, {} bytes", body.len());

    // A mistaken URL: the request goes out as the caller made it.
    let elsewhere = client.oneshot(post(&another.token_endpoint())?).await?.status();
    println!("somebody else's server heard no secret, and answered {elsewhere}");

    assert_eq!(status, StatusCode::OK, "the fallback did not get through");
    assert_eq!(
        (authenticated.id.as_str(), authenticated.attempts),
        ("november", 2),
        "the fallback"
    );
    assert_eq!((yours.counts().token_refused, yours.counts().token_accepted), (1, 1), "yours");
    assert_ne!(elsewhere, StatusCode::OK, "the other server took a request without a secret");
    assert_eq!(another.counts().token_accepted, 0, "the other server");
    yours.shutdown().await;
    another.shutdown().await;
    Ok(())
}

/// A server at which somebody has changed the secret of `billing` already.
async fn server() -> Result<AuthorizationServer, Box<dyn Error>> {
    let billing = testkit::Client::new("billing", "yT7mXo2LrWq8SecretOfNovember");
    let billing = billing.grant("https://api.example/");
    Ok(AuthorizationServer::builder().client(billing).start().await?)
}

fn post(endpoint: &str) -> http::Result<Request<Full<Bytes>>> {
    Request::post(endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(GRANT)))
}
