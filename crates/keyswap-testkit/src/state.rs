//! The clients of the server and its nodes, apart from any vendor's way to show them.
//!
//! Time comes in as an argument; see `propagation` for how a change of a secret spreads.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::assertion::{Assertion, Unacceptable};
use crate::client::{Client, ClientAuthentication, Grant};
use crate::propagation::{Origin, Propagation, lags};

/// A registered client.
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) grants: Vec<Grant>,
    pub(crate) grant_types: Vec<String>,
    pub(crate) authentication: ClientAuthentication,
    /// What a management API lets its callers keep with the client, and the server itself never looks at.
    pub(crate) attributes: Map<String, Value>,
    secret: Propagation,
    /// The ids of assertions that it signed in with, and when each of them expires, in Unix seconds.
    used_assertions: HashMap<String, u64>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Registered {
    /// What the management plane shows.
    pub(crate) fn target(&self, now: Instant) -> &str {
        self.secret.target(now)
    }

    fn accepts(&self, secret: &str, node: usize, now: Instant) -> bool {
        let held = self.secret.held(node, now).as_bytes();
        self.authentication.uses_secret() && bool::from(held.ct_eq(secret.as_bytes()))
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
        if !assertion.is_signed_with(self.secret.held(node, now)) {
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
        Self { nodes, window, lag_random, balancing_random, clients: BTreeMap::new() }
    }

    pub(crate) fn register(&mut self, client: Client, now: Instant) {
        let secret = Propagation::new(&client.secret, self.nodes, now);
        let registered = Registered {
            id: client.id.clone(),
            name: client.name,
            grants: client.grants,
            grant_types: client.grant_types,
            authentication: client.authentication,
            attributes: Map::new(),
            secret,
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

    pub(crate) fn client_mut(&mut self, id: &str) -> Option<&mut Registered> {
        self.clients.get_mut(id)
    }

    /// Changes the secret of `id` once `after` has passed; the nodes follow. False: there is no such client.
    pub(crate) fn change_secret(
        &mut self,
        id: &str,
        secret: &str,
        origin: Origin,
        after: Duration,
        now: Instant,
    ) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let lags = lags(&mut self.lag_random, self.nodes, self.window);
        client.secret.change(secret, origin, now + after, &lags, now);
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
            (0..self.nodes).map(|node| client.secret.held(node, now)).collect();
        held.sort_unstable();
        held.dedup();
        held.len()
    }

    /// When every node holds the target, if nothing else is changed.
    pub(crate) fn settles_at(&self, id: &str) -> Option<Instant> {
        self.clients.get(id).map(|client| client.secret.settles_at())
    }

    /// How many changes by `origin` have taken effect.
    pub(crate) fn changes(&self, origin: Origin, now: Instant) -> u64 {
        self.clients.values().map(|client| client.secret.effective(origin, now)).sum()
    }
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
