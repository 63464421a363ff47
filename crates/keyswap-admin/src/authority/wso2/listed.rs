//! What WSO2 shows of an application and of its secrets.

use aws_lc_rs::digest::{SHA256, digest};
use keyswap_core::{Secret, SecretId};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::{Slot, SlotId};
use crate::rotation::Timestamp;

/// How WSO2 names the first secret of an application that was made by an earlier version, until another one is added;
/// then it has another name. As nothing is known of when it was made, before and after, it keeps this name here
/// (`OAuthConstants.DEFAULT_SECRET_ID`; `migrateConsumerSecretToSecretsTable`).
pub(super) const FIRST_SECRET: &str = "25399749-8916-4625-b39d-c53ccf51666b";
/// 2200-01-01, in Unix seconds. WSO2 keeps no text with a secret, but a time at which it ends; those that keyswap
/// adds end in the years from there on, and the second tells which one it is.
const MARKS_BEGIN: u64 = 7_258_118_400;
/// 34 years of seconds.
const MARKS: u64 = 1 << 30;

/// The second at which the secret of this id ends, by which it is known also if nobody heard the answer to the request
/// for it.
pub(super) fn mark(id: &SecretId) -> u64 {
    let digest = digest(&SHA256, id.as_str().as_bytes());
    let number =
        digest.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    MARKS_BEGIN + number % MARKS
}

/// One of the secrets, with its value where the server keeps that: no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    secret_id: SlotId,
    secret_value: Option<Zeroizing<String>>,
    #[serde(default)]
    expires_at: u64,
    created_at: Option<u64>,
    status: String,
}

/// All of them, the one that was added last first.
#[derive(Deserialize)]
pub(super) struct Secrets {
    list: Vec<Shown>,
}

/// How a server that keeps no values shows a secret (`HashingPersistenceProcessor`).
#[derive(Deserialize)]
struct Hashed {
    algorithm: String,
    hash: String,
}

impl Shown {
    /// The name by which it is known here.
    pub(super) fn slot(&self) -> SlotId {
        match self.created_at {
            Some(_) => self.secret_id.clone(),
            None => SlotId::new(FIRST_SECRET),
        }
    }

    fn hashed(&self) -> Option<Hashed> {
        serde_json::from_str(self.secret_value.as_ref()?).ok()
    }

    /// The value, if the server shows it.
    pub(super) fn value(&self) -> Option<&str> {
        let value = self.secret_value.as_ref().filter(|value| !value.is_empty());
        value.filter(|_| self.hashed().is_none()).map(|value| value.as_str())
    }

    fn is(&self, secret: &Secret) -> bool {
        match self.hashed() {
            Some(Hashed { algorithm, hash }) => {
                let own = digest(&SHA256, secret.expose().as_bytes());
                let own: String = own.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                algorithm.eq_ignore_ascii_case("SHA-256") && hash.eq_ignore_ascii_case(&own)
            }
            None => self.value().is_some_and(|value| secret.matches(value)),
        }
    }

    fn as_slot(&self, known: &[Secret]) -> Slot {
        let holds = known.iter().find(|secret| self.is(secret));
        let ends = self.expires_at;
        // No person means a time in so many years.
        let ends = (1..MARKS_BEGIN).contains(&ends).then_some(ends);
        Slot::new(self.slot())
            .active(self.status == "ACTIVE")
            .holding(holds.map(|secret| secret.id().clone()))
            .expiring(ends.map(|seconds| Timestamp::from_milliseconds(seconds * 1000)))
    }
}

impl Secrets {
    pub(super) fn slots(&self, known: &[Secret]) -> Vec<Slot> {
        self.list.iter().map(|shown| shown.as_slot(known)).collect()
    }

    /// The one that was added for this id.
    pub(super) fn marked(&self, id: &SecretId) -> Option<&Shown> {
        let mark = mark(id);
        self.list.iter().find(|shown| shown.expires_at == mark)
    }

    /// How the server itself names one of them now.
    pub(super) fn named(&self, slot: &SlotId) -> Option<&SlotId> {
        self.list.iter().find(|shown| shown.slot() == *slot).map(|shown| &shown.secret_id)
    }

    /// Whether the values of any of them are kept as hashes alone.
    pub(super) fn are_hashed(&self) -> bool {
        self.list.iter().any(|shown| shown.value().is_none())
    }
}

/// The parts of an application's OAuth protocol that matter here. The secret is in it as well, and is not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Application {
    pub(super) client_id: String,
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) public_client: bool,
    #[serde(default)]
    client_authentication: Option<Authentication>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authentication {
    token_endpoint_auth_method: Option<String>,
}

impl Application {
    /// The method that it is set to, if it is.
    pub(super) fn method(&self) -> Option<&str> {
        let method = self.client_authentication.as_ref()?.token_endpoint_auth_method.as_deref()?;
        Some(method).filter(|method| !method.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SecretId {
        text.parse().unwrap()
    }

    fn secrets(list: &str) -> Secrets {
        serde_json::from_str(&format!(r#"{{"count":9,"list":{list}}}"#)).unwrap()
    }

    #[test]
    fn a_mark_is_the_same_at_any_time_and_another_one_for_another_id() {
        assert_eq!(mark(&id("s-1")), mark(&id("s-1")));
        assert_ne!(mark(&id("s-1")), mark(&id("s-2")));
        for one in ["s-1", "s-2", "s-3", "s-4"] {
            assert!((MARKS_BEGIN..MARKS_BEGIN + MARKS).contains(&mark(&id(one))), "{one}");
        }
    }

    #[test]
    fn a_secret_is_told_by_its_value_or_by_the_hash_of_it() {
        // SHA-256 of "abc", FIPS 180-2.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hashed = format!(r#"{{\"algorithm\":\"SHA-256\",\"hash\":\"{hash}\"}}"#);
        let list = format!(
            r#"[{{"secretId":"a","secretValue":"plain","expiresAt":0,"createdAt":2,"status":"ACTIVE","latest":true}},
                {{"secretId":"b","secretValue":"{hashed}","expiresAt":1900000000,"createdAt":1,"status":"ACTIVE"}},
                {{"secretId":"c","secretValue":"other","expiresAt":7258118401,"status":"EXPIRED"}}]"#
        );
        let secret = |id: &str, value: &str| Secret::new(id.parse().unwrap(), value).unwrap();
        let known = [secret("s-1", "plain"), secret("s-2", "abc"), secret("s-3", "unknown")];
        let secrets = secrets(&list);
        let found = secrets.slots(&known);
        let holds: Vec<_> = found.iter().map(|slot| slot.holds.clone()).collect();
        assert_eq!(holds, [Some(id("s-1")), Some(id("s-2")), None]);
        let active: Vec<_> = found.iter().map(|slot| slot.active).collect();
        assert_eq!(active, [true, true, false]);
        let ends: Vec<_> = found.iter().map(|slot| slot.expires.map(|at| at.to_string())).collect();
        assert_eq!(ends, [None, Some("2030-03-17T17:46:40Z".to_owned()), None]);
        assert!(secrets.are_hashed());
    }

    #[test]
    fn the_first_one_of_an_earlier_version_keeps_its_name_when_the_server_gives_it_another() {
        let first = SlotId::new(FIRST_SECRET);
        for given in [FIRST_SECRET, "another"] {
            let list = format!(
                r#"[{{"secretId":"{given}","secretValue":"v","expiresAt":0,"status":"ACTIVE","createdAt":null}}]"#
            );
            let secrets = secrets(&list);
            assert_eq!(secrets.slots(&[])[0].id, first);
            assert_eq!(secrets.named(&first), Some(&SlotId::new(given)));
            assert!(!secrets.are_hashed());
        }
    }

    #[test]
    fn the_one_that_was_added_for_an_id_is_found_by_when_it_ends() {
        let mark = mark(&id("s-1"));
        let list = format!(
            r#"[{{"secretId":"a","expiresAt":{mark},"createdAt":2,"status":"ACTIVE","latest":true}},
                {{"secretId":"b","expiresAt":0,"createdAt":1,"status":"ACTIVE"}}]"#
        );
        let secrets = secrets(&list);
        assert_eq!(secrets.marked(&id("s-1")).unwrap().slot(), SlotId::new("a"));
        assert!(secrets.marked(&id("s-2")).is_none());
        assert!(secrets.marked(&id("s-1")).unwrap().value().is_none());
    }
}
