//! Where a fleet keeps its client secrets while they change: the published list, the journal of a
//! rotation, the reports of the programs, the history.
//!
//! - [`SecretStore`] is what a store must do; [`FileStore`] does it in a directory, for the processes
//!   of one host.
//! - [`Follow`] keeps a [`SecretRing`](keyswap_core::SecretRing) in step with a store, or with what you
//!   have already ([`SecretSource`]: a file, a directory, a Kubernetes volume): hot reload.
//! - [`Presence`] reports which list a program uses, and how much; a rotation waits for that.
//! - [`join`] is all a program needs: it registers, reads, follows and reports.
//!
//! ```
//! use keyswap_core::{FallbackPolicy, Secret, SecretList};
//! use keyswap_store::{FileStore, SecretStore, join};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().join("store");
//! // Once: the present secret becomes revision 1 of the list.
//! let store = FileStore::create(&directory, "billing")?;
//! let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
//! let revision = store.import(&SecretList::new([old.clone()])?).await?;
//!
//! // In each program: a ring that follows the store.
//! let (ring, member) = join(store.clone(), "invoices", FallbackPolicy::default()).await?;
//! let member = tokio::spawn(member);
//!
//! // In the rotator: whatever is published reaches the ring, without a restart.
//! let mut changes = ring.subscribe();
//! let lease = store.acquire("an example").await?;
//! let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
//! store.publish(&lease, revision, &SecretList::new([old, new])?, None).await?;
//! assert_eq!(changes.changed().await, Some(revision.next()));
//! assert_eq!(ring.snapshot().list().len(), 2);
//! # member.abort();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here starts a background task by itself: what runs beside your program is a future that you
//! spawn and that ends when you drop it.
#![forbid(unsafe_code)]

// What is decided there is tested in every build; the rest needs the SDK.
#[cfg(any(feature = "aws-settings", test))]
mod aws;
mod chain;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod file;
mod follow;
#[doc(hidden)]
pub mod forward;
mod name;
mod presence;
mod report;
mod source;
mod store;
mod written;

#[cfg(feature = "aws-settings")]
#[doc(hidden)]
pub use aws::aws_settings;
#[cfg(feature = "aws")]
pub use aws::{AwsSecret, AwsStore};
pub use error::{StoreError, StoreErrorKind};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdBuilder, EtcdStore, EtcdWatch};
#[cfg(feature = "age")]
pub use file::Seal;
pub use file::{FileStore, FileWatch};
pub use follow::{Follow, FollowStatus};
pub use presence::{Presence, join};
pub use report::{HistoryEntry, HistoryHead, Hold, Instance, InstanceReport};
pub use source::SecretSource;
pub use store::{Lease, Registration, SecretStore, Watch};
