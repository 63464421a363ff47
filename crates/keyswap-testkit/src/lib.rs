//! An authorization server to embed in tests, rehearsals and demonstrations of secret rotation.
//!
//! It answers as a vendor does ([`Provider`]) at its token endpoint and at the part of its management API
//! that reads and changes a client's secrets. Like Auth0 it holds **one** secret a client and lets a change spread over several nodes: inside the
//! propagation window, one request may reach a node that still has the old secret, and the next one a node that has
//! the new one. Faults happen on demand. It listens on loopback only and needs nothing but Rust.
//!
//! ```
//! use std::time::Duration;
//!
//! use keyswap_testkit::{AuthorizationServer, Balancing, Client, Endpoint, Fault, Times};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = AuthorizationServer::builder()
//!     .nodes(3)
//!     .propagation_window(Duration::from_millis(200))
//!     .balancing(Balancing::PerRequest)
//!     .client(Client::new("billing", "first-secret").grant("https://api.example/"))
//!     .management_client(Client::management("rotator", "mgmt-secret"))
//!     .start()
//!     .await?;
//!
//! // A client signs in over a real socket.
//! let parameters = [
//!     ("grant_type", "client_credentials"),
//!     ("client_id", "billing"),
//!     ("client_secret", "first-secret"),
//!     ("audience", "https://api.example/"),
//! ];
//! let sign_in = || reqwest::Client::new().post(server.token_endpoint()).form(&parameters).send();
//! assert_eq!(sign_in().await?.status(), 200);
//!
//! // A fault on demand: the next token request is told to wait.
//! let retry_after = Some(Duration::from_secs(2));
//! let fault = Fault::RateLimited { endpoint: Endpoint::Token, retry_after, reset_after: None };
//! server.inject(fault, Times::ONCE);
//! assert_eq!(sign_in().await?.headers()["retry-after"], "2");
//!
//! // Somebody changes the secret at the dashboard; each node takes it up in its own time.
//! server.set_secret("billing", "second-secret");
//! assert!(server.accepts_anywhere("billing", "first-secret"));
//! server.until_settled("billing").await;
//! assert!(server.accepts("billing", "second-secret"));
//! assert_eq!(sign_in().await?.status(), 401);
//!
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! It is no security boundary: secrets lie in its memory unwiped, and it speaks HTTP without TLS, which is why it
//! refuses to listen anywhere but on loopback. Only the client credentials grant mints tokens, and at FusionAuth and Zitadel a refresh token. Limits on request rates
//! are not modelled; inject [`Fault::RateLimited`] instead.

#![forbid(unsafe_code)]

mod assertion;
mod auth0;
mod client;
mod client_authentication;
mod cognito;
mod core;
mod counts;
mod entra;
mod exchange;
mod fault;
mod fault_answer;
mod fusionauth;
mod hydra;
mod keycloak;
mod limit;
mod okta;
mod parameters;
mod propagation;
mod provider;
mod registration;
mod serve;
mod server;
mod several;
mod start_error;
mod state;
#[cfg(feature = "store")]
pub mod store;
mod time;
mod token_endpoint;
mod tokens;
mod wso2;
mod zitadel;

pub use client::{Client, ClientAuthentication};
pub use counts::Counts;
pub use exchange::Exchange;
pub use fault::{Endpoint, Fault, Times};
pub use provider::Provider;
pub use registration::AtUpdate;
pub use server::{AuthorizationServer, Balancing, Builder};
pub use start_error::StartError;
