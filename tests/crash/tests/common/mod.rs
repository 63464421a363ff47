//! What the crash matrices share: a server, programs under load, and processes that rotate and die.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keyswap_admin::rotation::{Record, Timestamp};
use keyswap_admin::{State, Status};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_crash_tests::{
    APPLICATION, AUDIENCE, Act, CLIENT, Command, INSTANCES, MANAGEMENT_CLIENT, OKTA_APPLICATION,
    Orders, Point, Server, Side,
};
use keyswap_reqwest::{FallbackMiddleware, client_builder};
use keyswap_store::{FileStore, Hold, SecretStore, join};
use keyswap_testkit::{
    AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Provider, Times,
};
use keyswap_tower::{ClientSecretBasic, ClientSecretPost, Profile};
use tempfile::TempDir;
use tokio::process;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const WINDOW: Duration = Duration::from_millis(300);
/// They wait most of the time.
const AT_ONCE: usize = 8;
/// A rotation that needs more processes than this does not end.
const MOST_PROCESSES: usize = 8;

/// What the server makes of the change when it is sent first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Applied,
    AppliedAndLost,
    LostAndNotApplied,
    AppliedLate,
    AppliedWithAnError,
    Error,
    TurnedAway,
    Refused,
}

impl Answer {
    pub(crate) const ALL: [Self; 8] = [
        Self::Applied,
        Self::AppliedAndLost,
        Self::LostAndNotApplied,
        Self::AppliedLate,
        Self::AppliedWithAnError,
        Self::Error,
        Self::TurnedAway,
        Self::Refused,
    ];

    /// What happens to the change; where the server holds several secrets, to each of the three.
    fn faults(self, server: Server) -> Vec<Fault> {
        let changes: &[Endpoint] = match server {
            Server::Auth0 => &[Endpoint::UpdateClient],
            Server::Okta => &[Endpoint::AddSecret, Endpoint::SetActive, Endpoint::RemoveSecret],
        };
        changes.iter().filter_map(|endpoint| self.fault(*endpoint, server)).collect()
    }

    fn fault(self, endpoint: Endpoint, server: Server) -> Option<Fault> {
        Some(match self {
            Self::Applied => return None,
            // It would meet the first change alone, which is repeated.
            Self::LostAndNotApplied if server == Server::Okta => Fault::AnswerLost { endpoint },
            Self::AppliedAndLost => Fault::AnswerLostAfterChange,
            Self::LostAndNotApplied => Fault::AnswerLostBeforeChange,
            Self::AppliedLate => Fault::LateChange { after: WINDOW / 3 },
            Self::AppliedWithAnError => Fault::ServerErrorAfterChange { status: 500 },
            Self::Error => Fault::ServerError { endpoint, status: 500 },
            Self::TurnedAway => {
                let retry_after = Some(Duration::from_secs(1));
                Fault::RateLimited { endpoint, retry_after, reset_after: None }
            }
            Self::Refused => Fault::Html { endpoint, status: 403 },
        })
    }
}

/// Which rotation a case is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) server: Server,
    pub(crate) compromised: bool,
    /// A person puts a hold on it after the first death, and releases it after another process has seen
    /// that.
    pub(crate) held: bool,
}

impl Kind {
    pub(crate) fn planned(server: Server) -> Self {
        Self { server, compromised: false, held: false }
    }
}

pub(crate) struct World {
    kind: Kind,
    server: AuthorizationServer,
    directory: TempDir,
    store: FileStore,
    programs: Vec<Program>,
}

impl World {
    pub(crate) async fn new(kind: Kind, answer: Answer) -> Self {
        let server = AuthorizationServer::builder().nodes(3).propagation_window(WINDOW);
        let client = Client::new(CLIENT, OLD);
        let server = match kind.server {
            Server::Auth0 => server
                .client(client.grant(AUDIENCE))
                .management_client(Client::management(MANAGEMENT_CLIENT, MANAGEMENT)),
            Server::Okta => server
                .provider(Provider::Okta)
                .client(
                    client
                        .application(OKTA_APPLICATION)
                        .authentication(ClientAuthentication::SecretBasic)
                        .grant("default")
                        .scopes(["read"]),
                )
                .api_token(MANAGEMENT),
        };
        let server = server.start().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), CLIENT).unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        let mut programs = Vec::new();
        for _ in 0..INSTANCES {
            programs.push(Program::start(kind.server, &store, server.token_endpoint()).await);
        }
        for fault in answer.faults(kind.server) {
            server.inject(fault, Times::ONCE);
        }
        Self { kind, server, directory, store, programs }
    }

    /// Runs one process to its end. What it did is there unless it was killed.
    pub(crate) async fn process(&self, command: Command, dies: Option<Point>) -> Ended {
        let orders = Orders {
            command,
            dies,
            store: self.directory.path().join("store").display().to_string(),
            server: self.kind.server,
            url: self.server.url(),
            management_audience: match self.kind.server {
                Server::Auth0 => self.server.management_audience(),
                Server::Okta => String::new(),
            },
            management_secret: MANAGEMENT.to_owned(),
            window_ms: WINDOW.as_millis() as u64,
            // Long enough that nobody is left behind.
            compromised_ms: self.kind.compromised.then_some(20_000),
        };
        let running = process::Command::new(env!("CARGO_BIN_EXE_dying-rotator"))
            .arg(serde_json::to_string(&orders).unwrap())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(60), running)
            .await
            .expect("a process ends")
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        Ended {
            killed: output.status.signal() == Some(9),
            succeeded: output.status.success(),
            acts: said.lines().last().and_then(|line| serde_json::from_str(line).ok()),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) async fn record(&self) -> Result<Option<Record>, String> {
        Ok(Status::read(&self.store).await.map_err(|error| error.to_string())?.record)
    }

    /// Processes, one after the other, until the rotation is over. Gives how it ended.
    pub(crate) async fn finish(&self) -> Result<State, String> {
        let mut errors = Vec::new();
        for _ in 0..MOST_PROCESSES {
            let command = match self.record().await? {
                Some(record) if record.is_over() => return Ok(record.state),
                Some(_) => Command::Resume,
                None => Command::Rotate,
            };
            errors.push(self.process(command, None).await.error);
        }
        Err(format!("not over after {MOST_PROCESSES} processes: {errors:?}"))
    }

    /// Under a person's hold a process changes nothing, at the server or in the store.
    async fn is_held(&self) -> Result<(), String> {
        let hold = Hold::new("ada", "the quarter ends", Timestamp::now().milliseconds(), None);
        self.store.set_hold(Some(&hold)).await.unwrap();
        // What the process before sent late has arrived then.
        tokio::time::sleep(WINDOW).await;
        let seen = async || {
            let changes = self.server.counts().changes;
            let journal = self.store.journal().await.unwrap().map(|text| text.to_vec());
            (changes, journal, self.store.published().await.unwrap().unwrap().revision)
        };
        let before = seen().await;
        let command = match &before.1 {
            Some(_) => Command::Resume,
            None => Command::Rotate,
        };
        let ended = self.process(command, None).await;
        let held = ended.succeeded || before != seen().await;
        self.store.set_hold(None).await.unwrap();
        if held { Err(format!("the hold did not hold: {}", ended.error)) } else { Ok(()) }
    }

    /// One secret is accepted, everybody holds it alone, and no request failed.
    pub(crate) async fn check(mut self, ended: State) -> Result<u64, String> {
        let published = self.store.published().await.unwrap().unwrap();
        let list = published.list;
        let back = ended == State::RolledBack;
        if list.len() != 1 || back != (list.preferred().expose() == OLD) {
            return Err(format!("the list is {list:?} at the end, {ended}"));
        }
        self.server.until_settled(CLIENT).await;
        let held = list.preferred().expose();
        if self.server.accepted_secrets(CLIENT) != 1 || !self.server.accepts(CLIENT, held) {
            return Err(format!("the server does not accept {list:?} alone"));
        }
        let listed = self.server.secrets(CLIENT);
        if self.kind.server == Server::Okta && listed.len() != 1 {
            return Err(format!("the server lists {listed:?} at the end, {ended}"));
        }
        let broken = self.record().await?.map_or(0, |record| record.broken().len());
        if broken > 0 {
            return Err(format!("{broken} are named as left behind"));
        }
        let mut requests = 0;
        for program in std::mem::take(&mut self.programs) {
            requests += program.stop(&list).await?;
        }
        Ok(requests)
    }
}

pub(crate) struct Ended {
    killed: bool,
    succeeded: bool,
    acts: Option<BTreeMap<Act, u32>>,
    error: String,
}

/// An instance that signs in all the time.
struct Program {
    ring: SecretRing,
    requests: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    load: JoinHandle<()>,
    member: JoinHandle<()>,
}

impl Program {
    async fn start(server: Server, store: &FileStore, endpoint: String) -> Self {
        let policy = FallbackPolicy::default().propagation_window(WINDOW);
        let (ring, member) = join(store.clone(), APPLICATION, policy).await.unwrap();
        let client = reqwest_middleware::ClientBuilder::new(client_builder().build().unwrap());
        let (client, wants) = match server {
            Server::Auth0 => {
                let fallback = FallbackMiddleware::new(ring.clone(), ClientSecretPost::new(CLIENT));
                (client.with(fallback.profile(Profile::Auth0)), format!("audience={AUDIENCE}"))
            }
            Server::Okta => {
                let fallback =
                    FallbackMiddleware::new(ring.clone(), ClientSecretBasic::new(CLIENT));
                (client.with(fallback.profile(Profile::Okta)), "scope=read".to_owned())
            }
        };
        let client = client.build();
        let (requests, failed, end) = (
            Arc::<AtomicU64>::default(),
            Arc::<AtomicU64>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (counted, lost, ends) = (requests.clone(), failed.clone(), end.clone());
        let load = tokio::spawn(async move {
            let body = format!("grant_type=client_credentials&{wants}");
            while !ends.load(Ordering::Relaxed) {
                let request = client
                    .post(&endpoint)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body.clone());
                let accepted = request.send().await.is_ok_and(|answer| answer.status() == 200);
                counted.fetch_add(1, Ordering::Relaxed);
                lost.fetch_add(u64::from(!accepted), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        let member = tokio::spawn(async move {
            member.await;
        });
        Self { ring, requests, failed, end, load, member }
    }

    async fn stop(self, list: &SecretList) -> Result<u64, String> {
        let adopted = async {
            let mut changes = self.ring.subscribe();
            while self.ring.snapshot().list() != *list {
                changes.changed().await;
            }
        };
        let adopted = tokio::time::timeout(Duration::from_secs(10), adopted).await;
        self.end.store(true, Ordering::Relaxed);
        self.load.await.unwrap();
        self.member.abort();
        let requests = self.requests.load(Ordering::Relaxed);
        match (adopted, self.failed.load(Ordering::Relaxed)) {
            (Err(_), _) => Err(format!("an instance holds {:?}", self.ring.snapshot().list())),
            (Ok(()), 0) if requests > 0 => Ok(requests),
            (Ok(()), failed) => Err(format!("{failed} of {requests} requests failed")),
        }
    }
}

/// Where a process that meets this answer can die.
pub(crate) async fn points(kind: Kind, answer: Answer) -> Vec<Point> {
    let world = World::new(kind, answer).await;
    let ended = world.process(Command::Rotate, None).await;
    // A change that was refused is an error of the process, and it says what it did all the same.
    assert!(ended.succeeded || matches!(answer, Answer::Refused), "{answer:?}: {}", ended.error);
    let acts = ended.acts.expect("a process that ends says what it did");
    let changes = match kind.server {
        Server::Auth0 => &[Act::SetSecret][..],
        Server::Okta => &[Act::AddSecret, Act::SetActive, Act::RemoveSecret],
    };
    let refused = matches!(answer, Answer::Refused);
    let changes = if refused { &changes[..1] } else { changes };
    assert!(changes.iter().all(|act| acts.contains_key(act)), "{acts:?}");
    assert!(acts[&Act::SaveJournal] >= 2, "{acts:?}");
    let mut points = Vec::new();
    for (act, count) in acts {
        for nth in 1..=count {
            // Probes are many and alike.
            if act == Act::Probe && nth > 3 && nth + 2 <= count {
                continue;
            }
            points.extend([Side::Before, Side::After].map(|side| Point { act, nth, side }));
        }
    }
    points
}

/// What follows the first death.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Resume,
    /// By a process that dies there, if it comes so far.
    RollBack(Point),
}

/// What came of a case that ended well.
pub(crate) struct Well {
    killed: u32,
    rolled_back: bool,
    requests: u64,
}

/// A case: which answer it is, where the first process dies, and what follows.
pub(crate) type Case = (Kind, Answer, Point, Then);

async fn case((kind, answer, point, then): Case) -> Result<Well, String> {
    let world = World::new(kind, answer).await;
    let mut killed = u32::from(world.process(Command::Rotate, Some(point)).await.killed);
    if kind.held {
        world.is_held().await?;
    }
    if let Then::RollBack(point) = then {
        // Refused where there is no journal, or no way back any more.
        killed += u32::from(world.process(Command::RollBack, Some(point)).await.killed);
    }
    let ended = world.finish().await?;
    let requests = world.check(ended).await?;
    Ok(Well { killed, rolled_back: ended == State::RolledBack, requests })
}

/// Whether the whole matrix is wanted, or a part of it that is one of several.
pub(crate) fn all() -> bool {
    std::env::var_os("KEYSWAP_CRASH_MATRIX").is_some()
}

/// Which part of the whole matrix is wanted: `all`, or `1/3` for the second of three.
fn part() -> (usize, usize) {
    let Ok(wanted) = std::env::var("KEYSWAP_CRASH_MATRIX") else { return (0, 1) };
    if wanted == "all" {
        return (0, 1);
    }
    let part = wanted.split_once('/');
    let part = part.and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    let part = part.filter(|(part, of)| part < of);
    part.unwrap_or_else(|| panic!("KEYSWAP_CRASH_MATRIX is {wanted}, and not `all` or `1/3`"))
}

/// Tries each case, and says what came of them. Gives how many were tried, how many processes were killed,
/// and how many cases were rolled back.
pub(crate) async fn try_each(name: &str, cases: Vec<Case>, possible: usize) -> (usize, u32, u32) {
    let (part, of) = part();
    // Another place in each group, or a part would hold every case that resumes and none that goes back.
    let ours = |at: usize| (at + at / of) % of == part;
    let cases = cases.into_iter().enumerate().filter(|(at, _)| ours(*at));
    let cases: Vec<_> = cases.map(|(_, case)| case).collect();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for one in cases {
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _room = room.acquire().await.unwrap();
            (one, case(one).await)
        });
    }
    let (mut cases, mut killed, mut back, mut requests) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    while let Some(ended) = running.join_next().await {
        let ((kind, answer, point, then), ended) = ended.unwrap();
        cases += 1;
        match ended {
            Ok(well) => {
                killed += well.killed;
                back += u32::from(well.rolled_back);
                requests += well.requests;
            }
            Err(reason) => {
                wrong.push(format!("{kind:?}, {answer:?}, {point}, then {then:?}: {reason}"))
            }
        }
    }
    println!(
        "{name}: {cases} of {possible} cases, {killed} processes killed, {} ended well, {back} of them \
         rolled back; {requests} requests",
        cases - wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    (cases, killed, back)
}
