//! An authority of whichever kind.

#[cfg(feature = "aws")]
use keyswap_admin::Cognito;
use keyswap_admin::authority::{
    AddAnswer, Asked, Capabilities, ChangeAnswer, Listed, NewSecret, Probe, ReadBack, Request,
    SlotId,
};
use keyswap_admin::{
    Auth0, Authority, AuthorityError, Entra, Exec, Finding, FusionAuth, Hydra, Keycloak, Okta,
    Registration, Wso2, Zitadel,
};
use keyswap_core::{Secret, SecretId};

use crate::store::ConfiguredStore;

/// One of the servers that a configuration can name.
#[derive(Debug)]
pub(crate) enum ConfiguredAuthority {
    Auth0(Auth0),
    #[cfg(feature = "aws")]
    Cognito(Cognito),
    Entra(Entra),
    Exec(Exec),
    FusionAuth(FusionAuth),
    Hydra(Hydra),
    Keycloak(Keycloak),
    Okta(Okta),
    Registration(Registration<ConfiguredStore>),
    Wso2(Wso2),
    Zitadel(Zitadel),
}

/// The same of whichever it is.
macro_rules! of_each {
    ($self:ident, $authority:ident => $act:expr) => {
        match $self {
            Self::Auth0($authority) => $act,
            #[cfg(feature = "aws")]
            Self::Cognito($authority) => $act,
            Self::Entra($authority) => $act,
            Self::Exec($authority) => $act,
            Self::FusionAuth($authority) => $act,
            Self::Hydra($authority) => $act,
            Self::Keycloak($authority) => $act,
            Self::Okta($authority) => $act,
            Self::Registration($authority) => $act,
            Self::Wso2($authority) => $act,
            Self::Zitadel($authority) => $act,
        }
    };
}

impl Authority for ConfiguredAuthority {
    fn capabilities(&self) -> Capabilities {
        of_each!(self, authority => authority.capabilities())
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        of_each!(self, authority => authority.check().await)
    }

    fn remarks(&self) -> Vec<String> {
        of_each!(self, authority => authority.remarks())
    }

    async fn look(&self) -> Vec<Finding> {
        of_each!(self, authority => authority.look().await)
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        of_each!(self, authority => authority.describe(asked).await)
    }

    async fn ready(&self) {
        of_each!(self, authority => authority.ready().await)
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        of_each!(self, authority => authority.probe(secret).await)
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        of_each!(self, authority => authority.set_secret(secret).await)
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        of_each!(self, authority => authority.read_back(known).await)
    }

    async fn slots(&self, known: &[Secret]) -> Listed {
        of_each!(self, authority => authority.slots(known).await)
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        of_each!(self, authority => authority.add_secret(new).await)
    }

    async fn add_secret_again(&self, new: &NewSecret, present: &Secret) -> AddAnswer {
        of_each!(self, authority => authority.add_secret_again(new, present).await)
    }

    async fn remove_secret_beside(&self, slot: &SlotId, stays: &Secret) -> ChangeAnswer {
        of_each!(self, authority => authority.remove_secret_beside(slot, stays).await)
    }

    async fn regenerate_secret(&self, id: &SecretId) -> AddAnswer {
        of_each!(self, authority => authority.regenerate_secret(id).await)
    }

    async fn set_active(&self, slot: &SlotId, active: bool) -> ChangeAnswer {
        of_each!(self, authority => authority.set_active(slot, active).await)
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        of_each!(self, authority => authority.remove_secret(slot).await)
    }
}
