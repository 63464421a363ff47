//! Ory Hydra with rotated secrets: a client has its secret and up to five of before, all of which it takes.
//!
//! Sources: `client/handler.go` of ory/hydra since cdb582a8 (2026-07-16; in no release up to v26.2.0):
//! `rotateOAuth2ClientSecret` chooses 26 characters, pushes the secret of before in front of the rotated ones
//! and cuts these off after the fifth; `patchOAuth2Client` with another `client_secret` clears them. Nothing
//! shows how many there are, nor which secret is the client's own.
//!
//! So what the client has is found out by token requests with the secrets that are known. And what ends a
//! rotation is no `DELETE` of the rotated ones, which would take away the new secret if somebody, or a request
//! that came late, had made another one the client's own: it is the patch that makes the new secret the only
//! one, whatever was there before.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use keyswap_core::{Generator, Secret, SecretId};
use serde::Deserialize;
use tokio::time::Instant;

use super::super::http::{ask, leased_body, lost, send, unreachable, with_segments};
use super::super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Listed, Probe, Slot, SlotId,
};
use super::{Client, Hydra};

/// An error of the admin API.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// What the admin API says of a client that it does not know (`sqlcon.ErrNoRows`). Where there is no such
/// call, it is other words.
const NO_SUCH_CLIENT: &str = "Unable to locate the resource";

impl Hydra {
    /// Whether this version has the call, found out without a change: a client that there cannot be is asked
    /// to give up its rotated secrets, and only a version with the call looks for the client.
    pub(super) async fn has_rotated_secrets(&self) -> Result<bool, AuthorityError> {
        let nobody = Generator::default().generate().map_err(|error| {
            AuthorityError::new(AuthorityErrorKind::Unexpected, error.to_string())
        })?;
        let nobody = format!("keyswap-asks-for-nobody-{}", nobody.id());
        let url = with_segments(&self.admin, &["admin", "clients", &nobody, "secrets", "rotate"])?;
        let answer = ask(|| send(&self.turns, self.http.delete(url.clone()))).await;
        let answer = answer.map_err(|error| unreachable(&self.admin, &error))?;
        if let Some(error) = answer.as_transient() {
            return Err(error);
        }
        let refusal = answer.json::<Refusal>();
        Ok(answer.status == StatusCode::NOT_FOUND
            && refusal.is_some_and(|refusal| refusal.error == NO_SUCH_CLIENT))
    }

    pub(super) fn lacks_the_call(&self) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unsupported,
            format!(
                "the Hydra at {} has no call that keeps the old secret of a client beside a new one (POST \
                 /admin/clients/ID/secrets/rotate; no release up to v26.2.0 has it), and the configuration \
                 demands it: update Hydra, or leave `overlap` out, and the secret is changed in its one slot",
                self.host()
            ),
        )
    }

    /// Has Hydra choose a secret; the one of before stays in force.
    pub(super) async fn rotate(&self, id: &SecretId) -> AddAnswer {
        let url = match with_segments(&self.client_url, &["secrets", "rotate"]) {
            Ok(url) => url,
            Err(error) => return AddAnswer::Refused(error),
        };
        // The call has no body; that of no bytes is not given away once the lease is over.
        let request = self.http.post(url).body(leased_body(Bytes::new()));
        let answer = match send(&self.turns, request).await {
            Ok(answer) => answer,
            Err(error) => return AddAnswer::Unknown(lost(&error)),
        };
        let refused = || match answer.json::<Refusal>() {
            // An older version took the place of the one that the rotation began with.
            Some(refusal) if refusal.error == NO_SUCH_CLIENT => self.refused(&answer, "rotate"),
            _ if answer.status == StatusCode::NOT_FOUND => self.lacks_the_call(),
            _ => self.refused(&answer, "rotate"),
        };
        if let Some(change) = answer.as_change(refused) {
            return AddAnswer::without_a_secret(change);
        }
        let value = match answer.json::<Client>() {
            Some(Client { client_secret: Some(value), .. }) => value,
            _ => return AddAnswer::Unknown(format!("{} with something else", answer.said())),
        };
        match Secret::new(id.clone(), value.as_str()) {
            Ok(secret) => AddAnswer::Added(slot_of(id), secret),
            Err(_) => AddAnswer::Unknown("the answer holds no secret".to_owned()),
        }
    }

    /// Which of the known secrets Hydra takes. One that it refuses is there no more only when it was refused
    /// throughout the propagation window: not all nodes may know of it yet.
    pub(super) async fn taken(&self, known: &[Secret]) -> Listed {
        let end = Instant::now() + self.propagation_window;
        let pause = (self.propagation_window / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut taken = vec![false; known.len()];
        loop {
            let asked = Instant::now();
            for (secret, taken) in known.iter().zip(&mut taken).filter(|(_, taken)| !**taken) {
                match self.probe(secret).await {
                    Probe::Accepted => *taken = true,
                    Probe::Refused => {}
                    Probe::Inconclusive(reason) => return Listed::Unavailable(reason),
                }
            }
            if asked >= end || taken.iter().all(|taken| *taken) {
                let taken = known.iter().zip(taken).filter(|(_, taken)| *taken);
                let slot =
                    |id: &SecretId| Slot::new(slot_of(id)).holding(Some(id.clone())).active(true);
                return Listed::Slots(taken.map(|(secret, _)| slot(secret.id())).collect());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Hydra has no name for a secret: it goes by the id that keyswap knows it by.
fn slot_of(id: &SecretId) -> SlotId {
    SlotId::new(id.as_str())
}
