//! The authority that a configuration names.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use keyswap_admin::authority::{
    AddAnswer, Capabilities, ChangeAnswer, Listed, NewSecret, Pace, PrivateKey, Probe, ReadBack,
    RegistrationToken, SlotId,
};
use keyswap_admin::{
    Auth0, Authority, AuthorityError, Entra, Exec, Finding, FusionAuth, Hydra, Keycloak, Okta,
    Registration, Zitadel,
};
use keyswap_core::{FallbackPolicy, Secret, SecretId, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore};
use tokio::task::JoinHandle;

use crate::configuration::{AuthorityTable, Configuration, EntraTable, KEYSWAP, OfClient};
use crate::exit::Failure;
use crate::secret_source::SecretSource;
use crate::store::{ConfiguredStore, Missing};

/// One of the servers that a configuration can name.
#[derive(Debug)]
pub(crate) enum ConfiguredAuthority {
    Auth0(Auth0),
    Entra(Entra),
    Exec(Exec),
    FusionAuth(FusionAuth),
    Hydra(Hydra),
    Keycloak(Keycloak),
    Okta(Okta),
    Registration(Registration<ConfiguredStore>),
    Zitadel(Zitadel),
}

/// What all clients of a configuration share at their server: connections, the management token, the pace.
pub(crate) struct Shared<'a> {
    table: &'a AuthorityTable,
    pace: Pace,
    server: Server,
    /// Follows the store of the management secret, and reports there, for as long as this lives.
    _member: Option<AbortOnDrop>,
}

/// What is made once for all clients of a server.
enum Server {
    Auth0(Auth0),
    Entra(Entra),
    /// The program that administers the server, which has said what that can do.
    Exec(Exec),
    Keycloak(Keycloak),
    /// Nothing but the pace.
    Other,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a process changes anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    Rotates,
    /// It leaves no trace in a store either.
    Looks,
}

/// The management client's secrets: one that is read now, or a list that is followed. In the second case
/// this process is an instance of the application [`KEYSWAP`], so that a rotation of that secret waits
/// for it, and for others that use it, like for any program; unless it only looks, and is soon gone.
async fn management_ring(
    configuration: &Configuration,
    client: &str,
    source: &SecretSource,
    purpose: Purpose,
) -> Result<(SecretRing, Option<AbortOnDrop>), Failure> {
    let table = &configuration.store;
    let store = match source {
        SecretSource::Store(directory) => {
            ConfiguredStore::File(table.sealed(FileStore::open(directory, client)?)?)
        }
        SecretSource::OwnStore => {
            ConfiguredStore::at(table, table.directory.as_deref(), client, Missing::AnError)?
        }
        source => {
            let list = SecretList::new([source.read()?]);
            let list = list.map_err(|error| Failure::usage(error.to_string()))?;
            return Ok((SecretRing::new(list), None));
        }
    };
    if purpose == Purpose::Looks {
        let document = store.published().await?.ok_or_else(|| {
            Failure::failed(format!(
                "{} holds no secret of client {client}, which makes the management requests: put it in with \
                 `keyswap init --client-id {client}`",
                store.describe()
            ))
        })?;
        return Ok((SecretRing::new(document.list), None));
    }
    let mut policy = FallbackPolicy::default();
    let own = configuration.clients().find(|own| own.id() == client);
    if let Some(window) = own.and_then(|own| own.propagation_window()) {
        policy = policy.propagation_window(window);
    }
    let (ring, member) = keyswap_store::join(store, KEYSWAP, policy).await?;
    Ok((ring, Some(AbortOnDrop(tokio::spawn(member)))))
}

impl<'a> Shared<'a> {
    pub(crate) async fn new(configuration: &'a Configuration) -> Result<Self, Failure> {
        Self::to(Purpose::Rotates, configuration).await
    }

    pub(crate) async fn to(
        purpose: Purpose,
        configuration: &'a Configuration,
    ) -> Result<Self, Failure> {
        let table = &configuration.authority;
        let (rate, share) = table.limit();
        let mut pace = Pace::new();
        if let Some(rate) = rate {
            pace = pace.requests_per_second(rate);
        }
        if let Some(share) = share {
            pace = pace.share(share);
        }
        let mut member = None;
        let server = match table {
            AuthorityTable::Auth0 {
                url,
                management_client_id,
                management_secret,
                management_audience,
                ..
            } => {
                let (ring, following) = management_ring(
                    configuration,
                    management_client_id,
                    management_secret,
                    purpose,
                )
                .await?;
                member = following;
                let mut tenant = Auth0::builder(url.clone(), management_client_id)
                    .management(management_client_id, ring)
                    .pace(pace.clone());
                if let Some(audience) = management_audience {
                    tenant = tenant.management_audience(audience);
                }
                Server::Auth0(tenant.build()?)
            }
            AuthorityTable::Entra(table) => {
                let (client, source) = (&table.management_client_id, &table.management_secret);
                let (ring, following) =
                    management_ring(configuration, client, source, purpose).await?;
                member = following;
                Server::Entra(entra(table, ring, &pace)?)
            }
            AuthorityTable::Exec { command, environment, timeout, .. } => {
                let directory = configuration.directory();
                Server::Exec(exec(command, environment, *timeout, directory, &pace).await?)
            }
            AuthorityTable::Keycloak {
                url,
                realm,
                management_client_id,
                management_secret,
                management_realm,
                ..
            } => {
                let (ring, following) = management_ring(
                    configuration,
                    management_client_id,
                    management_secret,
                    purpose,
                )
                .await?;
                member = following;
                let mut keycloak = Keycloak::builder(url.clone(), realm, management_client_id)
                    .management(management_client_id, ring)
                    .pace(pace.clone());
                if let Some(other) = management_realm {
                    keycloak = keycloak.management_realm(other);
                }
                Server::Keycloak(keycloak.build()?)
            }
            AuthorityTable::FusionAuth { .. }
            | AuthorityTable::Hydra { .. }
            | AuthorityTable::Okta { .. }
            | AuthorityTable::Registration { .. }
            | AuthorityTable::Zitadel { .. } => Server::Other,
        };
        Ok(Self { table, pace, server, _member: member })
    }

    /// The server, for one client.
    pub(crate) fn authority(&self, client: &OfClient<'_>) -> Result<ConfiguredAuthority, Failure> {
        let authentication = client.authentication();
        match (self.table, &self.server) {
            (AuthorityTable::Auth0 { audience, .. }, Server::Auth0(tenant)) => {
                let mut auth0 = tenant.another(client.id());
                // What the management client may call is the Management API.
                let for_all = match client.is_management() {
                    true => Some(tenant.management_audience()),
                    false => audience.as_deref(),
                };
                if let Some(audience) = client.audience().or(for_all) {
                    auth0 = auth0.audience(audience);
                }
                if let Some(authentication) = authentication {
                    auth0 = auth0.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Auth0(auth0.build()?))
            }
            (AuthorityTable::Entra(table), Server::Entra(directory)) => {
                let mut entra = directory.another(client.id());
                if let Some(id) = &table.object_id {
                    entra = entra.application(id);
                }
                if let Some(scope) = client.scope().or(table.scope.as_deref()) {
                    entra = entra.scope(scope);
                }
                if let Some(authentication) = authentication {
                    entra = entra.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Entra(entra.build()?))
            }
            (AuthorityTable::Hydra { url, admin_url, scope, overlap, .. }, _) => {
                let mut hydra = Hydra::builder(url.clone(), admin_url.clone(), client.id())
                    .pace(self.pace.clone());
                if let Some(scope) = client.scope().or(scope.as_deref()) {
                    hydra = hydra.scope(scope);
                }
                if let Some(overlap) = overlap {
                    hydra = hydra.overlap(*overlap);
                }
                if let Some(authentication) = authentication {
                    hydra = hydra.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Hydra(hydra.build()?))
            }
            (AuthorityTable::FusionAuth { url, api_key, application_id, tenant_id, .. }, _) => {
                let mut fusionauth = FusionAuth::builder(url.clone(), client.id())
                    .api_key(api_key.read()?)
                    .pace(self.pace.clone());
                if let Some(id) = application_id {
                    fusionauth = fusionauth.application(id);
                }
                if let Some(id) = tenant_id {
                    fusionauth = fusionauth.tenant(id);
                }
                if let Some(authentication) = authentication {
                    fusionauth = fusionauth.authentication(authentication);
                }
                Ok(ConfiguredAuthority::FusionAuth(fusionauth.build()?))
            }
            (AuthorityTable::Exec { .. }, Server::Exec(program)) => {
                Ok(ConfiguredAuthority::Exec(program.another(client.id())))
            }
            (AuthorityTable::Keycloak { .. }, Server::Keycloak(realm)) => {
                let mut keycloak = realm.another(client.id());
                if let Some(authentication) = authentication {
                    keycloak = keycloak.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Keycloak(keycloak.build()?))
            }
            (
                AuthorityTable::Auth0 { .. }
                | AuthorityTable::Entra(_)
                | AuthorityTable::Exec { .. }
                | AuthorityTable::Keycloak { .. },
                _,
            ) => Err(Failure::failed("the server of the configuration is not known")),
            (
                AuthorityTable::Okta {
                    url,
                    api_token,
                    management_client_id,
                    management_private_key,
                    management_key_id,
                    application_id,
                    authorization_server,
                    scope,
                    ..
                },
                _,
            ) => {
                let mut okta = Okta::builder(url.clone(), client.id()).pace(self.pace.clone());
                if let Some(token) = api_token {
                    okta = okta.api_token(token.read()?);
                }
                if let (Some(app), Some(key)) = (management_client_id, management_private_key) {
                    let key = PrivateKey::from_pem(&key.read_text()?)?;
                    okta = okta.service_app(app, key, management_key_id.clone());
                }
                if let Some(id) = application_id {
                    okta = okta.application(id);
                }
                if let Some(id) = authorization_server {
                    okta = okta.authorization_server(id);
                }
                if let Some(scope) = client.scope().or(scope.as_deref()) {
                    okta = okta.scope(scope);
                }
                if let Some(authentication) = authentication {
                    okta = okta.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Okta(okta.build()?))
            }
            (
                AuthorityTable::Registration {
                    registration_client_uri,
                    token_endpoint,
                    client_chooses,
                    profile,
                    scope,
                    ..
                },
                _,
            ) => {
                let token = registration_token(client, Missing::AnError)?;
                let (uri, endpoint) = (registration_client_uri.clone(), token_endpoint.clone());
                let mut registration = Registration::builder(uri, endpoint, client.id(), token)
                    .client_chooses(*client_chooses)
                    .pace(self.pace.clone())
                    .on_said(|line| say("registration", line));
                if let Some(profile) = profile {
                    registration = registration.profile(profile.0);
                }
                if let Some(scope) = client.scope().or(scope.as_deref()) {
                    registration = registration.scope(scope);
                }
                if let Some(authentication) = authentication {
                    registration = registration.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Registration(registration.build()?))
            }
            (AuthorityTable::Zitadel { url, token, project_id, application_id, .. }, _) => {
                let mut zitadel = Zitadel::builder(url.clone(), client.id())
                    .application(project_id, application_id)
                    .token(token.read()?)
                    .pace(self.pace.clone());
                if let Some(authentication) = authentication {
                    zitadel = zitadel.authentication(authentication);
                }
                Ok(ConfiguredAuthority::Zitadel(zitadel.build()?))
            }
        }
    }
}

/// The place of a client's registration access token.
pub(crate) fn registration_token(
    client: &OfClient<'_>,
    missing: Missing,
) -> Result<RegistrationToken<ConfiguredStore>, Failure> {
    let name = RegistrationToken::<ConfiguredStore>::place(client.id());
    let store = ConfiguredStore::beside(client, &name, missing).map_err(|failure| {
        let way_out = match missing {
            Missing::AnError => {
                ". For the registration access token of the client: `keyswap init \
                 --registration-token-file FILE`"
            }
            Missing::Made => "",
        };
        failure.followed_by(way_out)
    })?;
    Ok(RegistrationToken::new(store))
}

/// A line of an authority's own.
fn say(who: &str, line: &str) {
    // On a terminal there may be a live line, which is drawn again by itself.
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{clear}{who}: {line}");
}

/// The tenant, as its management client sees it.
fn entra(table: &EntraTable, secrets: SecretRing, pace: &Pace) -> Result<Entra, Failure> {
    let client = table.management_client_id.as_str();
    let mut entra =
        Entra::builder(&table.tenant, client).management(client, secrets).pace(pace.clone());
    if let Some(url) = &table.login_url {
        entra = entra.login_url(url.clone());
    }
    if let Some(url) = &table.graph_url {
        entra = entra.graph_url(url.clone());
    }
    if let Some(lifetime) = table.lifetime() {
        entra = entra.lifetime(lifetime);
    }
    Ok(entra.build()?)
}

/// The program, asked what its server can do. A path in the command is relative to the configuration, and the
/// program runs there.
async fn exec(
    command: &[String],
    environment: &[String],
    timeout: Option<Duration>,
    directory: &Path,
    pace: &Pace,
) -> Result<Exec, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage(
            "`command` of the authority names no program: command = [\"./our-server\"]",
        ));
    };
    let failed = |error: std::io::Error| {
        Failure::failed(format!("the directory {} cannot be used: {error}", directory.display()))
    };
    let directory = directory.canonicalize().map_err(failed)?;
    let path = match program.contains('/') {
        true => directory.join(program),
        false => program.into(),
    };
    let name = program.clone();
    let mut exec = Exec::builder(path, "")
        .arguments(arguments)
        .directory(directory)
        .pace(pace.clone())
        .on_said(move |line| say(&name, line));
    for variable in environment {
        exec = exec.environment(variable);
    }
    if let Some(timeout) = timeout {
        exec = exec.timeout(timeout);
    }
    Ok(exec.describe().await?)
}

/// The same of whichever it is.
macro_rules! of_each {
    ($self:ident, $authority:ident => $act:expr) => {
        match $self {
            Self::Auth0($authority) => $act,
            Self::Entra($authority) => $act,
            Self::Exec($authority) => $act,
            Self::FusionAuth($authority) => $act,
            Self::Hydra($authority) => $act,
            Self::Keycloak($authority) => $act,
            Self::Okta($authority) => $act,
            Self::Registration($authority) => $act,
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
