//! What every request and the handle share.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use subtle::ConstantTimeEq;

use crate::auth0::log::Log;
use crate::client::Resource;
use crate::counts::{Counters, Counts};
use crate::exchange::Exchanges;
use crate::fault::Faults;
use crate::limit::{Admission, Limit};
use crate::propagation::Origin;
use crate::provider::{ApiToken, Provider};
use crate::state::State;
use crate::tokens::Issuer;

#[derive(Debug)]
pub(crate) struct Core {
    /// Held for the time of one decision and never over an await.
    state: Mutex<State>,
    pub(crate) address: SocketAddr,
    pub(crate) token_lifetime: Duration,
    pub(crate) provider: Provider,
    /// When secrets end that clients read of themselves, in Unix seconds; 0: never.
    pub(crate) secrets_expire_at: u64,
    /// Tokens of the management API that were registered, at a vendor that has such.
    api_tokens: Vec<ApiToken>,
    pub(crate) issuer: Issuer,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    /// Where somebody wants to look at them.
    pub(crate) exchanges: Option<Exchanges>,
    /// Of Auth0.
    pub(crate) log: Log,
    management_limit: Mutex<Limit>,
}

impl Core {
    pub(crate) fn new(
        state: State,
        address: SocketAddr,
        token_lifetime: Duration,
        limit: Limit,
        (provider, api_tokens, secrets_expire_at): (Provider, Vec<ApiToken>, u64),
    ) -> Self {
        Self {
            state: Mutex::new(state),
            address,
            token_lifetime,
            provider,
            secrets_expire_at,
            api_tokens,
            issuer: Issuer::new(),
            faults: Faults::default(),
            counters: Counters::default(),
            exchanges: None,
            log: Log::default(),
            management_limit: Mutex::new(limit),
        }
    }

    /// Keeps what comes in and goes out, if so.
    pub(crate) fn recording(mut self, records: bool) -> Self {
        self.exchanges = records.then(Exchanges::default);
        self
    }

    pub(crate) fn with_state<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that time never runs backwards from one holder to the next.
        let now = Instant::now();
        state.catch_up(now);
        act(&mut state, now)
    }

    /// The API token with this value, if there is one.
    pub(crate) fn api_token(&self, given: &[u8]) -> Option<&ApiToken> {
        self.api_tokens.iter().find(|token| bool::from(token.token.as_bytes().ct_eq(given)))
    }

    /// All of them, at a vendor whose requests do not carry the token itself.
    pub(crate) fn api_tokens(&self) -> &[ApiToken] {
        &self.api_tokens
    }

    /// A request to the management API comes.
    pub(crate) fn management_request(&self) -> Option<Admission> {
        let mut limit = self.management_limit.lock().unwrap_or_else(PoisonError::into_inner);
        limit.arrive(Instant::now())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn token_endpoint(&self) -> String {
        format!("{}{}", self.url(), self.provider.token_path())
    }

    pub(crate) fn management_audience(&self) -> String {
        format!("{}/api/v2/", self.url())
    }

    /// Whom an assertion at the token endpoint may be meant for (OpenID Connect Core section 9; RFC 7523 section 3).
    pub(crate) fn assertion_audiences(&self) -> [String; 3] {
        let url = self.url();
        [self.token_endpoint(), format!("{url}/"), url]
    }

    /// What an audience stands for.
    ///
    /// Auth0's SDKs ask for `https://` whatever the address that they were given, and people type `localhost`: both
    /// mean the management API of this server too. Its last slash counts, as it does at Auth0.
    pub(crate) fn resource(&self, audience: &str) -> Resource {
        let rest = audience.strip_prefix("https://").or_else(|| audience.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.strip_suffix("/api/v2/"));
        let ours = host.is_some_and(|host| {
            host == self.address.to_string() || host == format!("localhost:{}", self.address.port())
        });
        if ours { Resource::Management } else { Resource::Audience(audience.to_owned()) }
    }

    pub(crate) fn counts(&self) -> Counts {
        let (changes, foreign_changes) = self.with_state(|state, now| {
            (state.changes(Origin::Api, now), state.changes(Origin::Foreign, now))
        });
        Counts {
            token_accepted: self.counters.token_accepted.read(),
            token_refused: self.counters.token_refused.read(),
            token_failed: self.counters.token_failed.read(),
            changes,
            foreign_changes,
            management_requests: self.counters.management_requests.read(),
            management_writes: self.counters.management_writes.read(),
            faults: self.faults.happened().iter().map(|(_, times)| times).sum(),
            most_management_requests_in_a_second: self
                .management_limit
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .most(),
        }
    }
}

/// Unix seconds, rounded down.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
