//! keyswap for reqwest: sign in with a list of client secrets, and fall back when one is refused.
//!
//! With [reqwest-middleware](reqwest_middleware):
//!
//! ```no_run
//! use keyswap_core::{Secret, SecretList, SecretRing};
//! use keyswap_reqwest::{FallbackMiddleware, client_builder};
//! use keyswap_tower::ClientSecretBasic;
//! use reqwest_middleware::ClientBuilder;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
//! let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
//! let ring = SecretRing::new(SecretList::new([old, new])?);
//!
//! let client = ClientBuilder::new(client_builder().build()?)
//!     .with(FallbackMiddleware::new(ring, ClientSecretBasic::new("billing")))
//!     .build();
//! let answer = client
//!     .post("https://auth.example/token")
//!     .header("content-type", "application/x-www-form-urlencoded")
//!     .body("grant_type=client_credentials")
//!     .send()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! Without it, [`ReqwestService`] makes a plain [`reqwest::Client`] a tower service that
//! [`FallbackLayer`](keyswap_tower::FallbackLayer) can wrap. Both run the same service and follow the
//! same rules.
//!
//! # Three rules for the client
//!
//! - **No redirects.** reqwest follows redirects below every middleware and layer, and on 307 and 308 it
//!   sends the body again, `client_secret` included, to wherever the answer points. A client from
//!   [`client_builder`] follows none. Both adapters also compare the origin of the answer with that of
//!   the request, and fail when another client followed one elsewhere.
//! - **TLS, except on loopback.** A request in clear text to another host is refused before anything is
//!   sent: [`check_origin`] says why.
//! - **One origin.** A client that is used for other calls as well needs to know which are for the token
//!   endpoint: with [`FallbackMiddleware::origin`], or
//!   [`FallbackLayer::origin`](keyswap_tower::FallbackLayer::origin), all others get no secret.
//!
//! # Beside reqwest-retry and reqwest-tracing
//!
//! The retry goes around the fallback, and tracing where it shows what you want to see:
//!
//! ```
//! use keyswap_core::{Secret, SecretList, SecretRing};
//! use keyswap_reqwest::{FallbackMiddleware, client_builder};
//! use keyswap_tower::ClientSecretBasic;
//! use reqwest_middleware::ClientBuilder;
//! use reqwest_retry::{RetryTransientMiddleware, policies::ExponentialBackoff};
//! use reqwest_tracing::TracingMiddleware;
//!
//! # let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
//! # let ring = SecretRing::new(SecretList::new([secret])?);
//! let three = ExponentialBackoff::builder().build_with_max_retries(3);
//! let client = ClientBuilder::new(client_builder().build()?)
//!     .with(RetryTransientMiddleware::new_with_policy(three))
//!     .with(FallbackMiddleware::new(ring, ClientSecretBasic::new("billing")))
//!     .with(TracingMiddleware::default())
//!     .build();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **The retry around the fallback.** A server that is out of order, a 429 and a broken connection are no
//!   business of the fallback: they come through it unchanged, and the retry knows them. Each retry then
//!   begins anew, with the list and the order of that moment; the order changes when a fallback is accepted.
//!   A request that was refused with every secret is not retried.
//! - **No retry under it.** There it repeats one attempt as it was made. After its pause it sends a secret
//!   that may be off the list by then; it sends an assertion of
//!   [`ClientSecretJwt`](keyswap_tower::ClientSecretJwt) a second time, whose `jti` a server may take once
//!   (RFC 7523 section 3); and its pauses count for no limit of the
//!   [`FallbackPolicy`](keyswap_core::FallbackPolicy).
//! - **Tracing under the fallback** has a span for each attempt, the refused ones included, which end with an
//!   error status: around a change of the secret there are some. Between retry and fallback it has a span for
//!   each retry, and outermost one for the whole, both with the answer that counts.
//! - The spans of reqwest-tracing hold neither headers nor bodies. A span backend of your own that does
//!   belongs around the fallback, where no request has a secret yet.
#![forbid(unsafe_code)]

mod builder;
mod convert;
mod middleware;
mod origin;
mod service;

pub use builder::client_builder;
pub use middleware::FallbackMiddleware;
pub use origin::{OriginError, check_origin};
pub use service::{ReqwestService, ServiceError};
