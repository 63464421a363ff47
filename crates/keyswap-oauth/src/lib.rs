//! Access tokens by the client-credentials grant (RFC 6749 section 4.4), over a client that falls back
//! to the next secret.
//!
//! [`TokenSource`] keeps one token for all callers, fetches the next one ahead of its end, and fetches
//! it once however many callers wait. Programs that use the oauth2 crate keep it, and give it an
//! `OAuth2Client` (feature `oauth2`) in place of their `reqwest::Client`.
//!
//! ```no_run
//! use keyswap_core::SecretRing;
//! use keyswap_oauth::TokenSource;
//! use keyswap_reqwest::{FallbackMiddleware, client_builder};
//! use keyswap_tower::ClientSecretBasic;
//!
//! # async fn example(ring: SecretRing) -> Result<(), Box<dyn std::error::Error>> {
//! let client = reqwest_middleware::ClientBuilder::new(client_builder().build()?)
//!     .with(FallbackMiddleware::new(ring, ClientSecretBasic::new("billing")))
//!     .build();
//! let tokens = TokenSource::new(client, "https://auth.example/oauth/token".parse()?)
//!     .parameter("audience", "https://api.example/");
//! let token = tokens.token().await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod error;
#[cfg(feature = "oauth2")]
mod oauth2;
mod source;
mod token;

#[cfg(feature = "oauth2")]
pub use self::oauth2::OAuth2Client;
pub use error::{TokenError, TokenErrorKind};
pub use source::TokenSource;
pub use token::Token;
