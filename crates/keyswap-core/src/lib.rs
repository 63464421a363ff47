//! The ground floor of keyswap: client secrets, the ordered list of them that can be replaced while
//! requests run, and the decision which secret a request tries next.
//!
//! Nothing here does IO. Time and randomness come in as arguments, so that every decision can be
//! tested, simulated and checked.
//!
//! - [`Secret`] holds one client secret, wiped when its last handle goes; [`SecretId`] names it.
//! - [`SecretList`] is ordered and never empty; the first secret is the preferred one.
//! - [`SecretRing`] is the handle that programs keep: one atomic load a request, replaced by a hot reload.
//! - [`Attempts`] decides, for one request, what is sent first and what follows a refusal.
//! - [`Generator`] makes new secrets; [`SecretDocument`] is how a list is written down.
//!
//! ```
//! use std::time::Instant;
//! use keyswap_core::{Attempts, Next, Secret, SecretList, SecretRing, Verdict};
//!
//! let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
//! let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
//! let ring = SecretRing::new(SecretList::new([old, new])?);
//!
//! let (mut attempts, first) = Attempts::begin(&ring);
//! assert_eq!(first.id().as_str(), "old");
//! // The server says that client authentication failed: the next secret is tried.
//! match attempts.conclude(Verdict::Refused, Instant::now()) {
//!     Next::Send(second) => assert_eq!(second.id().as_str(), "new"),
//!     other => panic!("expected the fallback, got {other:?}"),
//! }
//! assert!(matches!(attempts.conclude(Verdict::Accepted, Instant::now()), Next::Done));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is wiped, and what cannot be
//!
//! A [`Secret`] lives in one allocation that is overwritten with zeros when the last clone goes.
//! Copies that an HTTP client or a TLS stack makes in its write buffers are out of reach of any
//! library; keyswap promises to wipe its own copies and no more.
#![forbid(unsafe_code)]

mod attempts;
mod document;
mod generate;
mod list;
#[cfg(feature = "metrics")]
pub mod metrics;
mod policy;
mod revision;
mod ring;
mod secret;
mod sync;
mod usage;
mod verdict;

pub use attempts::{Attempts, Next};
pub use document::{DocumentError, SecretDocument};
pub use generate::{GenerateError, Generator, InvalidGenerator};
pub use list::{InvalidSecretList, SecretList};
pub use policy::FallbackPolicy;
pub use revision::Revision;
pub use ring::{Changes, SecretRing, Snapshot};
pub use secret::{InvalidSecret, InvalidSecretId, MakerId, Secret, SecretId};
pub use usage::{SecretUsage, UsageReport};
pub use verdict::Verdict;
