//! Where the registration access token of a client is kept.
//!
//! It is in a store like the secrets are: durable, sealed where they are, out of the configuration, and
//! replaced under a lease. Not in the journal: that belongs to one rotation, and the token is of use between
//! rotations as well; nor with the secrets of the client, since programs hold those.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keyswap_core::{Generator, Revision, Secret, SecretList};
use keyswap_store::{Lease, SecretStore, StoreError};

use super::super::{AuthorityError, AuthorityErrorKind};

/// How often it is tried to store a token: without it, nobody can change the registration any more.
const MOST_TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// Who takes the lease of the token, for the message that others get.
const HOLDER: &str = "a request for the client's registration";

/// The registration access token of one client (RFC 7592 section 1.1), in a place of its own in a store.
///
/// A server may give a new token with each answer, and takes the one before no more from then on (RFC 7592
/// section 2.1 and 2.2). So the token is replaced here before anything else is done with such an answer.
pub struct RegistrationToken<S> {
    store: S,
    /// One that the store did not take yet.
    unsaved: Mutex<Option<Secret>>,
}

impl<S: SecretStore> RegistrationToken<S> {
    /// The name of the place for a client in a store: open the store with it.
    #[must_use]
    pub fn place(client_id: &str) -> String {
        format!("{client_id}.registration-access-token")
    }

    /// The token in this store, which was opened for a [place](Self::place).
    #[must_use]
    pub fn new(store: S) -> Self {
        Self { store, unsaved: Mutex::default() }
    }

    /// Puts a token there, in place of the one that there may be.
    ///
    /// # Errors
    ///
    /// When the store cannot be written, or another process uses the token just now.
    pub async fn put(&self, token: &str) -> Result<(), StoreError> {
        let token = named(token).map_err(|reason| self.unusable(reason))?;
        match self.store.published().await? {
            None => {
                let list = SecretList::new([token]).map_err(|error| self.unusable(error))?;
                self.store.import(&list).await.map(drop)
            }
            Some(_) => self.hold().await?.replace(&token).await,
        }
    }

    fn unusable(&self, reason: impl fmt::Display) -> StoreError {
        StoreError::new(
            keyswap_store::StoreErrorKind::Invalid,
            "take the registration access token",
        )
        .at(self.store.describe())
        .because(reason.to_string())
    }

    /// The token, which nobody else uses or replaces meanwhile.
    pub(super) async fn hold(&self) -> Result<Held<'_, S>, StoreError> {
        let lease = self.store.acquire(HOLDER).await?;
        let published = self.store.published().await?.ok_or_else(|| {
            StoreError::new(
                keyswap_store::StoreErrorKind::NotFound,
                "read the registration access token",
            )
            .at(self.store.describe())
            .because("there is none yet")
            .way_out("store it: `keyswap init --registration-token-file FILE`")
        })?;
        let (revision, token) = (published.revision, published.list.preferred().clone());
        let mut held = Held { of: self, lease, revision, token };
        let unsaved = self.lock().clone();
        if let Some(unsaved) = unsaved {
            if held.replace(&unsaved).await.is_ok() {
                *self.lock() = None;
            }
            held.token = unsaved;
        }
        Ok(held)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Secret>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token under an id of its own.
fn named(token: &str) -> Result<Secret, String> {
    let id = Generator::default().generate().map_err(|error| error.to_string())?.id().clone();
    Secret::new(id, token).map_err(|error| error.to_string())
}

/// The token while this process alone may use it.
pub(super) struct Held<'a, S> {
    of: &'a RegistrationToken<S>,
    lease: Lease,
    revision: Revision,
    pub(super) token: Secret,
}

impl<S: SecretStore> Held<'_, S> {
    /// Stores the token that an answer brought, if it is another one. If the store does not take it, it
    /// is kept in this process, which goes on with it and tries again: an error is only to be told.
    pub(super) async fn keep(mut self, token: &str) -> Result<(), AuthorityError> {
        if self.token.matches(token) && self.of.lock().is_none() {
            return Ok(());
        }
        let failed = |reason: String| {
            AuthorityError::new(
                AuthorityErrorKind::Unexpected,
                format!("the next registration access token could not be stored: {reason}"),
            )
        };
        let next = named(token).map_err(failed)?;
        *self.of.lock() = Some(next.clone());
        let mut tries = 1;
        loop {
            let error = match self.replace(&next).await {
                Ok(()) => {
                    *self.of.lock() = None;
                    return Ok(());
                }
                Err(error) => error,
            };
            if tries == MOST_TRIES {
                return Err(failed(error.to_string()));
            }
            tries += 1;
            tokio::time::sleep(PAUSE).await;
            // The request may have taken longer than the lease, and somebody else may have had a look.
            if let Ok(again) = self.of.store.acquire(HOLDER).await {
                self.lease = again;
            }
        }
    }

    async fn replace(&mut self, token: &Secret) -> Result<(), StoreError> {
        let list = SecretList::new([token.clone()]).map_err(|error| self.of.unusable(error))?;
        let store = &self.of.store;
        let _ = store.renew(&self.lease).await?;
        self.revision = match store.publish(&self.lease, self.revision, &list, None).await {
            Ok(revision) => revision,
            // It may have been written all the same.
            Err(error) => match store.published().await {
                Ok(Some(published)) if published.list == list => published.revision,
                _ => return Err(error),
            },
        };
        Ok(())
    }
}

impl<S> fmt::Debug for RegistrationToken<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationToken").finish_non_exhaustive()
    }
}
