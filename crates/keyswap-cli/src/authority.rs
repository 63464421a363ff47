//! The authority that a configuration names.

use keyswap_admin::authority::{Capabilities, ChangeAnswer, Pace, Probe, ReadBack};
use keyswap_admin::{Auth0, Authority, AuthorityError, Hydra};
use keyswap_core::{Secret, SecretList, SecretRing};

use crate::configuration::{AuthorityTable, Configuration, OfClient};
use crate::exit::Failure;

/// One of the servers that a configuration can name.
#[derive(Debug)]
pub(crate) enum ConfiguredAuthority {
    Auth0(Auth0),
    Hydra(Hydra),
}

/// What all clients of a configuration share at their server: connections, the management token, the pace.
pub(crate) struct Shared<'a> {
    table: &'a AuthorityTable,
    pace: Pace,
    tenant: Option<Auth0>,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(configuration: &'a Configuration) -> Result<Self, Failure> {
        let table = &configuration.authority;
        let (rate, share) = table.limit();
        let mut pace = Pace::new();
        if let Some(rate) = rate {
            pace = pace.requests_per_second(rate);
        }
        if let Some(share) = share {
            pace = pace.share(share);
        }
        let tenant = match table {
            AuthorityTable::Auth0 {
                url,
                management_client_id,
                management_secret,
                management_audience,
                ..
            } => {
                let secret = management_secret.read()?;
                let list =
                    SecretList::new([secret]).map_err(|error| Failure::usage(error.to_string()))?;
                let mut tenant = Auth0::builder(url.clone(), management_client_id)
                    .management(management_client_id, SecretRing::new(list))
                    .pace(pace.clone());
                if let Some(audience) = management_audience {
                    tenant = tenant.management_audience(audience);
                }
                Some(tenant.build()?)
            }
            AuthorityTable::Hydra { .. } => None,
        };
        Ok(Self { table, pace, tenant })
    }

    /// The server, for one client.
    pub(crate) fn authority(&self, client: &OfClient<'_>) -> Result<ConfiguredAuthority, Failure> {
        let authentication = client.authentication();
        match (self.table, &self.tenant) {
            (AuthorityTable::Auth0 { audience, .. }, Some(tenant)) => {
                let mut auth0 = tenant.another(client.id());
                if let Some(audience) = client.audience().or(audience.as_deref()) {
                    auth0 = auth0.audience(audience);
                }
                if let Some(authentication) = authentication {
                    auth0 = auth0.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Auth0(auth0.build()?))
            }
            (AuthorityTable::Hydra { url, admin_url, scope, .. }, _) => {
                let mut hydra = Hydra::builder(url.clone(), admin_url.clone(), client.id())
                    .pace(self.pace.clone());
                if let Some(scope) = client.scope().or(scope.as_deref()) {
                    hydra = hydra.scope(scope);
                }
                if let Some(authentication) = authentication {
                    hydra = hydra.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Hydra(hydra.build()?))
            }
            (AuthorityTable::Auth0 { .. }, None) => {
                Err(Failure::failed("the tenant of the configuration is not known"))
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

    async fn ready(&self) {
        match self {
            Self::Auth0(auth0) => auth0.ready().await,
            Self::Hydra(hydra) => hydra.ready().await,
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
