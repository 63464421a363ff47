//! A tonic client whose secret goes into the metadata of each call: the service changes the secret, answers
//! `UNAUTHENTICATED`, and no call fails.
//!
//! ```text
//! cargo run -p keyswap-examples --bin grpc
//! ```

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http::{HeaderName, Request, Uri};
use keyswap::tower::{Authenticated, FallbackLayer, Grpc, HeaderSecret, RequestBody};
use keyswap::{Secret, SecretList, SecretRing};
use tonic::body::Body;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::ServiceBuilder;

const KEY: HeaderName = HeaderName::from_static("x-api-key");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = Service::start()?;

    let october = Secret::new("october".parse()?, "Vq3hCc0Zc1JxSecretOfOctober")?;
    let november = Secret::new("november".parse()?, "yT7mXo2LrWq8SecretOfNovember")?;
    let ring = SecretRing::new(SecretList::new([october, november])?);

    // - Metadata are headers to HTTP: `HeaderSecret` puts the secret there, marked as sensitive.
    // - `Grpc` reads the answers: `UNAUTHENTICATED` alone leads to the next secret. `PERMISSION_DENIED` does
    //   not, since it says that the service knows who calls.
    // - The pin keeps the secret from every other host.
    let fallback = FallbackLayer::new(ring, HeaderSecret::new(KEY))
        .profile(Grpc)
        // tonic hands on the head of an answer and reads its body itself.
        .mark_answers(true)
        .origin(service.origin.to_string().parse()?);

    let channel = Channel::builder(service.origin.clone()).connect_lazy();
    let channel = ServiceBuilder::new()
        .layer(fallback)
        // tonic's channel takes tonic's body alone.
        .map_request(|request: Request<RequestBody<Body>>| request.map(Body::new))
        .service(channel);
    // `with_origin` and not `new`: the channel adds the origin to each request, but it does so below the
    // layer, which puts no secret on a request that does not say where it goes.
    let mut client = HealthClient::with_origin(channel, service.origin.clone());

    let first = authenticated(client.check(HealthCheckRequest::default()).await?)?;
    println!("before the change: accepted with {}, at attempt {}", first.id, first.attempts);

    service.set_secret("yT7mXo2LrWq8SecretOfNovember");
    let second = authenticated(client.check(HealthCheckRequest::default()).await?)?;
    println!("after the change:  accepted with {}, at attempt {}", second.id, second.attempts);

    // An answer that streams: its call is one message too, and falls back like any other. A stream of
    // requests that waits for answers needs `SendOnce` in its extensions: it is not held, and goes out once.
    let watch = client.watch(HealthCheckRequest::default()).await?;
    let status = watch.into_inner().message().await?.ok_or("the stream ended")?.status();
    println!("a streamed answer: {}", status.as_str_name());

    // When no secret helps, the caller gets the service's own status.
    service.set_secret("a secret that nobody was told");
    let refused = client.check(HealthCheckRequest::default()).await;
    let refused = refused.err().ok_or("a wrong secret was accepted")?;
    println!("without a secret that is good: {:?}, {:?}", refused.code(), refused.message());

    assert_eq!((first.id.as_str(), first.attempts), ("october", 1), "before the change");
    assert_eq!((second.id.as_str(), second.attempts), ("november", 2), "after the change");
    assert_eq!(refused.code(), Code::Unauthenticated, "every secret refused");
    Ok(())
}

/// What keyswap says about a call that went well.
fn authenticated<T>(answer: tonic::Response<T>) -> Result<Authenticated, Box<dyn Error>> {
    let authenticated = answer.extensions().get::<Authenticated>().cloned();
    Ok(authenticated.ok_or("the layer did not sign this call")?)
}

/// In place of your service: tonic's health service, which takes one secret.
struct Service {
    origin: Uri,
    secret: Arc<Mutex<String>>,
}

impl Service {
    fn start() -> Result<Self, Box<dyn Error>> {
        let secret = Arc::new(Mutex::new("Vq3hCc0Zc1JxSecretOfOctober".to_owned()));
        let accepted = Arc::clone(&secret);
        // What an interceptor refuses is answered with the status alone, in the head of the answer.
        let health = HealthServer::with_interceptor(
            HealthService::from_health_reporter(HealthReporter::new()),
            move |call: tonic::Request<()>| {
                let accepted = accepted.lock().map_err(|_| Status::internal("poisoned"))?;
                match call.metadata().get(KEY.as_str()) {
                    Some(secret) if *secret == accepted.as_str() => Ok(call),
                    _ => Err(Status::unauthenticated("this key is not known here")),
                }
            },
        );
        let listener = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let origin = format!("http://{}", listener.local_addr()?).parse()?;
        // It ends with the program.
        tokio::spawn(Server::builder().add_service(health).serve_with_incoming(listener));
        Ok(Self { origin, secret })
    }

    fn set_secret(&self, secret: &str) {
        *self.secret.lock().expect("nobody panics with the lock") = secret.to_owned();
    }
}
