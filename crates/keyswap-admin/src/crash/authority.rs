//! An authority whose process may die around each request.

use keyswap_core::{Secret, SecretId};

use super::{Act, Fate};
use crate::AuthorityError;
use crate::authority::{
    AddAnswer, Authority, Capabilities, ChangeAnswer, Listed, NewSecret, Probe, ReadBack, SlotId,
};

/// The authority inside, and the moments before and after each of its requests.
#[derive(Debug)]
pub struct DyingAuthority<A> {
    inner: A,
    fate: Fate,
}

impl<A> DyingAuthority<A> {
    /// Around this authority.
    pub fn new(inner: A, fate: Fate) -> Self {
        Self { inner, fate }
    }
}

impl<A: Authority> Authority for DyingAuthority<A> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.inner.check().await
    }

    fn remarks(&self) -> Vec<String> {
        self.inner.remarks()
    }

    async fn ready(&self) {
        self.inner.ready().await;
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        self.fate.around(Act::SetSecret, self.inner.set_secret(secret)).await
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        self.fate.around(Act::ReadBack, self.inner.read_back(known)).await
    }

    async fn slots(&self, known: &[Secret]) -> Listed {
        self.fate.around(Act::ListSecrets, self.inner.slots(known)).await
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        self.fate.around(Act::AddSecret, self.inner.add_secret(new)).await
    }

    async fn regenerate_secret(&self, id: &SecretId) -> AddAnswer {
        self.fate.around(Act::RegenerateSecret, self.inner.regenerate_secret(id)).await
    }

    async fn set_active(&self, slot: &SlotId, active: bool) -> ChangeAnswer {
        self.fate.around(Act::SetActive, self.inner.set_active(slot, active)).await
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        self.fate.around(Act::RemoveSecret, self.inner.remove_secret(slot)).await
    }

    async fn add_secret_again(&self, new: &NewSecret, present: &Secret) -> AddAnswer {
        self.fate.around(Act::AddSecret, self.inner.add_secret_again(new, present)).await
    }

    async fn remove_secret_beside(&self, slot: &SlotId, stays: &Secret) -> ChangeAnswer {
        self.fate.around(Act::RemoveSecret, self.inner.remove_secret_beside(slot, stays)).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.fate.around(Act::Probe, self.inner.probe(secret)).await
    }
}
