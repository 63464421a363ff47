//! A tower layer that signs requests with a client secret, and falls back to the next secret when the
//! server refuses the first.
//!
//! [`FallbackLayer`] wraps any HTTP client that is a tower service. It puts the preferred secret of a
//! [`SecretRing`](keyswap_core::SecretRing) on each request, reads what the answer says about it, and sends the request again with
//! another secret when client authentication failed, and only then. Everything else goes back to the
//! caller unchanged, and the layer adds no error of its own.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use keyswap_core::{Secret, SecretList, SecretRing};
//! use keyswap_tower::credential::ClientSecretBasic;
//! use keyswap_tower::{FallbackLayer, RequestBody};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In place of the HTTP client: a server that has moved on to the new secret.
//! let server = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
//!     let new = "Basic YmlsbGluZzp5VDdtWG8yTHJXcTg=";
//!     let accepted = request.headers()["authorization"] == new;
//!     let (status, body) = match accepted {
//!         true => (200, r#"{"access_token":"..."}"#),
//!         false => (401, r#"{"error":"invalid_client"}"#),
//!     };
//!     Response::builder()
//!         .status(status)
//!         .header("content-type", "application/json")
//!         .body(Full::new(Bytes::from(body)))
//! });
//!
//! let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
//! let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
//! let ring = SecretRing::new(SecretList::new([old, new])?);
//! let client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(ring, ClientSecretBasic::new("billing")))
//!     .service(server);
//!
//! let request = Request::post("https://auth.example/token")
//!     .header("content-type", "application/x-www-form-urlencoded")
//!     .body(Full::new(Bytes::from("grant_type=client_credentials")))?;
//! let answer = client.oneshot(request).await?;
//!
//! assert_eq!(answer.status(), 200);
//! let authenticated = answer.body().authenticated().expect("it was accepted");
//! assert_eq!((authenticated.id.as_str(), authenticated.attempts), ("new", 2));
//! # Ok(())
//! # }
//! ```
//!
//! # What the inner service must be
//!
//! A `Service<http::Request<RequestBody<B>>>` that is `Clone`, as HTTP clients are. Timeouts around the
//! layer bound the whole request with all its attempts; timeouts under it bound each attempt. Put the
//! layer over something that follows redirects only if that never sends credentials to another origin,
//! bodies included; better, follow no redirects from a token endpoint.
//!
//! Pauses between attempts use tokio's timer. Outside of a tokio runtime with time enabled they panic;
//! they occur only while nodes of the server may disagree about which secret is right, or while
//! something is expected to bring a newer list.
//!
//! # Where a secret goes, and where it stays
//!
//! - To the [origin](FallbackLayer::origin) that you pin, and nowhere else. Without one, to wherever the
//!   caller's request goes: pin it.
//! - In a header that is marked as sensitive, or in a body whose `Debug` shows its length alone.
//! - In buffers of this crate that are wiped when the last handle on them goes, at the latest when the
//!   attempt ends. The copies that the HTTP client and TLS make in their write buffers, and the blocks
//!   that HMAC works on, are out of reach of any library above them.
//! - In no log, error or `Debug` of this crate.
//!
//! # Two layers on one request
//!
//! Where both put their secret in the same place, the one below replaces what it finds there and falls back;
//! the one above passes its answer on, and counts no use of its own secrets, which never reached the server.
//! Where the places differ (a client secret, and the key of a gateway), both work.
//!
//! # Providers
//!
//! A server that keeps to RFC 6749 needs no choice; others have a [`Profile`], and gRPC calls [`Grpc`].
//! [`ReadVerdict`] is open to your own. [`Credential`] likewise.
#![forbid(unsafe_code)]

mod body;
pub mod credential;
mod extension;
mod future;
mod layer;
#[cfg(feature = "metrics")]
pub mod metrics;
mod origin;
mod service;
pub mod verdict;

pub use body::{AnswerBody, RequestBody};
pub use credential::{
    ClientIds, ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential, HeaderSecret,
};
pub use extension::{Authenticated, Deadline, SendOnce};
pub use future::ResponseFuture;
pub use layer::FallbackLayer;
pub use origin::{InvalidOrigin, Origin};
pub use service::Fallback;
pub use verdict::{ClientFirst, Grpc, Profile, ReadVerdict};
