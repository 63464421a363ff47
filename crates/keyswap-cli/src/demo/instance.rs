//! One program of the demo: it follows the store, reports to it, and signs in at a steady rate until
//! its standard input ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use keyswap_core::{FallbackPolicy, SecretRing};
use keyswap_reqwest::{FallbackMiddleware, ReqwestService, client_builder};
use keyswap_store::{FileStore, join};
use keyswap_tower::{Authenticated, ClientSecretPost, FallbackLayer, Profile};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tower::{Layer, ServiceExt};
use url::Url;

use crate::arguments::duration;
use crate::exit::Failure;

/// Sign-ins under way at once; a program that falls behind waits here.
const MOST_AT_ONCE: usize = 64;

#[derive(Args, Debug)]
pub(crate) struct DemoInstance {
    #[arg(long)]
    store: PathBuf,
    #[arg(long)]
    client: String,
    #[arg(long)]
    application: String,
    #[arg(long)]
    token_endpoint: Url,
    #[arg(long)]
    audience: String,
    #[arg(long)]
    rate: u32,
    #[arg(long, value_parser = duration)]
    window: Duration,
    #[arg(long, value_enum)]
    way: Way,
}

/// How a program of the demo signs in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Way {
    /// The middleware for reqwest-middleware.
    Middleware,
    /// The tower layer around a reqwest client.
    Layer,
    /// One secret, replaced when the list is, and no fallback.
    Ordinary,
}

/// What one program, or all of them, did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Refused at first, and accepted with another secret.
    pub(crate) saved: u64,
    pub(crate) attempts: u64,
    pub(crate) promoted: u64,
    /// What failed requests got, and how often.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.saved += other.saved;
        self.attempts += other.attempts;
        self.promoted += other.promoted;
        for (what, count) in &other.failures {
            *self.failures.entry(what.clone()).or_default() += count;
        }
    }

    pub(crate) fn count(&mut self, outcome: Result<Option<Authenticated>, String>) {
        self.requests += 1;
        match outcome {
            Ok(with) => {
                let with = with.as_ref();
                self.attempts += u64::from(with.map_or(1, |with| with.attempts));
                self.saved += u64::from(with.is_some_and(|with| with.attempts > 1));
                self.promoted += u64::from(with.is_some_and(|with| with.promoted));
            }
            Err(what) => {
                self.failed += 1;
                *self.failures.entry(what).or_default() += 1;
            }
        }
    }
}

pub(crate) async fn run(options: DemoInstance) -> Result<(), Failure> {
    let store = FileStore::open(&options.store, &options.client)?;
    let policy = FallbackPolicy::default().propagation_window(options.window);
    let (ring, member) = join(store, &options.application, policy).await?;
    let member = tokio::spawn(member);
    let sign_in = Arc::new(SignIn::new(&options, ring)?);
    let every = Duration::from_secs(1) / options.rate;
    let tally = load(sign_in, every, parent_is_gone()).await;
    member.abort();
    let line = serde_json::to_string(&tally).map_err(|error| Failure::failed(error.to_string()))?;
    println!("{line}");
    Ok(())
}

/// Comes back when the parent closes its end, or dies: no program of the demo outlives it.
async fn parent_is_gone() {
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
}

async fn load(sign_in: Arc<SignIn>, every: Duration, end: impl Future<Output = ()>) -> Tally {
    let mut tally = Tally::default();
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut under_way = JoinSet::new();
    let mut ticks = tokio::time::interval_at(Instant::now(), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(outcome) = under_way.join_next() => tally.count(outcome.unwrap_or_else(|_| {
                Err("the program's own task ended".to_owned())
            })),
            _ = ticks.tick() => {
                let (sign_in, places) = (Arc::clone(&sign_in), Arc::clone(&places));
                under_way.spawn(async move {
                    let _place = places.acquire_owned().await;
                    sign_in.once().await
                });
            }
        }
    }
    while let Some(outcome) = under_way.join_next().await {
        tally.count(outcome.unwrap_or_else(|_| Err("the program's own task ended".to_owned())));
    }
    tally
}

/// The three ways of signing in.
enum SignIn {
    Middleware {
        client: reqwest_middleware::ClientWithMiddleware,
        endpoint: Url,
        audience: String,
    },
    Layer {
        client: reqwest::Client,
        layer: FallbackLayer<ClientSecretPost>,
        endpoint: Url,
        audience: String,
    },
    Ordinary {
        client: reqwest::Client,
        ring: SecretRing,
        id: String,
        endpoint: Url,
        audience: String,
    },
}

impl SignIn {
    fn new(options: &DemoInstance, ring: SecretRing) -> Result<Self, Failure> {
        let client =
            client_builder().build().map_err(|error| Failure::failed(error.to_string()))?;
        let credential = ClientSecretPost::new(options.client.as_str());
        let (endpoint, audience) = (options.token_endpoint.clone(), options.audience.clone());
        Ok(match options.way {
            Way::Middleware => {
                let fallback = FallbackMiddleware::new(ring, credential).profile(Profile::Auth0);
                let client = reqwest_middleware::ClientBuilder::new(client).with(fallback).build();
                Self::Middleware { client, endpoint, audience }
            }
            Way::Layer => {
                let layer = FallbackLayer::new(ring, credential).profile(Profile::Auth0);
                Self::Layer { client, layer, endpoint, audience }
            }
            Way::Ordinary => {
                Self::Ordinary { client, ring, id: options.client.clone(), endpoint, audience }
            }
        })
    }

    /// Signs in once. `Err` says what the program got instead of a token.
    async fn once(&self) -> Result<Option<Authenticated>, String> {
        match self {
            Self::Middleware { client, endpoint, audience } => {
                let form = [("grant_type", "client_credentials"), ("audience", audience)];
                let answer = client
                    .post(endpoint.clone())
                    .form(&form)
                    .send()
                    .await
                    .map_err(|error| error.to_string())?;
                let with = answer.extensions().get::<Authenticated>().cloned();
                read(answer.status(), answer.bytes().await)?;
                Ok(with)
            }
            Self::Layer { client, layer, endpoint, audience } => {
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("grant_type", "client_credentials")
                    .append_pair("audience", audience)
                    .finish();
                let request = http::Request::post(endpoint.as_str())
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(reqwest::Body::from(form))
                    .map_err(|error| error.to_string())?;
                let answer = layer
                    .layer(ReqwestService::new(client.clone()))
                    .oneshot(request)
                    .await
                    .map_err(|error| error.to_string())?;
                let with = answer.body().authenticated().cloned();
                let status = answer.status();
                let body = http_body_util::BodyExt::collect(answer.into_body()).await;
                read(status, body.map(|body| body.to_bytes()))?;
                Ok(with)
            }
            Self::Ordinary { client, ring, id, endpoint, audience } => {
                let list = ring.snapshot().list();
                let form = [
                    ("grant_type", "client_credentials"),
                    ("audience", audience),
                    ("client_id", id),
                    ("client_secret", list.preferred().expose()),
                ];
                let answer = client
                    .post(endpoint.clone())
                    .form(&form)
                    .send()
                    .await
                    .map_err(|error| error.to_string())?;
                read(answer.status(), answer.bytes().await)?;
                Ok(None)
            }
        }
    }
}

fn read<B, E: std::fmt::Display>(
    status: http::StatusCode,
    body: Result<B, E>,
) -> Result<(), String> {
    body.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
}
