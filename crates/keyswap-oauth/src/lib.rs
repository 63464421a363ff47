//! Access tokens by the client-credentials grant (RFC 6749 section 4.4), over a client that falls back
//! to the next secret, and calls to APIs with them.
//!
//! - [`TokenSource`] keeps one token for all callers, fetches the next one ahead of its end, and fetches it
//!   once however many callers wait.
//! - [`BearerMiddleware`] (reqwest-middleware) and [`BearerLayer`] (tower) put it on the requests to an API,
//!   and renew it once when the API refuses it.
//!
//! Programs that use the oauth2 crate keep it, and give it an `OAuth2Client` (feature `oauth2`) in place of
//! their `reqwest::Client`.
//!
//! ```no_run
//! use keyswap_core::SecretRing;
//! use keyswap_oauth::{BearerMiddleware, TokenSource};
//! use keyswap_reqwest::{FallbackMiddleware, client_builder};
//! use keyswap_tower::ClientSecretBasic;
//! use reqwest_middleware::ClientBuilder;
//!
//! # async fn example(ring: SecretRing) -> Result<(), Box<dyn std::error::Error>> {
//! // The client for the token endpoint, with the client secrets.
//! let client = ClientBuilder::new(client_builder().build()?)
//!     .with(FallbackMiddleware::new(ring, ClientSecretBasic::new("billing")))
//!     .build();
//! let tokens = TokenSource::new(client, "https://auth.example/oauth/token".parse()?)
//!     .parameter("audience", "https://api.example/");
//!
//! // The client for the API, with the tokens.
//! let api = ClientBuilder::new(reqwest::Client::new())
//!     .with(BearerMiddleware::new(tokens.clone()).origin("https://api.example".parse()?))
//!     .build();
//! let answer = api.get("https://api.example/orders").send().await?;
//!
//! // The token itself, for whatever else wants one.
//! let token = tokens.token().await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod bearer;
mod error;
mod fetch;
mod flight;
#[cfg(feature = "oauth2")]
mod oauth2;
mod source;
mod token;

#[cfg(feature = "oauth2")]
pub use self::oauth2::OAuth2Client;
pub use bearer::{
    Bearer, BearerBody, BearerError, BearerFuture, BearerLayer, BearerMiddleware, ClearTextError,
};
pub use error::{TokenError, TokenErrorKind};
pub use source::{TokenFuture, TokenSource};
pub use token::Token;
