//! Checks what was sent to an authorization server, and what it answered, against the vendor's own OpenAPI description.
//!
//! `descriptions/` holds what the vendors publish, cut down to the operations on client secrets; its README says where
//! each is from. A [`Vendor`] is one or more of them, and what is known to be missing there:
//!
//! ```no_run
//! use keyswap_openapi_tests::Vendor;
//! use keyswap_testkit::AuthorizationServer;
//!
//! # fn example(server: &AuthorizationServer) {
//! // How often each operation was seen; it panics with all that does not agree.
//! let seen = Vendor::okta().assert_described(&server.exchanges());
//! assert!(seen["createOAuth2ClientSecret"] > 0);
//! # }
//! ```
//!
//! Descriptions leave much open, so some rules are stricter than OpenAPI's own: see [`Vendor::check`].

#![forbid(unsafe_code)]

mod body;
mod description;
mod operation;
mod parameters;
mod schema;
mod vendor;
mod vendors;

pub use vendor::{Mismatch, Vendor};
