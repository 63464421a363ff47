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
