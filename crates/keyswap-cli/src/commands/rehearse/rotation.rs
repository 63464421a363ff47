//! A rotation that something happens to, and what brings it to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use keyswap_admin::crash::{Act, DyingAuthority, DyingStore, Fate};
use keyswap_admin::rotation::{State, WayBack};
use keyswap_admin::{
    Authority, Finished, Progress, RotateError, RotateErrorKind, RotationPolicy, Rotator, Status,
};
use keyswap_core::Secret;
use keyswap_store::SecretStore;
use keyswap_testkit::{AuthorizationServer, Times};
use tokio::sync::mpsc;

use super::program::{Program, Seen, TokenRequest};
use super::result::Ended;
use super::scenario::Scenario;
use super::setup::WINDOW;
use crate::authority::ConfiguredAuthority;
use crate::commands::proxy::client::SignsIn;
use crate::exit::Failure;
use crate::store::ConfiguredStore;

/// Longer than any state lasts here.
const PATIENCE: Duration = Duration::from_secs(20);
/// A rotation that has to be taken up more often does not end.
const MOST_RESUMED: usize = 12;
const REASON: &str = "a rehearsal";

/// What the rotator and its end tell.
enum Told {
    Entered,
    Died,
}

/// What is asked of the next rotator.
#[derive(Clone, Copy)]
enum Wanted {
    Run,
    Resume,
    RollBack,
}

/// A rotation, and who sees it through to its end.
pub(super) struct Rotation {
    pub(super) scenario: Scenario,
    pub(super) server: AuthorizationServer,
    pub(super) store: ConfiguredStore,
    pub(super) signs_in: SignsIn,
    pub(super) request: TokenRequest,
    pub(super) programs: Vec<Program>,
    /// By programs that were ended.
    pub(super) seen: Seen,
    pub(super) policy: RotationPolicy,
    pub(super) accepts_gap: bool,
    /// Why it stopped for a person, who looked and took it up again.
    pub(super) person: Option<String>,
}

/// What came of a rotation.
pub(super) struct Made {
    pub(super) died: bool,
    /// The state of the journal then.
    pub(super) met: Option<State>,
    pub(super) ended: Ended,
    pub(super) acts: BTreeMap<Act, u32>,
}

impl Made {
    pub(super) fn undisturbed(ended: Ended, acts: BTreeMap<Act, u32>) -> Self {
        Self { died: false, met: None, ended, acts }
    }
}

impl Rotation {
    pub(super) async fn start_program(&mut self, application: &str) -> Result<(), Failure> {
        let request = self.request.clone();
        let program = Program::start(&self.store, application, &self.signs_in, request).await?;
        self.programs.push(program);
        Ok(())
    }

    /// Ends the program that has run the longest, and starts it anew.
    async fn restart_a_program(&mut self) -> Result<(), Failure> {
        if self.programs.is_empty() {
            return Ok(());
        }
        let program = self.programs.remove(0);
        let application = program.application.clone();
        self.seen.add(program.stop().await);
        self.start_program(&application).await
    }

    /// A rotation to its end, by as many rotators as it takes.
    pub(super) async fn make(
        &mut self,
        authority: &impl Fn() -> Result<ConfiguredAuthority, Failure>,
    ) -> Result<Made, Failure> {
        let (tell, mut told) = mpsc::unbounded_channel();
        let died = tell.clone();
        let fate = Fate::new(self.scenario.dies(), move || {
            let _ = died.send(Told::Died);
        });
        let rotator = self.rotator(
            DyingAuthority::new(authority()?, fate.clone()),
            DyingStore::new(self.store.clone(), fate.clone()),
        );
        let (scenario, server, doomed) = (self.scenario, self.server.clone(), fate.clone());
        let rotator = rotator.on_progress(move |progress| {
            let Progress::Entered { state, .. } = progress else { return };
            if let Some((fault, times)) = scenario.injects(state, WINDOW) {
                server.inject(fault, Times(times));
            }
            if scenario.dies_in(state) {
                doomed.doom();
            }
            let _ = tell.send(Told::Entered);
        });
        let policy = self.policy.clone();
        let ended = {
            let mut run = std::pin::pin!(rotator.run(policy));
            loop {
                tokio::select! {
                    biased;
                    Some(one) = told.recv() => match one {
                        Told::Died => break None,
                        Told::Entered if scenario == Scenario::Restart => {
                            self.restart_a_program().await?;
                        }
                        Told::Entered => {}
                    },
                    ended = &mut run => break Some(ended),
                }
            }
        };
        drop(rotator);
        let acts = fate.done();
        let Some(ended) = ended else {
            let record = Status::read(&self.store).await?.record;
            let met = record.as_ref().map(|record| record.state);
            let back = matches!(self.scenario, Scenario::Back(_));
            let has_way = record.as_ref().is_some_and(|record| leads_back(record.way_back()));
            let wanted = match (&record, back && has_way) {
                (None, _) => Wanted::Run,
                (Some(record), _) if record.is_over() => {
                    return Ok(Made { died: true, met, ended: Ended::Finished, acts });
                }
                (Some(_), true) => Wanted::RollBack,
                (Some(_), false) => Wanted::Resume,
            };
            let ended = self.carry_on(authority, wanted).await?;
            let ended = match ended {
                Ended::Finished if back && !has_way => Ended::NoWayBack,
                ended => ended,
            };
            return Ok(Made { died: true, met, ended, acts });
        };
        Ok(Made::undisturbed(self.bring_to_its_end(authority, ended).await?, acts))
    }

    fn rotator<A: Authority, S: SecretStore>(&self, authority: A, store: S) -> Rotator<A, S> {
        let rotator = Rotator::new(authority, store).patience(PATIENCE).reason(REASON);
        let rotator = match self.accepts_gap {
            true => rotator.accept_gap(REASON),
            false => rotator,
        };
        match self.scenario {
            Scenario::Compromised => rotator.compromised(PATIENCE),
            _ => rotator,
        }
    }

    /// Another rotator, as a person or a cron job would start it.
    async fn carry_on(
        &mut self,
        authority: &impl Fn() -> Result<ConfiguredAuthority, Failure>,
        wanted: Wanted,
    ) -> Result<Ended, Failure> {
        let rotator = self.rotator(authority()?, self.store.clone());
        let ended = loop {
            let ended = match wanted {
                Wanted::Run => rotator.run(self.policy.clone()).await,
                Wanted::Resume => rotator.resume(None).await,
                Wanted::RollBack => rotator.rollback(None).await,
            };
            match ended {
                // The one that died may be in the middle of a write, which keeps the lease until it is done.
                Err(error) if matches!(error.kind(), RotateErrorKind::Busy) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                ended => break ended,
            }
        };
        Box::pin(self.bring_to_its_end(authority, ended)).await
    }

    /// Takes it up again as often as it says that this is what to do.
    async fn bring_to_its_end(
        &mut self,
        authority: &impl Fn() -> Result<ConfiguredAuthority, Failure>,
        mut ended: Result<Finished, RotateError>,
    ) -> Result<Ended, Failure> {
        for _ in 0..MOST_RESUMED {
            match ended {
                Ok(finished) if finished.rolled_back => return Ok(Ended::RolledBack),
                Ok(_) => return Ok(Ended::Finished),
                Err(error) if !can_be_resumed(error.kind(), self.person.is_some()) => {
                    return Ok(Ended::Stopped(error.to_string()));
                }
                Err(error) => {
                    if matches!(error.kind(), RotateErrorKind::Stuck(_)) {
                        self.person = Some(error.to_string());
                    }
                    tokio::time::sleep(WINDOW).await;
                    let record = Status::read(&self.store).await?.record;
                    let rotator = self.rotator(authority()?, self.store.clone());
                    ended = match record {
                        Some(_) => rotator.resume(None).await,
                        None => rotator.run(self.policy.clone()).await,
                    };
                }
            }
        }
        Ok(Ended::Stopped(ended.map_or_else(|error| error.to_string(), |_| String::new())))
    }

    /// What is not as it should be when it is over.
    pub(super) async fn wrong(
        &self,
        client: &str,
        first: &Secret,
        ended: &Ended,
    ) -> Result<Option<String>, Failure> {
        if matches!(ended, Ended::Stopped(_)) {
            return Ok(None);
        }
        self.server.until_settled(client).await;
        let published = self.store.published().await?;
        let Some(list) = published.map(|document| document.list) else {
            return Ok(Some("the store lost its list".to_owned()));
        };
        let holds_first = list.preferred().id() == first.id();
        Ok(if list.iter().count() != 1 {
            Some("more than one secret is left in the list".to_owned())
        } else if !self.server.accepts(client, list.preferred().expose()) {
            Some("the server does not accept the secret that programs hold".to_owned())
        } else if self.server.accepted_secrets(client) != 1 {
            Some("the server accepts another secret as well".to_owned())
        } else if holds_first != (*ended == Ended::RolledBack) {
            Some("programs hold the other secret".to_owned())
        } else {
            None
        })
    }
}

fn leads_back(way: WayBack) -> bool {
    matches!(
        way,
        WayBack::Withdraw | WayBack::Leave | WayBack::SetBack | WayBack::Remove | WayBack::UnderWay
    )
}

/// Whether the message of such an end is to take the rotation up again; what it is stuck for, once.
fn can_be_resumed(kind: &RotateErrorKind, was_stuck: bool) -> bool {
    let stuck = matches!(kind, RotateErrorKind::Stuck(_));
    stuck && !was_stuck
        || matches!(
            kind,
            RotateErrorKind::Authority(_)
                | RotateErrorKind::Busy
                | RotateErrorKind::OutcomeUnknown
                | RotateErrorKind::Waiting(_)
        )
}
