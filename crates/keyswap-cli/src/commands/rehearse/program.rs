//! A program of the rehearsal: in this process, over the store of the rehearsal, signing in all the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use keyswap_admin::rotation::Timestamp;
use keyswap_store::join;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::commands::proxy::client::{Signing, SignsIn};
use crate::demo::instance::Tally;
use crate::exit::Failure;
use crate::store::ConfiguredStore;

/// What a program did.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) tally: Tally,
    /// When requests began that failed.
    pub(super) failed_at: Vec<Timestamp>,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.tally.add(&other.tally);
        self.failed_at.extend(other.failed_at);
    }
}

/// One that runs.
pub(super) struct Program {
    pub(super) application: String,
    seen: Arc<Mutex<Seen>>,
    end: watch::Sender<bool>,
    load: JoinHandle<()>,
    member: JoinHandle<()>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.load.abort();
        self.member.abort();
    }
}

impl Program {
    /// Reads the list, reports, and signs in again and again with this request.
    pub(super) async fn start(
        store: &ConfiguredStore,
        application: &str,
        signs_in: &SignsIn,
        request: TokenRequest,
    ) -> Result<Self, Failure> {
        let (ring, member) = join(store.clone(), application, signs_in.policy()).await?;
        let service = signs_in.over(ring);
        let seen = Arc::<Mutex<Seen>>::default();
        let (end, mut ended) = watch::channel(false);
        let counts = Arc::clone(&seen);
        let load = tokio::spawn(async move {
            while !*ended.borrow() {
                let began = Timestamp::now();
                let outcome = request.send(&service).await;
                {
                    let mut seen = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    if outcome.is_err() {
                        seen.failed_at.push(began);
                    }
                    seen.tally.count(outcome);
                }
                let _ = tokio::time::timeout(request.every, ended.changed()).await;
            }
        });
        let application = application.to_owned();
        Ok(Self { application, seen, end, load, member: tokio::spawn(member) })
    }

    /// Lets it finish its request, and end.
    pub(super) async fn stop(mut self) -> Seen {
        self.end.send_replace(true);
        let _ = (&mut self.load).await;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a program gets a token.
#[derive(Clone)]
pub(super) struct TokenRequest {
    pub(super) url: String,
    pub(super) form: String,
    /// The pause behind each.
    pub(super) every: Duration,
}

impl TokenRequest {
    async fn send(
        &self,
        service: &Signing,
    ) -> Result<Option<keyswap_tower::Authenticated>, String> {
        let request = http::Request::post(&self.url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(reqwest::Body::from(self.form.clone()))
            .map_err(|error| error.to_string())?;
        let answer = service.clone().oneshot(request).await.map_err(|error| error.to_string())?;
        let with = answer.body().authenticated().cloned();
        let status = answer.status();
        let body = answer.into_body().collect().await;
        body.map_err(|error| error.to_string())?;
        match status.is_success() {
            true => Ok(with),
            false => Err(format!("status {}", status.as_u16())),
        }
    }
}
