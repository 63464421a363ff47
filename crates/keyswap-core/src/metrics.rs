//! What a ring does, for the facade [`metrics`], so that whatever a program exports its metrics with exports
//! these too. With the feature `metrics`.
//!
//! | name | kind | labels | |
//! | --- | --- | --- | --- |
//! | [`ATTEMPTS`] | counter | `client_id`, `secret_id`, `verdict` | attempts that came to an end, by what the answer said of the secret: `accepted`, `refused`, `inconclusive` |
//! | [`PROMOTIONS`] | counter | `client_id` | how often a fallback became the preferred secret because the server accepts it more often |
//! | [`REVISION`] | gauge | `client_id` | the revision of the list in use |
//! | [`SECRETS`] | gauge | `client_id` | how many secrets the list in use holds; more than one while a rotation is under way |
//! | [`PREFERRED`] | gauge | `client_id`, `secret_id` | 1 for the secret that is tried first, 0 for the others, and for those that are off the list |
//! | [`PREFERRED_AGE`] | gauge | `client_id` | for how many seconds this program has tried that secret first: at least as old it is |
//!
//! The labels hold ids, which are no secrets.
//!
//! The ring counts all this for its reports anyway. [`RingMetrics::record`] hands the numbers on when it is called, so that a
//! request costs the same with this feature as without it.

use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::{SecretId, SecretRing};

/// Attempts, by secret and verdict.
pub const ATTEMPTS: &str = "keyswap_attempts_total";
/// Fallbacks that became the preferred secret.
pub const PROMOTIONS: &str = "keyswap_promotions_total";
/// The revision of the list in use.
pub const REVISION: &str = "keyswap_revision";
/// The length of the list in use.
pub const SECRETS: &str = "keyswap_secrets";
/// Which secret is tried first.
pub const PREFERRED: &str = "keyswap_secret_preferred";
/// For how long it has been.
pub const PREFERRED_AGE: &str = "keyswap_preferred_secret_age_seconds";

/// Hands the numbers of one ring to the recorder of the facade.
///
/// Call [`record`](Self::record) before each scrape, or every few seconds (`keyswap_tower::metrics::record_every`).
///
/// ```
/// use std::time::Instant;
/// use keyswap_core::metrics::RingMetrics;
/// use keyswap_core::{Secret, SecretList, SecretRing};
///
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// let mut metrics = RingMetrics::new(ring, "billing");
/// metrics.record(Instant::now());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RingMetrics {
    ring: SecretRing,
    client: String,
    preferred: SecretId,
    since: Instant,
    /// Those of the last time.
    listed: Vec<SecretId>,
}

impl RingMetrics {
    /// The numbers of the ring of this client.
    #[must_use]
    pub fn new(ring: SecretRing, client_id: impl Into<String>) -> Self {
        Self::starting(ring, client_id, Instant::now())
    }

    /// As [`new`](Self::new), at a given time.
    #[must_use]
    pub fn starting(ring: SecretRing, client_id: impl Into<String>, now: Instant) -> Self {
        let preferred = ring.snapshot().list().preferred().id().clone();
        Self { ring, client: client_id.into(), preferred, since: now, listed: Vec::new() }
    }

    /// The ring whose numbers they are.
    #[must_use]
    pub fn ring(&self) -> &SecretRing {
        &self.ring
    }

    /// Says in words and units what the numbers are, to the recorder of the facade. Once is enough.
    pub fn describe() {
        describe_counter!(
            ATTEMPTS,
            Unit::Count,
            "Attempts to sign in that came to an end, by secret and verdict."
        );
        describe_counter!(
            PROMOTIONS,
            Unit::Count,
            "Fallbacks that became the preferred secret because the server accepts them more often."
        );
        describe_gauge!(REVISION, Unit::Count, "The revision of the list of secrets in use.");
        describe_gauge!(
            SECRETS,
            Unit::Count,
            "Secrets in the list in use: more than one during a rotation."
        );
        describe_gauge!(
            PREFERRED,
            Unit::Count,
            "1 for the secret that is tried first, 0 for others."
        );
        describe_gauge!(
            PREFERRED_AGE,
            Unit::Seconds,
            "For how long this program has tried the same secret first: at least as old it is."
        );
    }

    /// Hands them on as they are at `now`.
    pub fn record(&mut self, now: Instant) {
        let usage = self.ring.usage();
        let client = || self.client.clone();
        for secret in &usage.secrets {
            let id = || secret.id.to_string();
            let counts = [
                ("accepted", secret.accepted),
                ("refused", secret.refused),
                ("inconclusive", secret.inconclusive),
            ];
            for (verdict, count) in counts {
                counter!(ATTEMPTS, "client_id" => client(), "secret_id" => id(), "verdict" => verdict)
                    .absolute(count);
            }
        }
        counter!(PROMOTIONS, "client_id" => client()).absolute(usage.promotions);
        gauge!(REVISION, "client_id" => client()).set(usage.revision.number() as f64);
        gauge!(SECRETS, "client_id" => client()).set(usage.secrets.len() as f64);
        let listed: Vec<_> = usage.secrets.into_iter().map(|secret| secret.id).collect();
        let gone = self.listed.iter().filter(|id| !listed.contains(id));
        let first = listed.first();
        for id in listed.iter().chain(gone) {
            let preferred = if Some(id) == first { 1.0 } else { 0.0 };
            gauge!(PREFERRED, "client_id" => client(), "secret_id" => id.to_string())
                .set(preferred);
        }
        if let Some(first) = first.filter(|first| **first != self.preferred) {
            self.preferred = first.clone();
            self.since = now;
        }
        let age = now.saturating_duration_since(self.since).as_secs_f64();
        gauge!(PREFERRED_AGE, "client_id" => client()).set(age);
        self.listed = listed;
    }
}
