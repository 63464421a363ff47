//! What a rotation would do, found out without doing it, and whether that is still so when it begins.

use keyswap_core::Secret;
use keyswap_store::{Instance, SecretStore};

use super::begin::Grounds;
use super::look::Look;
use super::{Rotator, Status};
use crate::authority::described::{NEW_ID, NEW_VALUE, OLD_VALUE};
use crate::authority::{Asked, Authority, NewSecret, Request};
use crate::error::{RotateError, RotateErrorKind};
use crate::planned::{Declared, Exposure, Fingerprint, Ground, Outline, Planned, PlannedStep};
use crate::progress::meaning;
use crate::rotation::{Act, Course, Plan, Record, RotationPolicy, StuckReason, Timestamp};

impl<A: Authority, S: SecretStore> Rotator<A, S> {
    /// Says what a rotation with this policy would do, and on what that rests. It looks as
    /// [`verify`](Self::verify) does, and finds the same; it takes no lease and changes nothing. The requests are
    /// those that the server would get, in which the secrets have no values.
    ///
    /// Where a rotation would not begin there is no [outline](Planned::outline). That requests fail on the way,
    /// where that [cannot be avoided](Self::accept_gap), is taken as accepted for it.
    pub async fn plan(&self, policy: &RotationPolicy) -> Planned {
        let Look { findings, grounds, status } = self.look(policy).await;
        let applications = status.as_ref().map_or_else(Vec::new, |status| declared(policy, status));
        // A rotation leads out of that, so it begins.
        let is_led_out = |kind: &RotateErrorKind| {
            matches!(kind, RotateErrorKind::Stuck(StuckReason::RetiredSecretReturned))
        };
        let begins = findings.errors().all(|one| one.error_kind().is_some_and(is_led_out));
        let outline = match (grounds.filter(|_| begins), status) {
            (Some((grounds, returned)), Some(status)) => {
                self.outline(policy, (&grounds, returned.as_ref()), &status).await
            }
            _ => None,
        };
        Planned { findings, applications, outline }
    }

    async fn outline(
        &self,
        policy: &RotationPolicy,
        (grounds, returned): (&Grounds, Option<&Secret>),
        status: &Status,
    ) -> Option<Outline> {
        let new = match (returned, grounds.capabilities.chosen_by_caller) {
            (Some(returned), _) => {
                NewSecret::Known(without_value(returned.id().as_str(), NEW_VALUE)?)
            }
            (None, true) => NewSecret::Known(without_value(NEW_ID, NEW_VALUE)?),
            (None, false) => NewSecret::Awaited(NEW_ID.parse().ok()?),
        };
        let old = without_value(grounds.document.list.preferred().id().as_str(), OLD_VALUE)?;
        let reason = self.accepts_gap.clone();
        let reason = reason.or_else(|| grounds.capabilities.has_gap().then(String::new));
        let now = Timestamp::now();
        let record = self.first_record(policy.clone(), (old, new), (grounds, reason), now);
        let course = Course::of(&record, grounds.capabilities.read_back);
        let steps = self.planned_steps(&record, &course).await;
        let patience = self.patience_with(&record.policy);
        let fingerprint = self.fingerprint(&record, grounds, (&steps, &status.instances));
        let mut exposures = Vec::new();
        if matches!(record.plan, Plan::Regenerate(_)) {
            exposures.push(Exposure::Gap);
        }
        if record.hurries() {
            exposures.extend(self.compromised.map(Exposure::Deadline));
        }
        let removal = record.removal().filter(|removal| removal.was_active);
        exposures.extend(removal.map(|removal| Exposure::Removal(removal.slot.to_string())));
        let manual = policy.applications.iter().filter(|one| one.manual);
        exposures.extend(manual.map(|one| Exposure::Manual(one.name.clone())));
        let long = course.steps.iter().filter(|step| step.lasts > patience);
        exposures.extend(long.map(|step| Exposure::Patience(step.state, step.lasts)));
        let at_most = match course.deadline {
            Some(deadline) => Some(deadline),
            None if course.steps.iter().any(|step| step.waits_for_a_person()) => None,
            None => Some(
                (course.steps.iter())
                    .map(|step| match step.waits_for_programs() {
                        true => step.lasts.max(patience),
                        false => step.lasts,
                    })
                    .sum(),
            ),
        };
        Some(Outline {
            fingerprint,
            old: record.old.id().clone(),
            revision: record.revision,
            missing: status.not_ready(&policy.applications),
            policy: record.policy,
            steps,
            stops: course.stops,
            at_least: course.at_least,
            at_most,
            patience,
            exposures,
        })
    }

    async fn planned_steps(&self, record: &Record, course: &Course) -> Vec<PlannedStep> {
        let mut steps = Vec::with_capacity(course.steps.len());
        let regenerates = matches!(record.plan, Plan::Regenerate(_));
        for (step, waits) in course.steps.iter().zip(&course.waits) {
            let mut acts = Vec::with_capacity(step.acts.len());
            for (act, times) in &step.acts {
                acts.push((act.clone(), *times, self.requests(record, act).await));
            }
            let (state, lasts, way_back) = (step.state, step.lasts, step.way_back);
            let what = meaning(state, record.direction(), record.hurries(), regenerates);
            let gate = step.gate;
            steps.push(PlannedStep {
                state,
                what,
                gate,
                acts,
                waits: waits.clone(),
                lasts,
                way_back,
            });
        }
        steps
    }

    /// What the server gets for this.
    async fn requests(&self, record: &Record, act: &Act) -> Vec<Request> {
        let chosen = without_value(record.new.id().as_str(), NEW_VALUE);
        let secret = |which| record.secret(which).or(chosen.as_ref());
        let asked = match act {
            Act::Probe(which) => secret(*which).map(Asked::Probe),
            Act::ReadBack => Some(Asked::ReadBack),
            // Where a list is found out secret by secret, the first stands for all.
            Act::List => Some(Asked::List(std::slice::from_ref(&record.old))),
            Act::Set(which) => secret(*which).map(Asked::Set),
            Act::Add => Some(Asked::Add(&record.new)),
            Act::Regenerate => Some(Asked::Regenerate(record.new.id())),
            Act::SetActive(slot, active) => Some(Asked::SetActive(slot, *active)),
            Act::Remove(slot, stays) => Some(Asked::Remove(slot, secret(*stays))),
            Act::Publish(_) | Act::Observe | Act::Confirmation(_) | Act::Retirement => None,
        };
        match asked {
            Some(asked) => self.authority.describe(&asked).await,
            None => Vec::new(),
        }
    }

    /// What everything that a plan rests on looks like now.
    fn fingerprint(
        &self,
        record: &Record,
        grounds: &Grounds,
        (steps, instances): (&[PlannedStep], &[Instance]),
    ) -> Fingerprint {
        let list = format!("{} {:?}", grounds.document.revision, grounds.document.list);
        let journal = grounds.earlier.as_ref().map(|earlier| {
            let head = earlier.history.as_ref().map(|head| &head.hash);
            format!("{} {} {:?} {head:?}", earlier.new.id(), earlier.since(), earlier.state)
        });
        let server = format!("{} {:?}", grounds.is_returned, grounds.slots);
        let live = instances.iter().filter(|one| one.live && !is_own(one));
        let mut programs: Vec<String> = live.map(|one| format!("{:?}", seen(one))).collect();
        programs.sort_unstable();
        // Of a body a part may be a time.
        let requests =
            steps.iter().flat_map(|step| &step.acts).flat_map(|(_, _, requests)| requests);
        let requests: Vec<_> = requests.map(|one| format!("{} {}", one.method, one.to)).collect();
        let configuration = format!(
            "{} {:?} {:?} {:?} {:?} {:?}",
            serde_json::to_string(&record.policy).unwrap_or_default(),
            grounds.capabilities,
            self.compromised,
            self.removed_first,
            self.generator,
            requests
        );
        let journal = journal.unwrap_or_default();
        Fingerprint::of([&list, &journal, &server, &programs.join(" "), &configuration])
    }

    /// Nothing has moved that the plan rests on, if there is one.
    pub(super) async fn check_plan(
        &self,
        record: &Record,
        grounds: &Grounds,
    ) -> Result<(), RotateError> {
        let Some(planned) = &self.planned else { return Ok(()) };
        let status = Status::read(&self.store).await?;
        let returned = grounds.is_returned.then(|| record.new.secret()).flatten();
        let policy = &record.policy;
        let outline = self.outline(policy, (grounds, returned), &status).await;
        let Some(outline) = outline else { return Ok(()) };
        let moved = planned.moved(&outline.fingerprint);
        if moved.is_empty() {
            return Ok(());
        }
        let what: Vec<_> = moved
            .iter()
            .map(|ground| match ground {
                Ground::List => {
                    let document = &grounds.document;
                    format!("{ground} (now revision {}: {:?})", document.revision, document.list)
                }
                Ground::Programs => {
                    let live = status.instances.iter().filter(|one| one.live);
                    let live: Vec<_> = live.map(named).collect();
                    format!(
                        "{ground} (now {})",
                        if live.is_empty() { "none".to_owned() } else { live.join(", ") }
                    )
                }
                Ground::Server => match &grounds.slots {
                    Some(slots) => {
                        let all: Vec<_> = slots.before.iter().map(ToString::to_string).collect();
                        format!("{ground} (now {})", all.join(", "))
                    }
                    None => ground.to_string(),
                },
                ground => ground.to_string(),
            })
            .collect();
        let message = format!(
            "client {}: what the plan rests on has moved since it was made: {}. Nothing was changed: look at a \
             new plan",
            self.store.client(),
            what.join("; ")
        );
        Err(RotateError::new(RotateErrorKind::PlanMoved(moved), message))
    }
}

/// What stands for a secret in a plan: its id, and a value that is none.
fn without_value(id: &str, value: &str) -> Option<Secret> {
    Secret::new(id.parse().ok()?, value).ok()
}

/// What a plan rests on of an instance: which one it is, and what it holds.
fn seen(instance: &Instance) -> (&str, Result<(&str, Option<keyswap_core::Revision>), &str>) {
    let report = instance.report.as_ref();
    let report = report.map(|report| (report.application.as_str(), report.revision));
    (&instance.instance, report.map_err(String::as_str))
}

/// A process of keyswap that follows a store for its management secret comes and goes with its command.
fn is_own(instance: &Instance) -> bool {
    instance.report.as_ref().is_ok_and(|report| report.application == "keyswap")
}

fn named(instance: &Instance) -> String {
    match &instance.report {
        Ok(report) => {
            let holds =
                report.revision.map_or("nothing".to_owned(), |one| format!("revision {one}"));
            format!("{}/{} with {holds}", report.application, report.instance)
        }
        Err(_) => format!("{}, whose report cannot be read", instance.instance),
    }
}

/// The declared applications with their instances, and then those that nobody declared.
fn declared(policy: &RotationPolicy, status: &Status) -> Vec<Declared> {
    let mut applications: Vec<Declared> = policy
        .applications
        .iter()
        .map(|one| {
            let (name, manual) = (one.name.clone(), one.manual);
            Declared { name, expected: one.instances, manual, live: Vec::new() }
        })
        .collect();
    for instance in status.instances.iter().filter(|one| one.live) {
        let Ok(report) = &instance.report else { continue };
        let known = applications.iter_mut().find(|one| one.name == report.application);
        let live = (report.instance.clone(), report.revision);
        match known {
            Some(application) => application.live.push(live),
            None => {
                let name = report.application.clone();
                applications.push(Declared { name, expected: 0, manual: false, live: vec![live] });
            }
        }
    }
    applications
}
