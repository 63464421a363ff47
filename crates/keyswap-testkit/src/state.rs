//! The clients of the server and its nodes, apart from any vendor's way to show them.
//!
//! Time comes in as an argument; see `propagation` for how a change of a secret spreads.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::assertion::{Assertion, Unacceptable};
use crate::client::{Client, ClientAuthentication, Grant, Signature};
use crate::propagation::{Origin, Propagation, lags};
use crate::several::{Act, Refusal, Rules, Several};

/// A registered client.
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) name: String,
    /// What the management API of some vendors calls it by.
    pub(crate) application: String,
    pub(crate) grants: Vec<Grant>,
    pub(crate) grant_types: Vec<String>,
    pub(crate) authentication: ClientAuthentication,
    pub(crate) takes_personal_accounts: bool,
    /// What a management API lets its callers keep with the client, and the server itself never looks at.
    pub(crate) attributes: Map<String, Value>,
    pub(crate) signature: Option<Signature>,
    secrets: Secrets,
    /// The ids of assertions that it signed in with, and when each of them expires, in Unix seconds.
    used_assertions: HashMap<String, u64>,
}

/// What a client may be let in by.
enum Secrets {
    /// One at each node at any time.
    One(Propagation<String>),
    Several(Several),
}

impl Secrets {
    /// The values that a node accepts.
    fn held(&self, node: usize, now: Instant) -> Vec<&str> {
        match self {
            Self::One(secret) => vec![secret.held(node, now)],
            Self::Several(secrets) => secrets.accepted(node, now).collect(),
        }
    }

    fn effective(&self, origin: Origin, now: Instant) -> u64 {
        match self {
            Self::One(secret) => secret.effective(origin, now),
            Self::Several(secrets) => secrets.effective(origin, now),
        }
    }

    fn settles_at(&self) -> Option<Instant> {
        match self {
            Self::One(secret) => Some(secret.settles_at()),
            Self::Several(secrets) => secrets.settles_at(),
        }
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Registered {
    /// What the management plane shows, where there is one secret.
    pub(crate) fn target(&self, now: Instant) -> Option<&str> {
        match &self.secrets {
            Secrets::One(secret) => Some(secret.target(now)),
            Secrets::Several(_) => None,
        }
    }

    /// All secrets, where there may be several.
    pub(crate) fn several(&self) -> Option<&Several> {
        match &self.secrets {
            Secrets::One(_) => None,
            Secrets::Several(secrets) => Some(secrets),
        }
    }

    fn accepts(&self, secret: &str, node: usize, now: Instant) -> bool {
        // All are looked at, whichever is the one.
        let found = self.secrets.held(node, now).into_iter().fold(false, |found, held| {
            found | bool::from(held.as_bytes().ct_eq(secret.as_bytes()))
        });
        self.authentication.uses_secret() && found
    }

    fn verify(
        &mut self,
        assertion: &Assertion,
        audiences: &[String],
        node: usize,
        now: Instant,
        unix_now: u64,
    ) -> Result<(), Unacceptable> {
        if self.authentication != ClientAuthentication::SecretJwt {
            return Err(Unacceptable("The client does not sign in by an assertion."));
        }
        if !self.secrets.held(node, now).iter().any(|held| assertion.is_signed_with(held)) {
            return Err(Unacceptable("The assertion is not signed with the client's secret."));
        }
        assertion.check(audiences, unix_now)?;
        self.used_assertions.retain(|_, expires| *expires > unix_now);
        match self.used_assertions.insert(assertion.id().to_owned(), assertion.expires()) {
            Some(_) => Err(Unacceptable("The assertion was used before.")),
            None => Ok(()),
        }
    }
}

pub(crate) struct State {
    nodes: usize,
    window: Duration,
    /// Lags and balancing draw from two sources, so that the lags of a seed do not depend on the load.
    lag_random: StdRng,
    balancing_random: StdRng,
    clients: BTreeMap<String, Registered>,
    /// What is done with the secrets of a client, where it has several at once.
    several: Option<Rules>,
    /// With which a client changes its registration, where it does that itself.
    pub(crate) registration_token: String,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("nodes", &self.nodes)
            .field("window", &self.window)
            .field("clients", &self.clients.keys())
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn new(nodes: usize, window: Duration, seed: u64) -> Self {
        let mut seeds = StdRng::seed_from_u64(seed);
        let lag_random = StdRng::from_rng(&mut seeds);
        let balancing_random = StdRng::from_rng(&mut seeds);
        Self {
            nodes,
            window,
            lag_random,
            balancing_random,
            clients: BTreeMap::new(),
            several: None,
            registration_token: String::new(),
        }
    }

    /// Clients have several secrets at once, if the vendor has rules for that.
    pub(crate) fn with_several_secrets(mut self, rules: Option<Rules>) -> Self {
        self.several = rules;
        self
    }

    pub(crate) fn register(&mut self, client: Client, now: Instant) {
        let secrets = match self.several {
            None => Secrets::One(Propagation::new(client.secret, self.nodes, now)),
            Some(rules) => {
                let most = if client.takes_personal_accounts { 2 } else { rules.most };
                let rules = Rules { most, ..rules };
                Secrets::Several(Several::new(rules, client.secret, self.nodes, now))
            }
        };
        let registered = Registered {
            id: client.id.clone(),
            name: client.name,
            application: client.application.unwrap_or_else(|| client.id.clone()),
            grants: client.grants,
            grant_types: client.grant_types,
            authentication: client.authentication,
            takes_personal_accounts: client.takes_personal_accounts,
            attributes: client.attributes,
            signature: client.signature,
            secrets,
            used_assertions: HashMap::new(),
        };
        self.clients.insert(client.id, registered);
    }

    /// The node that the balancer sends something to.
    pub(crate) fn pick_node(&mut self) -> usize {
        self.balancing_random.random_range(0..self.nodes)
    }

    pub(crate) fn client(&self, id: &str) -> Option<&Registered> {
        self.clients.get(id)
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = &Registered> {
        self.clients.values()
    }

    pub(crate) fn client_mut(&mut self, id: &str) -> Option<&mut Registered> {
        self.clients.get_mut(id)
    }

    /// The client that a management API calls by this.
    pub(crate) fn application(&self, application: &str) -> Option<&Registered> {
        self.clients.values().find(|client| client.application == application)
    }

    /// Does to one of several secrets of `id` what there is nothing against, `after` so long; the nodes follow.
    pub(crate) fn act(
        &mut self,
        id: &str,
        act: Act,
        origin: Origin,
        after: Duration,
        now: Instant,
    ) -> Result<(), Refusal> {
        let lags = lags(&mut self.lag_random, self.nodes, self.window);
        let client = self.clients.get_mut(id).map(|client| &mut client.secrets);
        let Some(Secrets::Several(secrets)) = client else { return Err(Refusal::NoSuchSecret) };
        if let Some(refusal) = secrets.refusal(&act, now) {
            return Err(refusal);
        }
        match after.is_zero() {
            true => secrets.apply(act, origin, &lags, now),
            false => secrets.later(act, after, lags, now),
        }
        Ok(())
    }

    /// [Authenticates](Self::authenticate) it, and notes which of its secrets it did so with.
    pub(crate) fn sign_in(
        &mut self,
        id: &str,
        secret: &str,
        node: usize,
        now: Instant,
    ) -> Option<&Registered> {
        self.authenticate(id, secret, node, now)?;
        let client = self.clients.get_mut(id)?;
        if let Secrets::Several(secrets) = &mut client.secrets {
            secrets.note_use(secret);
        }
        Some(client)
    }

    /// Lets what was late and is due happen.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        for client in self.clients.values_mut() {
            if let Secrets::Several(secrets) = &mut client.secrets {
                secrets.catch_up(now);
            }
        }
    }

    /// Changes the one secret of `id` once `after` has passed; the nodes follow. False: there is no such client, or it has
    /// several.
    pub(crate) fn change_secret(
        &mut self,
        id: &str,
        secret: &str,
        origin: Origin,
        after: Duration,
        now: Instant,
    ) -> bool {
        let client = self.clients.get_mut(id).map(|client| &mut client.secrets);
        let Some(Secrets::One(held)) = client else { return false };
        let lags = lags(&mut self.lag_random, self.nodes, self.window);
        held.change(secret.to_owned(), origin, now + after, &lags, now);
        true
    }

    /// The client, if it may show its secret and `secret` is the one that `node` holds for it.
    pub(crate) fn authenticate(
        &self,
        id: &str,
        secret: &str,
        node: usize,
        now: Instant,
    ) -> Option<&Registered> {
        self.clients.get(id).filter(|client| {
            client.authentication.sends_secret() && client.accepts(secret, node, now)
        })
    }

    /// The client that `assertion` comes from, if it is signed with the secret that `node` holds and all else about it
    /// is right at `unix_now`, in Unix seconds.
    pub(crate) fn authenticate_by_assertion(
        &mut self,
        assertion: &Assertion,
        audiences: &[String],
        node: usize,
        now: Instant,
        unix_now: u64,
    ) -> Result<&Registered, Unacceptable> {
        let client = self.clients.get_mut(assertion.client_id());
        let client = client.ok_or(Unacceptable("The client is not known."))?;
        client.verify(assertion, audiences, node, now, unix_now)?;
        Ok(client)
    }

    /// How many of the nodes accept `secret`, sent or as the key of an assertion.
    pub(crate) fn nodes_accepting(&self, id: &str, secret: &str, now: Instant) -> usize {
        let Some(client) = self.clients.get(id) else { return 0 };
        (0..self.nodes).filter(|node| client.accepts(secret, *node, now)).count()
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    /// How many different secrets the nodes accept between them.
    pub(crate) fn accepted_secrets(&self, id: &str, now: Instant) -> usize {
        let Some(client) = self.clients.get(id) else { return 0 };
        if !client.authentication.uses_secret() {
            return 0;
        }
        let mut held: Vec<&str> =
            (0..self.nodes).flat_map(|node| client.secrets.held(node, now)).collect();
        held.sort_unstable();
        held.dedup();
        held.len()
    }

    /// When every node holds the target, if nothing else is changed.
    pub(crate) fn settles_at(&self, id: &str) -> Option<Instant> {
        self.clients.get(id).and_then(|client| client.secrets.settles_at())
    }

    /// How many changes by `origin` have taken effect.
    pub(crate) fn changes(&self, origin: Origin, now: Instant) -> u64 {
        self.clients.values().map(|client| client.secrets.effective(origin, now)).sum()
    }
}

/// How a vendor that keeps several secrets names one: 20 characters that begin with `ocs`.
pub(crate) fn random_slot_id() -> String {
    let rest = rand::rng().sample_iter(Alphanumeric).take(17).map(char::from);
    "ocs".chars().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn state(nodes: usize, now: Instant) -> State {
        let mut state = State::new(nodes, WINDOW, 1);
        state.register(Client::new("billing", "old"), now);
        state
    }

    #[test]
    fn no_node_ever_accepts_two_secrets_and_none_is_without_one() {
        let start = Instant::now();
        let mut state = state(5, start);
        state.change_secret("billing", "new", Origin::Api, Duration::ZERO, start);
        let mut both_seen = false;
        for tenth in 0..=310_u32 {
            let now = start + tenth * Duration::from_millis(100);
            for node in 0..5 {
                let old = state.authenticate("billing", "old", node, now).is_some();
                let new = state.authenticate("billing", "new", node, now).is_some();
                assert!(old ^ new, "node {node} after {tenth} tenths of a second");
            }
            both_seen |= state.accepted_secrets("billing", now) == 2;
        }
        assert!(both_seen);
        let end = start + WINDOW;
        assert_eq!(state.nodes_accepting("billing", "new", end), 5);
        assert_eq!(state.accepted_secrets("billing", end), 1);
    }

    #[test]
    fn a_client_that_signs_assertions_is_not_let_in_by_a_secret() {
        let now = Instant::now();
        let mut state = State::new(1, WINDOW, 1);
        for (id, authentication, accepted) in [
            ("private", ClientAuthentication::PrivateKeyJwt, 0),
            ("public", ClientAuthentication::None, 0),
            // As the key of an assertion alone.
            ("secret", ClientAuthentication::SecretJwt, 1),
        ] {
            state.register(Client::new(id, "secret").authentication(authentication), now);
            assert!(state.authenticate(id, "secret", 0, now).is_none());
            assert_eq!(state.accepted_secrets(id, now), accepted);
            assert_eq!(state.nodes_accepting(id, "secret", now), accepted);
        }
    }

    #[test]
    fn the_lags_of_a_seed_do_not_depend_on_how_many_requests_came_in_between() {
        let start = Instant::now();
        let settles = |picks: usize| {
            let mut state = state(3, start);
            for _ in 0..picks {
                state.pick_node();
            }
            state.change_secret("billing", "new", Origin::Api, Duration::ZERO, start);
            state.settles_at("billing")
        };
        assert_eq!(settles(0), settles(17));
    }

    #[test]
    fn the_balancer_uses_every_node() {
        let mut state = state(4, Instant::now());
        let mut seen = [0_u32; 4];
        for _ in 0..400 {
            seen[state.pick_node()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let now = Instant::now();
        let mut state = State::new(1, WINDOW, 1);
        state.register(Client::new("billing", "a-very-secret-value"), now);
        let shown = format!("{state:?} {:?}", state.client("billing"));
        assert!(shown.contains("billing"), "{shown}");
        assert!(!shown.contains("a-very-secret-value"), "{shown}");
    }
}
