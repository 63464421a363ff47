//! What the command has to know of one kind of server.

use keyswap_admin::authority::{Pace, TokenEndpoint};
use keyswap_core::{FallbackPolicy, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore};
use tokio::task::JoinHandle;

use super::ConfiguredAuthority;
use super::table::Limit;
use crate::configuration::{Configuration, KEYSWAP, OfClient};
use crate::embedded::Asks;
use crate::exit::Failure;
use crate::secret_source::SecretSource;
use crate::store::{ConfiguredStore, Missing};

/// The keys that `[authority]` has for one kind of server, and how that server is reached with them.
///
/// A kind is one file beside this one: its table, this trait, and its line in [`table`](super::table) and
/// in [`configured`](super::configured).
pub(super) trait Kind {
    /// Its name, as `kind = "..."` has it.
    const NAME: &'static str;
    /// What a client may name for the token requests that prove its secret: `audience` or `scope`.
    const PROVED_WITH: Option<&'static str>;

    /// How often it may be asked.
    fn limit(&self) -> Limit;

    /// Whether nothing but this machine is between it and the rotator.
    fn is_on_this_machine(&self) -> bool;

    /// The client that makes the management requests and where its secret comes from, if it is one that could
    /// itself be rotated here.
    fn management(&self) -> Option<(&str, &SecretSource)> {
        None
    }

    /// Where the secret comes from that management requests are made with.
    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        None
    }

    /// What does not go together.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Where its clients get their tokens; `None` where that is not known.
    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure>;

    /// Notes what is asked of a server like it, for all clients.
    fn ask(&self, _: &mut Asks) {}

    /// Why there is no server like it here, in words for the user, if so.
    fn cannot_be_rehearsed(&self) -> Option<&'static str> {
        None
    }

    /// Makes once what all clients share, and gives what makes the authority of each.
    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure>;
}

/// Makes the authority of a client.
pub(super) type Connected<'a> =
    Box<dyn Fn(&OfClient<'_>) -> Result<ConfiguredAuthority, Failure> + Send + Sync + 'a>;

/// Whether a process changes anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    Rotates,
    /// It leaves no trace in a store either.
    Looks,
}

/// What a connection to a server is made with.
pub(super) struct Connecting<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) pace: Pace,
    purpose: Purpose,
    member: Option<Member>,
}

/// Follows the store of the management secret, and reports there, for as long as this lives.
pub(super) struct Member(JoinHandle<()>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<'a> Connecting<'a> {
    pub(super) fn new(configuration: &'a Configuration, purpose: Purpose) -> Self {
        let Limit { requests_per_second, share } = configuration.authority.limit();
        let mut pace = Pace::new();
        if let Some(rate) = requests_per_second {
            pace = pace.requests_per_second(rate);
        }
        if let Some(share) = share {
            pace = pace.share(share);
        }
        Self { configuration, pace, purpose, member: None }
    }

    pub(super) fn member(self) -> Option<Member> {
        self.member
    }

    /// The management client's secrets: one that is read now, or a list that is followed. In the second case
    /// this process is an instance of the application [`KEYSWAP`], so that a rotation of that secret waits
    /// for it, and for others that use it, like for any program; unless it only looks, and is soon gone.
    pub(super) async fn management_ring(
        &mut self,
        client: &str,
        source: &SecretSource,
    ) -> Result<SecretRing, Failure> {
        let table = &self.configuration.store;
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
                return Ok(SecretRing::new(list));
            }
        };
        if self.purpose == Purpose::Looks {
            let document = store.published().await?.ok_or_else(|| {
                Failure::failed(format!(
                    "{} holds no secret of client {client}, which makes the management requests: put it in with \
                     `keyswap init --client-id {client}`",
                    store.describe()
                ))
            })?;
            return Ok(SecretRing::new(document.list));
        }
        let mut policy = FallbackPolicy::default();
        let own = self.configuration.clients().find(|own| own.id() == client);
        if let Some(window) = own.and_then(|own| own.propagation_window()) {
            policy = policy.propagation_window(window);
        }
        let (ring, member) = keyswap_store::join(store, KEYSWAP, policy).await?;
        self.member = Some(Member(tokio::spawn(member)));
        Ok(ring)
    }
}
