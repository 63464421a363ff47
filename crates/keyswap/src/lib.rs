//! Change a `client_secret` with no failed request, also at servers that accept only one at a time.
//!
//! A `client_secret` lets a program get tokens from an authorization server. When it must change, every
//! program that uses it must change too, and at servers that hold a single secret everything breaks
//! between the two changes. keyswap closes that gap from both sides:
//!
//! - **The client half** holds an ordered list of secrets, and falls back to the next one when the
//!   server refuses the first: [`SecretRing`], with a [tower layer](tower) or a
//!   [reqwest middleware](#around-a-reqwest-client) around the HTTP client that a program has already, and
//!   [hot reload](#hot-reload-with-follow).
//! - **The admin half** rotates: it stages the new secret in every program, changes it at the server,
//!   proves it, and takes the old one away when every instance attests that it is unused:
//!   [the command `keyswap`, or `admin`](#where-the-rotation-is).
//!
//! Which of it for what:
//!
//! | you have | take |
//! | --- | --- |
//! | a program with a reqwest client | this crate as it is: [wrap the client](#around-a-reqwest-client) |
//! | another HTTP client, or a tower stack | [compose the layer](#in-a-tower-stack); without reqwest and stores by `default-features = false` |
//! | secrets in a file, a mounted volume, AWS | [follow them](#hot-reload-with-follow): [`store::Follow`]; with a keyswap store [`store::join`], which reports to the rotation as well |
//! | calls to an API, with a token on each | feature `oauth`: [`oauth`] |
//! | the oauth2 crate | feature `oauth2`: `keyswap::oauth::OAuth2Client` |
//! | a secret to rotate, from a terminal or a schedule | the command `keyswap`, of the crate `keyswap-cli` |
//! | a secret to rotate, from code | feature `admin`: [`admin`], which is the crate `keyswap-admin` |
//! | a program in another language | `keyswap proxy` beside it |
//! | tests that want an authorization server | the crate `keyswap-testkit`, as in what follows here |
//!
//! # Around a reqwest client
//!
//! The request carries no secret: the middleware puts it in, tries the next one when the server says that client authentication
//! failed, and gives every other answer back as it came.
//!
//! ```
//! use keyswap::reqwest::{FallbackMiddleware, client_builder};
//! use keyswap::tower::{Authenticated, ClientSecretPost, Profile};
//! use keyswap::{Secret, SecretList, SecretRing};
//! use keyswap_testkit::{AuthorizationServer, Client};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In place of your tenant: a server on loopback that accepts one secret a client, as Auth0 does.
//! let billing = Client::new("billing", "Vq3hCc0Zc1Jx").grant("https://api.example/");
//! let server = AuthorizationServer::builder().client(billing).start().await?;
//!
//! // The secret in use, and the one that will follow.
//! let october = Secret::new("october".parse()?, "Vq3hCc0Zc1Jx")?;
//! let november = Secret::new("november".parse()?, "yT7mXo2LrWq8")?;
//! let ring = SecretRing::new(SecretList::new([october, november])?);
//!
//! // The client that was there before, with a middleware around it. `client_builder` is one that follows no redirect,
//! // asks for https alone outside of loopback and has timeouts.
//! let fallback = FallbackMiddleware::new(ring, ClientSecretPost::new("billing")).profile(Profile::Auth0);
//! let client = reqwest_middleware::ClientBuilder::new(client_builder().build()?).with(fallback).build();
//!
//! // Somebody changes the secret. No request fails.
//! for (secret, attempts) in [("october", 1), ("november", 2)] {
//!     let answer = client
//!         .post(server.token_endpoint())
//!         .form(&[("grant_type", "client_credentials"), ("audience", "https://api.example/")])
//!         .send()
//!         .await?;
//!     assert_eq!(answer.status(), 200);
//!     let authenticated = answer.extensions().get::<Authenticated>().ok_or("it was not signed")?;
//!     assert_eq!((authenticated.id.as_str(), authenticated.attempts), (secret, attempts));
//!     server.set_secret("billing", "yT7mXo2LrWq8");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # In a tower stack
//!
//! [`tower::FallbackLayer`] goes right on the client, whichever that is, so that it sees the server's own answers. What stands
//! over it bounds the whole request with all attempts, what stands under it each of them.
//!
//! ```
//! use std::time::Duration;
//!
//! use ::tower::{ServiceBuilder, ServiceExt};
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use keyswap::reqwest::{ReqwestService, client_builder};
//! use keyswap::tower::{ClientSecretBasic, FallbackLayer, Profile};
//! use keyswap::{Secret, SecretList, SecretRing};
//! use keyswap_testkit::{AuthorizationServer, Client};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // The server has the next secret already.
//! let billing = Client::new("billing", "yT7mXo2LrWq8").grant("https://api.example/");
//! let server = AuthorizationServer::builder().client(billing).start().await?;
//! let october = Secret::new("october".parse()?, "Vq3hCc0Zc1Jx")?;
//! let november = Secret::new("november".parse()?, "yT7mXo2LrWq8")?;
//! let ring = SecretRing::new(SecretList::new([october, november])?);
//!
//! let client = ServiceBuilder::new()
//!     .timeout(Duration::from_secs(10))
//!     .concurrency_limit(8)
//!     .layer(FallbackLayer::new(ring.clone(), ClientSecretBasic::new("billing")).profile(Profile::Auth0))
//!     .service(ReqwestService::new(client_builder().build()?));
//!
//! let request = http::Request::post(server.token_endpoint())
//!     .header("content-type", "application/x-www-form-urlencoded")
//!     .body(Full::new(Bytes::from("grant_type=client_credentials&audience=https://api.example/")))?;
//! let answer = client.oneshot(request).await?;
//! assert_eq!(answer.status(), 200);
//!
//! // Refused first, and accepted with the other: without the layer it would have failed.
//! assert_eq!(ring.usage().saved, Some(1));
//! # Ok(())
//! # }
//! ```
//!
//! # Hot reload with Follow
//!
//! [`store::Follow`] keeps a ring in step with a file, a directory (a Kubernetes secret volume), or a keyswap store: a list that is
//! replaced there is used by the next request, without a restart. The program spawns it, and it ends when it is dropped.
//!
//! ```
//! use std::fs;
//! use std::time::Duration;
//!
//! use keyswap::FallbackPolicy;
//! use keyswap::reqwest::{FallbackMiddleware, client_builder};
//! use keyswap::store::{Follow, SecretSource};
//! use keyswap::tower::{ClientSecretPost, Profile};
//! use keyswap_testkit::{AuthorizationServer, Client};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let billing = Client::new("billing", "Vq3hCc0Zc1Jx").grant("https://api.example/");
//! let server = AuthorizationServer::builder().client(billing).start().await?;
//!
//! // A secret a line, the preferred one first.
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("client-secret");
//! fs::write(&file, "Vq3hCc0Zc1Jx\n")?;
//! let (ring, follow) = Follow::start_from(SecretSource::lines(&file), FallbackPolicy::default()).await?;
//! let mut changes = ring.subscribe();
//! tokio::spawn(follow.run());
//!
//! let fallback = FallbackMiddleware::new(ring, ClientSecretPost::new("billing")).profile(Profile::Auth0);
//! let client = reqwest_middleware::ClientBuilder::new(client_builder().build()?).with(fallback).build();
//!
//! // The file has the next secret before the server does. Put in place by a rename, so that nobody reads half of it.
//! let next = directory.path().join("next");
//! fs::write(&next, "Vq3hCc0Zc1Jx\nyT7mXo2LrWq8\n")?;
//! fs::rename(next, &file)?;
//! // Only to show it in order: a program waits for nothing.
//! tokio::time::timeout(Duration::from_secs(60), changes.changed()).await?;
//! server.set_secret("billing", "yT7mXo2LrWq8");
//!
//! let answer = client
//!     .post(server.token_endpoint())
//!     .form(&[("grant_type", "client_credentials"), ("audience", "https://api.example/")])
//!     .send()
//!     .await?;
//! assert_eq!(answer.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! Such a program reports to no rotation: it is declared with `manual = true`, and a person speaks for it. With a keyswap store
//! and [`store::join`] the rotation hears by itself what the program holds, and waits for it:
//!
//! ```no_run
//! use keyswap::FallbackPolicy;
//! use keyswap::store::{FileStore, join};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = FileStore::open("/var/lib/keyswap", "billing")?;
//! let (ring, member) = join(store, "invoices", FallbackPolicy::default()).await?;
//! tokio::spawn(member);
//! # drop(ring);
//! # Ok(())
//! # }
//! ```
//!
//! # Where the rotation is
//!
//! Nothing above changes a secret. That is what the command `keyswap rotate` does, or from code a `Rotator` of [`admin`]: the new
//! secret is in a durable journal before anybody hears of it, in every program before the server knows it, proved before it is preferred, and
//! the old one goes when every instance has attested that it is unused. It can be killed anywhere, and goes on. The example
//! [`rotate`](https://github.com/keyswap/keyswap/blob/main/examples/src/bin/rotate.rs) is a whole one.
//!
//! # The guide
//!
//! - [Ten minutes](https://github.com/keyswap/keyswap/blob/main/docs/quick-start.md), from nothing to a first rotation
//! - [Concepts](https://github.com/keyswap/keyswap/blob/main/docs/concepts.md), and [the protocol](https://github.com/keyswap/keyswap/blob/main/docs/protocol.md), state by state
//! - [How each server refuses a secret](https://github.com/keyswap/keyswap/blob/main/docs/providers.md), and how to rotate there
//! - [Stores](https://github.com/keyswap/keyswap/blob/main/docs/stores.md), [metrics, alerts and traces](https://github.com/keyswap/keyswap/blob/main/docs/monitoring.md)
//! - [A secret has leaked](https://github.com/keyswap/keyswap/blob/main/docs/incident.md)
//! - [A credential, a profile, a store, an authority of your own](https://github.com/keyswap/keyswap/blob/main/docs/extending.md)
//! - [Limits](https://github.com/keyswap/keyswap/blob/main/docs/limits.md), and [what a request costs](https://github.com/keyswap/keyswap/blob/main/docs/performance.md)
//! - [Whole programs](https://github.com/keyswap/keyswap/blob/main/examples/README.md) to copy from
//!
//! # Features
//!
//! | feature | what it adds | default |
//! | --- | --- | --- |
//! | `reqwest` | `keyswap::reqwest`: the middleware, the bridge for the layer, a client builder | yes |
//! | `store` | `keyswap::store`: the file store, hot reload, reports of instances | yes |
//! | `oauth` | `keyswap::oauth`: access tokens, cached and refreshed ahead, and put on calls to APIs | |
//! | `oauth2` | with `oauth`: `keyswap::oauth::OAuth2Client`, the HTTP client for users of the oauth2 crate | |
//! | `age` | `keyswap::store::Seal`: a file store that is sealed at rest | |
//! | `aws` | `keyswap::store::AwsStore`, `Follow::start_aws`: the list in AWS Secrets Manager as well | |
//! | `metrics` | `keyswap::metrics`: what a ring does, for the facade `metrics` and any exporter | |
//! | `etcd` | `keyswap::store::EtcdStore`: a store for a fleet; building it needs `protoc` | |
//! | `admin` | `keyswap::admin`: the rotation engine and the authorization servers it can change | |
//!
// Where a feature is off, what it would add leads to the features.
#![cfg_attr(feature = "admin", doc = "[`admin`]: crate::admin")]
#![cfg_attr(not(feature = "admin"), doc = "[`admin`]: #features")]
#![cfg_attr(feature = "oauth", doc = "[`oauth`]: crate::oauth")]
#![cfg_attr(not(feature = "oauth"), doc = "[`oauth`]: #features")]
#![cfg_attr(feature = "store", doc = "[`store::Follow`]: crate::store::Follow")]
#![cfg_attr(not(feature = "store"), doc = "[`store::Follow`]: #features")]
#![cfg_attr(feature = "store", doc = "[`store::join`]: crate::store::join")]
#![cfg_attr(not(feature = "store"), doc = "[`store::join`]: #features")]
#![forbid(unsafe_code)]

pub use keyswap_core::{
    Attempts, Changes, DocumentError, FallbackPolicy, GenerateError, Generator, InvalidGenerator,
    InvalidSecret, InvalidSecretId, InvalidSecretList, MakerId, Next, Revision, Secret,
    SecretDocument, SecretId, SecretList, SecretRing, SecretUsage, Snapshot, UsageReport, Verdict,
};
pub use keyswap_tower as tower;

#[cfg(feature = "admin")]
pub use keyswap_admin as admin;
#[cfg(feature = "oauth")]
pub use keyswap_oauth as oauth;
#[cfg(feature = "reqwest")]
pub use keyswap_reqwest as reqwest;
#[cfg(feature = "store")]
pub use keyswap_store as store;

/// What a ring does, for the facade `metrics`, and with it for whatever a program exports its metrics with.
#[cfg(feature = "metrics")]
pub mod metrics {
    pub use keyswap_core::metrics::*;
    pub use keyswap_tower::metrics::record_every;
}

/// The program in the page on monitoring, compiled.
#[cfg(all(doctest, feature = "metrics"))]
#[doc = include_str!("../../../docs/monitoring.md")]
struct Monitoring;

/// The program in the README, compiled.
#[cfg(all(doctest, feature = "reqwest", feature = "store"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
