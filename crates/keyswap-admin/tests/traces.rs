//! What a rotation tells `tracing`: the tree of its spans, their fields and events, and never a secret.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyswap_admin::{
    Application, Auth0, Progress, RotateErrorKind, RotationPolicy, Rotator, State,
};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client, Fault, Times};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const WINDOW: Duration = Duration::from_millis(50);

/// Fields as an exporter would get them.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

#[derive(Clone, Debug)]
struct Span {
    id: u64,
    parent: Option<u64>,
    name: &'static str,
    level: Level,
    fields: Fields,
    events: Vec<(Level, Fields)>,
    closed: bool,
}

/// Keeps every span of the crate, also those that have ended, in their order, and looks at each field of all crates.
#[derive(Clone, Default)]
struct Recorder {
    spans: Arc<Mutex<Vec<Span>>>,
    everything: Arc<Mutex<String>>,
}

impl Recorder {
    fn start() -> (Self, DefaultGuard) {
        let recorder = Self::default();
        let subscriber = tracing_subscriber::registry().with(recorder.clone());
        (recorder, tracing::subscriber::set_default(subscriber))
    }

    fn spans(&self, name: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    fn with(&self, id: &Id, act: impl FnOnce(&mut Span)) {
        let mut spans = self.spans.lock().unwrap();
        // Ids are used again.
        spans.iter_mut().rfind(|span| span.id == id.into_u64()).map(act);
    }

    fn note(&self, fields: &Fields) {
        self.everything.lock().unwrap().push_str(&format!("{fields:?}\n"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        self.note(&fields);
        let parent = context.span(id).and_then(|span| Some(span.parent()?.id().into_u64()));
        let (name, level) = (attributes.metadata().name(), *attributes.metadata().level());
        let (id, events, closed) = (id.into_u64(), Vec::new(), false);
        self.spans.lock().unwrap().push(Span { id, parent, name, level, fields, events, closed });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.note(&fields);
        self.with(id, |span| values.record(&mut span.fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.note(&fields);
        if event.metadata().target().starts_with("keyswap_admin")
            && let Some(span) = context.event_span(event)
        {
            let level = *event.metadata().level();
            self.with(&span.id(), |span| span.events.push((level, fields)));
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.with(&id, |span| span.closed = true);
    }
}

struct World {
    server: AuthorizationServer,
    store: FileStore,
    member: JoinHandle<()>,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let server = AuthorizationServer::builder()
            .propagation_window(WINDOW)
            .client(Client::new("billing", OLD).grant("https://api.example/"))
            .management_client(Client::management("rotator", MANAGEMENT))
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        let policy = FallbackPolicy::default();
        let (_, member) = join(store.clone(), "billing-app", policy).await.unwrap();
        let member = tokio::spawn(member);
        Self { server, store, member, _directory: directory }
    }

    fn rotator(&self) -> Rotator<Auth0, FileStore> {
        let secret = Secret::new("management".parse().unwrap(), MANAGEMENT).unwrap();
        let authority = Auth0::builder(self.server.url().parse().unwrap(), "billing")
            .management("rotator", SecretRing::new(SecretList::new([secret]).unwrap()))
            .management_audience(self.server.management_audience())
            .audience("https://api.example/")
            .propagation_window(WINDOW)
            .build()
            .unwrap();
        Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(30))
    }

    /// No field of any span or event holds a secret, old or new.
    async fn search(self, recorder: &Recorder) {
        let record = self.rotator().status().await.unwrap().record.unwrap();
        let everything = recorder.everything.lock().unwrap().clone();
        assert!(everything.contains(record.new.id().as_str()), "there is something to search in");
        let new = self.store.published().await.unwrap().unwrap();
        let held = new.list.iter().map(Secret::expose);
        for secret in held.chain([OLD, MANAGEMENT]) {
            assert!(!everything.contains(secret), "{everything}");
        }
        self.member.abort();
    }
}

fn policy() -> RotationPolicy {
    RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20))
}

/// The states of a rotation's span, in order, each a child of it, at the level of what is told anyway.
fn states(recorder: &Recorder, rotation: &Span) -> Vec<String> {
    let spans = recorder.spans("state");
    let own = spans.iter().filter(|span| span.parent == Some(rotation.id));
    own.map(|span| {
        assert!(span.closed && span.level == Level::INFO, "{span:?}");
        assert_eq!(span.fields.get("otel.name"), span.fields.get("keyswap.state"));
        span.fields.get("keyswap.state").to_owned()
    })
    .collect()
}

fn names(states: &[State]) -> Vec<&'static str> {
    states.iter().map(|state| state.name()).collect()
}

#[tokio::test]
async fn a_rotation_is_a_span_with_one_for_each_state_under_it_in_order() {
    let world = World::new().await;
    world.server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let (recorder, _guard) = Recorder::start();
    let finished = world.rotator().run(policy()).await.unwrap();
    let [rotation] = &recorder.spans("rotation")[..] else { panic!("one rotation") };
    assert!(rotation.closed && rotation.parent.is_none() && rotation.level == Level::INFO);
    assert_eq!(states(&recorder, rotation), names(&State::PATH));
    let record = world.rotator().status().await.unwrap().record.unwrap();
    let began = record.entered[0].at.milliseconds();
    for (field, value) in [
        ("otel.name", "rotation run"),
        ("otel.kind", "internal"),
        ("otel.status_code", ""),
        ("keyswap.client_id", "billing"),
        ("keyswap.rotation_id", &format!("billing/{began}")),
        ("keyswap.direction", "forward"),
        ("keyswap.old_secret_id", "old"),
        ("keyswap.new_secret_id", finished.new.as_str()),
        ("keyswap.outcome", "done"),
    ] {
        assert_eq!(rotation.fields.get(field), value, "{field}");
    }

    // The change: sent with the id, answered with nothing certain, and found out by a question.
    let spans = recorder.spans("state");
    let state = |name: &str| {
        spans.iter().find(|span| span.fields.get("keyswap.state") == name).unwrap().clone()
    };
    let told: Vec<_> = state("cutting_over")
        .events
        .into_iter()
        .filter(|(_, fields)| !fields.get("keyswap.request").is_empty())
        .map(|(level, fields)| {
            assert_eq!(level, Level::DEBUG);
            ["keyswap.request", "message", "keyswap.secret_id", "keyswap.answer"]
                .map(|field| fields.get(field).to_owned())
        })
        .collect();
    let new = finished.new.as_str();
    assert_eq!(told[0], ["set_secret", "sent", new, ""]);
    assert_eq!(told[1], ["set_secret", "answered", new, "unknown"]);
    assert_eq!(told[2][..2], ["read_back", "sent"]);
    let waits = |(level, fields): &(Level, Fields)| {
        *level == Level::INFO && fields.get("keyswap.missing") == "1"
    };
    assert!(state("promoted").events.iter().any(waits), "{:?}", state("promoted").events);
    world.search(&recorder).await;
}

#[tokio::test]
async fn a_rotation_that_was_dropped_and_resumed_is_two_spans_with_one_id() {
    let world = World::new().await;
    let (recorder, _guard) = Recorder::start();
    let (reached, dropped) = tokio::sync::oneshot::channel();
    let reached = Mutex::new(Some(reached));
    let rotator = world.rotator().on_progress(move |progress| {
        if let Progress::Entered { state: State::Staged, .. } = progress {
            reached.lock().unwrap().take().map(|reached| reached.send(()));
        }
    });
    tokio::select! {
        ended = rotator.run(policy()) => panic!("{ended:?}"),
        told = dropped => told.unwrap(),
    }
    let [first] = &recorder.spans("rotation")[..] else { panic!("one rotation") };
    assert!(first.closed && first.fields.get("keyswap.outcome") == "dropped", "{first:?}");
    assert_eq!(states(&recorder, first).last().unwrap(), "staged");

    // The lease is free once a write that was under way is done.
    let finished = loop {
        match world.rotator().resume(None).await {
            Err(error) if matches!(error.kind(), RotateErrorKind::Busy) => {
                tokio::task::yield_now().await;
            }
            ended => break ended.unwrap(),
        }
    };
    let spans = recorder.spans("rotation");
    let (first, second) = (spans.first().unwrap(), spans.last().unwrap());
    let id = |span: &Span| span.fields.get("keyswap.rotation_id").to_owned();
    assert!(id(first).starts_with("billing/") && id(first) == id(second), "{spans:?}");
    assert_eq!(second.fields.get("keyswap.command"), "resume");
    assert_eq!(second.fields.get("keyswap.outcome"), "done");
    assert_eq!(second.fields.get("keyswap.new_secret_id"), finished.new.as_str());
    let states = states(&recorder, second);
    let from = State::PATH.iter().position(|state| state.name() == states[0]).unwrap();
    assert_eq!(states, names(&State::PATH[from..]));
    world.search(&recorder).await;
}

#[tokio::test]
async fn a_rotation_that_stops_has_an_error_and_one_that_waits_has_none() {
    let world = World::new().await;
    let (recorder, _guard) = Recorder::start();
    let declared = policy();
    let mut missing = declared.clone();
    missing.applications.push(Application::new("elsewhere"));
    let rotator = world.rotator().patience(Duration::from_millis(1));
    assert!(rotator.run(missing).await.unwrap_err().is_waiting());
    assert!(!rotator.run(declared).await.unwrap_err().is_waiting());
    let spans = recorder.spans("rotation");
    let fields =
        ["keyswap.outcome", "otel.status_code", "error.type"].map(|field| field.to_owned());
    let of = |span: &Span| fields.clone().map(|field| span.fields.get(&field).to_owned());
    assert_eq!(of(&spans[0]), ["waiting", "", ""]);
    assert_eq!(of(&spans[1]), ["unfinished", "error", "unfinished"]);
    world.search(&recorder).await;
}
