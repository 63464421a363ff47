//! The authority that a configuration names.

use keyswap_admin::authority::{Capabilities, ChangeAnswer, Probe, ReadBack};
use keyswap_admin::{Auth0, Authority, AuthorityError, Hydra};
use keyswap_core::{Secret, SecretList, SecretRing};

use crate::configuration::{AuthorityTable, OfClient};
use crate::exit::Failure;

/// One of the servers that a configuration can name.
#[derive(Debug)]
pub(crate) enum ConfiguredAuthority {
    Auth0(Auth0),
    Hydra(Hydra),
}

impl ConfiguredAuthority {
    pub(crate) fn new(client: &OfClient<'_>) -> Result<Self, Failure> {
        let authentication = client.authentication();
        match &client.configuration.authority {
            AuthorityTable::Auth0 {
                url,
                audience,
                management_client_id,
                management_secret,
                management_audience,
            } => {
                let secret = management_secret.read()?;
                let list =
                    SecretList::new([secret]).map_err(|error| Failure::usage(error.to_string()))?;
                let mut auth0 = Auth0::builder(url.clone(), client.id())
                    .management(management_client_id, SecretRing::new(list));
                if let Some(audience) = client.audience().or(audience.as_deref()) {
                    auth0 = auth0.audience(audience);
                }
                if let Some(audience) = management_audience {
                    auth0 = auth0.management_audience(audience);
                }
                if let Some(authentication) = authentication {
                    auth0 = auth0.authentication(authentication);
                }
                Ok(Self::Auth0(auth0.build()?))
            }
            AuthorityTable::Hydra { url, admin_url, scope } => {
                let mut hydra = Hydra::builder(url.clone(), admin_url.clone(), client.id());
                if let Some(scope) = client.scope().or(scope.as_deref()) {
                    hydra = hydra.scope(scope);
                }
                if let Some(authentication) = authentication {
                    hydra = hydra.authentication(authentication);
                }
                Ok(Self::Hydra(hydra.build()?))
            }
        }
    }
}

impl Authority for ConfiguredAuthority {
    fn capabilities(&self) -> Capabilities {
        match self {
            Self::Auth0(auth0) => auth0.capabilities(),
            Self::Hydra(hydra) => hydra.capabilities(),
        }
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        match self {
            Self::Auth0(auth0) => auth0.check().await,
            Self::Hydra(hydra) => hydra.check().await,
        }
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        match self {
            Self::Auth0(auth0) => auth0.set_secret(secret).await,
            Self::Hydra(hydra) => hydra.set_secret(secret).await,
        }
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        match self {
            Self::Auth0(auth0) => auth0.read_back(known).await,
            Self::Hydra(hydra) => hydra.read_back(known).await,
        }
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        match self {
            Self::Auth0(auth0) => auth0.probe(secret).await,
            Self::Hydra(hydra) => hydra.probe(secret).await,
        }
    }
}
