//! The crash matrix: a rotating process that dies by `kill -9` before and after each of its acts, crossed with
//! what the server answers to the change, under load. After its death the rotation is taken up, or taken back by a
//! process that dies as well. Every case has to end with one accepted secret that everybody holds, and with no
//! failed request.
//!
//! `cargo test` runs a part of it. All of it, as `.ci/run` does:
//!
//! ```console
//! KEYSWAP_CRASH_MATRIX=all cargo test -p keyswap-crash-tests
//! ```

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keyswap_admin::rotation::Record;
use keyswap_admin::{State, Status};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_crash_tests::{
    APPLICATION, AUDIENCE, Act, CLIENT, Command, INSTANCES, MANAGEMENT_CLIENT, Orders, Point, Side,
};
use keyswap_reqwest::{FallbackMiddleware, client_builder};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Times};
use keyswap_tower::{ClientSecretPost, Profile};
use tempfile::TempDir;
use tokio::process;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const WINDOW: Duration = Duration::from_millis(300);
/// They wait most of the time.
const AT_ONCE: usize = 8;
/// A rotation that needs more processes than this does not end.
const MOST_PROCESSES: usize = 8;

/// What the server makes of the change when it is sent first.
#[derive(Clone, Copy, Debug)]
enum Answer {
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
    const ALL: [Self; 8] = [
        Self::Applied,
        Self::AppliedAndLost,
        Self::LostAndNotApplied,
        Self::AppliedLate,
        Self::AppliedWithAnError,
        Self::Error,
        Self::TurnedAway,
        Self::Refused,
    ];

    fn fault(self) -> Option<Fault> {
        let endpoint = Endpoint::UpdateClient;
        Some(match self {
            Self::Applied => return None,
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

struct World {
    server: AuthorizationServer,
    directory: TempDir,
    store: FileStore,
    programs: Vec<Program>,
}

impl World {
    async fn new(answer: Answer) -> Self {
        let server = AuthorizationServer::builder()
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, OLD).grant(AUDIENCE))
            .management_client(Client::management(MANAGEMENT_CLIENT, MANAGEMENT))
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), CLIENT).unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        let mut programs = Vec::new();
        for _ in 0..INSTANCES {
            programs.push(Program::start(store.clone(), server.token_endpoint()).await);
        }
        if let Some(fault) = answer.fault() {
            server.inject(fault, Times::ONCE);
        }
        Self { server, directory, store, programs }
    }

    /// Runs one process to its end. What it did is there unless it was killed.
    async fn process(&self, command: Command, dies: Option<Point>) -> Ended {
        let orders = Orders {
            command,
            dies,
            store: self.directory.path().join("store").display().to_string(),
            url: self.server.url(),
            management_audience: self.server.management_audience(),
            management_secret: MANAGEMENT.to_owned(),
            window_ms: WINDOW.as_millis() as u64,
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

    async fn record(&self) -> Result<Option<Record>, String> {
        Ok(Status::read(&self.store).await.map_err(|error| error.to_string())?.record)
    }

    /// Processes, one after the other, until the rotation is over. Gives how it ended.
    async fn finish(&self) -> Result<State, String> {
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

    /// One secret is accepted, everybody holds it alone, and no request failed.
    async fn check(mut self, ended: State) -> Result<u64, String> {
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
        let mut requests = 0;
        for program in std::mem::take(&mut self.programs) {
            requests += program.stop(&list).await?;
        }
        Ok(requests)
    }
}

struct Ended {
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
    async fn start(store: FileStore, endpoint: String) -> Self {
        let policy = FallbackPolicy::default().propagation_window(WINDOW);
        let (ring, member) = join(store, APPLICATION, policy).await.unwrap();
        let fallback = FallbackMiddleware::new(ring.clone(), ClientSecretPost::new(CLIENT))
            .profile(Profile::Auth0);
        let client = reqwest_middleware::ClientBuilder::new(client_builder().build().unwrap())
            .with(fallback)
            .build();
        let (requests, failed, end) = (
            Arc::<AtomicU64>::default(),
            Arc::<AtomicU64>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (counted, lost, ends) = (requests.clone(), failed.clone(), end.clone());
        let load = tokio::spawn(async move {
            let body = format!("grant_type=client_credentials&audience={AUDIENCE}");
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
async fn points(answer: Answer) -> Vec<Point> {
    let world = World::new(answer).await;
    let ended = world.process(Command::Rotate, None).await;
    // A change that was refused is an error of the process, and it says what it did all the same.
    assert!(ended.succeeded || matches!(answer, Answer::Refused), "{answer:?}: {}", ended.error);
    let acts = ended.acts.expect("a process that ends says what it did");
    assert!(acts[&Act::SetSecret] > 0 && acts[&Act::SaveJournal] > 3, "{acts:?}");
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
enum Then {
    Resume,
    /// By a process that dies there, if it comes so far.
    RollBack(Point),
}

/// What came of a case that ended well.
struct Well {
    killed: u32,
    rolled_back: bool,
    requests: u64,
}

async fn case(answer: Answer, point: Point, then: Then) -> Result<Well, String> {
    let world = World::new(answer).await;
    let mut killed = u32::from(world.process(Command::Rotate, Some(point)).await.killed);
    if let Then::RollBack(point) = then {
        // Refused where there is no journal, or no way back any more.
        killed += u32::from(world.process(Command::RollBack, Some(point)).await.killed);
    }
    let ended = world.finish().await?;
    let requests = world.check(ended).await?;
    Ok(Well { killed, rolled_back: ended == State::RolledBack, requests })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_dies_before_or_after_any_act_ends_well_whatever_the_server_answers() {
    let all = std::env::var("KEYSWAP_CRASH_MATRIX").is_ok_and(|which| which == "all");
    let mut cases = Vec::new();
    for answer in Answer::ALL {
        let points = points(answer).await;
        for (position, point) in points.iter().enumerate() {
            cases.push((answer, *point, Then::Resume));
            // The way back goes through the same acts: each case another one of them.
            let second = points[(position * 7 + 3) % points.len()];
            cases.push((answer, *point, Then::RollBack(second)));
        }
    }
    let possible = cases.len();
    // Around what the protocol rests on, and here and there in the rest.
    let telling = |answer, point: Point| {
        matches!(answer, Answer::Applied) && matches!(point.act, Act::Publish | Act::SetSecret)
            || matches!(answer, Answer::AppliedAndLost) && point.act == Act::SaveJournal
    };
    let mut position = 0;
    cases.retain(|(answer, point, then)| {
        position += 1;
        let telling = telling(*answer, *point) && matches!(then, Then::Resume);
        all || telling || position % 23 == 0
    });
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (answer, point, then) in cases {
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _room = room.acquire().await.unwrap();
            (answer, point, then, case(answer, point, then).await)
        });
    }
    let (mut cases, mut killed, mut back, mut requests) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    while let Some(ended) = running.join_next().await {
        let (answer, point, then, ended) = ended.unwrap();
        cases += 1;
        match ended {
            Ok(well) => {
                killed += well.killed;
                back += u32::from(well.rolled_back);
                requests += well.requests;
            }
            Err(reason) => wrong.push(format!("{answer:?}, {point}, then {then:?}: {reason}")),
        }
    }
    println!(
        "crash matrix: {cases} of {possible} cases, {killed} processes killed, {} ended well, {back} of them \
         rolled back; {requests} requests",
        cases - wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A few points are not met, since probes vary in number.
    assert!(killed as usize * 10 > cases * 9, "{killed} of {cases}");
    assert!(back > 0);
}
