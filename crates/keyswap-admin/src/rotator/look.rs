//! Whether a rotation would begin, and what it would meet, found out without changing anything.
//!
//! What keeps a rotation from beginning is decided in [`begin`](super::begin) alone, which is asked here check by
//! check, so that the two never disagree.

use keyswap_core::{Secret, SecretDocument};
use keyswap_store::SecretStore;

use super::begin::{Grounds, check_declared, check_in_flight, check_over};
use super::{Rotator, Status, journal, verify_history};
use crate::authority::{Authority, AuthorityErrorKind, Capabilities};
use crate::error::{RotateError, RotateErrorKind};
use crate::finding::{Finding, Findings, Subject};
use crate::rotation::{Record, RotationPolicy, Slots, Timestamp};

/// Everything that a look has seen.
pub(super) struct Look {
    pub(super) findings: Findings,
    /// Where nothing of them is missing, with the secret that the server holds in place of the published one.
    pub(super) grounds: Option<(Grounds, Option<Secret>)>,
    pub(super) status: Option<Status>,
}

impl<A: Authority, S: SecretStore> Rotator<A, S> {
    /// Looks whether a rotation with this policy would begin, and what it would meet: the store, the server, the
    /// secret, who uses it. It takes no lease, registers nobody and changes nothing, neither in the store nor at
    /// the server; it asks for tokens.
    ///
    /// An [error](crate::Level::Error) is what [`run`](Self::run) would end with before it changes anything, or
    /// that programs cannot sign in. That requests fail on the way, where that [cannot be
    /// avoided](Self::accept_gap), is a warning.
    pub async fn verify(&self, policy: &RotationPolicy) -> Findings {
        self.look(policy).await.findings
    }

    /// What [`verify`](Self::verify) finds, and the grounds on which a rotation would begin.
    pub(super) async fn look(&self, policy: &RotationPolicy) -> Look {
        let mut findings = Findings::default();
        let (document, earlier) = self.look_at_store(policy, &mut findings).await;
        let is_fit = self.look_at_server(&mut findings).await;
        let capabilities = self.authority.capabilities();
        let mut grounds = None;
        match document.filter(|_| is_fit) {
            Some(document) => {
                let of = (document.list.preferred(), earlier.as_ref());
                let found = self.look_at_secret(of, &capabilities, &mut findings).await;
                grounds = found.map(|(returned, slots)| {
                    let is_returned = returned.is_some();
                    (Grounds { document, earlier, capabilities, is_returned, slots }, returned)
                });
            }
            None => {
                findings.not_looked_at.push(Subject::Secret);
                if capabilities.slots > 1 {
                    findings.not_looked_at.push(Subject::Slots);
                }
            }
        }
        let status = self.look_at_programs(policy, &mut findings).await;
        Look { findings, grounds, status }
    }

    /// Gives the published list, unless a rotation is under way, and the journal.
    async fn look_at_store(
        &self,
        policy: &RotationPolicy,
        findings: &mut Findings,
    ) -> (Option<SecretDocument>, Option<Record>) {
        let now = Timestamp::now();
        let client = self.store.client();
        findings.take(Subject::Configuration, check_declared(client, policy));
        let held = findings.take(Subject::Rotation, self.check_hold(now).await).is_none();
        let read = journal(&self.store).await;
        let subject = match &read {
            Err(error) if matches!(error.kind(), RotateErrorKind::NotBegun) => Subject::Store,
            _ => Subject::Rotation,
        };
        let read = findings.take(subject, read);
        let Some(earlier) = read else { return (None, None) };
        if let Some(entries) = findings.take(Subject::History, verify_history(&self.store).await) {
            let text = format!("its {} records are as they were written", entries.len());
            findings.add(Finding::ok(Subject::History, text));
        }
        if let Some(record) = &earlier
            && findings.take(Subject::Rotation, check_over(record)).is_none()
        {
            return (None, earlier);
        }
        if !held {
            let text = "none is under way, and nobody holds them back";
            findings.add(Finding::ok(Subject::Rotation, text));
        }
        let document = findings.take(Subject::Store, self.published_alone().await);
        if let Some(document) = &document {
            let place = self.store.describe();
            let (revision, list) = (document.revision, &document.list);
            let text = format!("{place} can be read, and holds revision {revision}: {list:?}");
            findings.add(Finding::ok(Subject::Store, text));
        }
        (document, earlier)
    }

    /// Whether the secret can be looked at there.
    async fn look_at_server(&self, findings: &mut Findings) -> bool {
        let checked = self.check_server().await.map(drop);
        let is_fit = told_of_server(&self.authority, checked, findings).await;
        let capabilities = &self.authority.capabilities();
        match self.check_gap(capabilities) {
            Err(error) if matches!(error.kind(), RotateErrorKind::GapNotAccepted) => {
                findings.add(Finding::unaccepted(Subject::Rotation, &error));
            }
            outcome => {
                findings.take(Subject::Rotation, outcome);
            }
        }
        if findings.take(Subject::Value, self.new_secret(capabilities)).is_some() {
            let text = match capabilities.chosen_by_caller {
                true => format!(
                    "keyswap chooses the value of a new secret, as {capabilities} takes it: {}",
                    capabilities.value
                ),
                false => format!("{capabilities} chooses the value of a new secret"),
            };
            findings.add(Finding::ok(Subject::Value, text));
        }
        is_fit
    }

    /// Whether the server takes what is published, and has room for another.
    async fn look_at_secret(
        &self,
        (old, earlier): (&Secret, Option<&Record>),
        capabilities: &Capabilities,
        findings: &mut Findings,
    ) -> Option<(Option<Secret>, Option<Slots>)> {
        let checked = self.check_secret(old, earlier, capabilities).await;
        let Some(returned) = findings.take(Subject::Secret, checked) else {
            if capabilities.slots > 1 {
                findings.not_looked_at.push(Subject::Slots);
            }
            return None;
        };
        match &returned {
            Some(returned) => {
                findings.add(Finding::returned(self.store.client(), returned.id(), old.id()));
            }
            None => {
                let text = format!("{capabilities} accepts the published secret {}", old.id());
                findings.add(Finding::ok(Subject::Secret, text));
                if let Some(earlier) = earlier {
                    let now = Timestamp::now();
                    findings.take(Subject::Rotation, check_in_flight(earlier, now));
                }
            }
        }
        if capabilities.slots <= 1 {
            return Some((returned, None));
        }
        let found = self.find_slot(old, earlier, capabilities).await;
        let slots = findings.take(Subject::Slots, found)?;
        let text = taken(&slots, capabilities.slots);
        findings.add(Finding::ok(Subject::Slots, text));
        Some((returned, Some(slots)))
    }

    /// For whom a rotation would wait.
    async fn look_at_programs(
        &self,
        policy: &RotationPolicy,
        findings: &mut Findings,
    ) -> Option<Status> {
        // What cannot be read is told already.
        let Ok(status) = Status::read(&self.store).await else {
            findings.not_looked_at.push(Subject::Applications);
            return None;
        };
        let missing = status.not_ready(&policy.applications);
        for one in &missing {
            let text = format!("a rotation waits as long as this is so: {one}");
            findings.add(Finding::warning(Subject::Applications, text));
        }
        if missing.is_empty() {
            let live = status.instances.iter().filter(|instance| instance.live).count();
            let text = format!(
                "as many instances report as are declared, or more ({live}), and each holds the published list"
            );
            findings.add(Finding::ok(Subject::Applications, text));
        }
        Some(status)
    }
}

/// Looks at a server as [`Rotator::verify`] does, where the store cannot be opened: without the secret and the
/// programs.
pub async fn verify_server<A: Authority>(authority: &A) -> Findings {
    let mut findings = Findings::default();
    let checked = authority.check().await.map_err(|error| {
        let doing = format!("checking the client at {}", authority.capabilities());
        RotateError::authority(&doing, error)
    });
    told_of_server(authority, checked, &mut findings).await;
    findings.not_looked_at.extend([Subject::Secret, Subject::Applications]);
    findings
}

/// Which places are taken.
fn taken(slots: &Slots, most: u32) -> String {
    let others = slots.before.iter().filter(|slot| **slot != slots.old);
    let others: Vec<_> = others.map(ToString::to_string).collect();
    let beside = match others.is_empty() {
        true => String::new(),
        false => format!(" beside {}", others.join(", ")),
    };
    format!(
        "{} of {most} are taken: {} holds the published secret{beside}; there is room for a new one",
        slots.before.len(),
        slots.old
    )
}

/// What the check of a server came to, and what else that says. Whether the client can be rotated.
async fn told_of_server<A: Authority>(
    authority: &A,
    checked: Result<(), RotateError>,
    findings: &mut Findings,
) -> bool {
    let name = authority.capabilities().name;
    let Err(error) = checked else {
        findings.add(Finding::ok(
            Subject::Server,
            format!("{name} answers, and takes the management credentials"),
        ));
        findings.add(Finding::ok(
            Subject::Client,
            "it is there, and authenticates with a secret, in the way that is configured",
        ));
        let remarks = authority.remarks().into_iter();
        findings.found.extend(remarks.map(|remark| Finding::warning(Subject::Client, remark)));
        findings.found.extend(authority.look().await);
        return true;
    };
    let kind = match error.kind() {
        RotateErrorKind::Authority(error) => Some(error.kind()),
        _ => None,
    };
    let subject = match kind {
        Some(AuthorityErrorKind::Credentials) => Subject::Credentials,
        Some(AuthorityErrorKind::Permissions) => Subject::Permissions,
        Some(
            AuthorityErrorKind::NoSuchClient
            | AuthorityErrorKind::UnsupportedClient
            | AuthorityErrorKind::Configuration,
        ) => Subject::Client,
        _ => Subject::Server,
    };
    findings.add(Finding::error(subject, &error));
    let answers = match subject {
        Subject::Client if kind != Some(AuthorityErrorKind::Configuration) => {
            format!("{name} answers, and takes the management credentials")
        }
        Subject::Permissions => format!("{name} answers, and takes the management credentials"),
        Subject::Credentials => format!("{name} answers"),
        _ => return false,
    };
    findings.add(Finding::ok(Subject::Server, answers));
    false
}
