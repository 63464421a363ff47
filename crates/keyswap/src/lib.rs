//! Change a `client_secret` with no failed request, also at servers that accept only one at a time.
//!
//! A `client_secret` lets a program get tokens from an authorization server. When it must change, every
//! program that uses it must change too, and at servers that hold a single secret everything breaks
//! between the two changes. keyswap closes that gap from both sides:
//!
//! - **The client half** holds an ordered list of secrets, and falls back to the next one when the
//!   server refuses the first: [`SecretRing`], with a [tower layer](tower) or a
//!   [reqwest middleware](reqwest) around the HTTP client that a program has already, and hot reload
//!   from a [store].
//! - **The admin half** rotates: it stages the new secret in every program, changes it at the server,
//!   proves it, and takes the old one away when every instance attests that it is unused. See `admin`
//!   (feature `admin`), or the `keyswap` command.
//!
//! # A program that survives a rotation
//!
//! ```no_run
//! use keyswap::FallbackPolicy;
//! use keyswap::reqwest::{FallbackMiddleware, client_builder};
//! use keyswap::store::{FileStore, join};
//! use keyswap::tower::{ClientSecretPost, Profile};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // The list of secrets, kept up to date; the rotator hears from this program what it holds.
//! let store = FileStore::open("/var/lib/keyswap", "AaiyAPdpYdesoKnqjj8HJqRn4T5titww")?;
//! let (ring, member) = join(store, "billing", FallbackPolicy::default()).await?;
//! tokio::spawn(member);
//!
//! // The client that was there before, with a middleware around it.
//! let credential = ClientSecretPost::new("AaiyAPdpYdesoKnqjj8HJqRn4T5titww");
//! let client = reqwest_middleware::ClientBuilder::new(client_builder().build()?)
//!     .with(FallbackMiddleware::new(ring, credential).profile(Profile::Auth0))
//!     .build();
//!
//! // The request carries no secret: the middleware puts it in.
//! let answer = client
//!     .post("https://tenant.eu.auth0.com/oauth/token")
//!     .form(&[("grant_type", "client_credentials"), ("audience", "https://api.example/")])
//!     .send()
//!     .await?;
//! # Ok(())
//! # }
//! ```
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
//! | `admin` | `keyswap::admin`: the rotation engine and the authorization servers it can change | |
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

/// The program in the README, compiled.
#[cfg(all(doctest, feature = "reqwest", feature = "store"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
