//! What the tests of whole rotations share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Extensions;
use keyswap_admin::rotation::Timestamp;
use keyswap_core::FallbackPolicy;
use keyswap_reqwest::{FallbackMiddleware, client_builder};
use keyswap_store::{FileStore, join};
use keyswap_tower::Authenticated;
use keyswap_tower::credential::Credential;
use keyswap_tower::verdict::ReadVerdict;
use reqwest_middleware::{Middleware, Next};
use tokio::task::JoinHandle;

/// A program that signs in without a pause.
pub(crate) struct Program {
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
}

/// How its requests went.
pub(crate) struct Ended {
    #[allow(dead_code, reason = "not every test tells of it")]
    pub(crate) requests: u64,
    /// When requests began that failed, in milliseconds since 1970-01-01T00:00Z.
    pub(crate) failed_at: Vec<u64>,
    refused: u64,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    /// When requests began that failed, in milliseconds since 1970-01-01T00:00Z.
    failed_at: Mutex<Vec<u64>>,
    /// Attempts that the server refused, also those that a fallback made good.
    refused: AtomicU64,
    end: AtomicBool,
}

/// Below the fallback, where each attempt passes.
struct CountRefusals(Arc<Counts>);

#[async_trait::async_trait]
impl Middleware for CountRefusals {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let answer = next.run(request, extensions).await;
        let refused = answer.as_ref().is_ok_and(|answer| answer.status() == 401);
        self.0.refused.fetch_add(u64::from(refused), Ordering::Relaxed);
        answer
    }
}

impl Program {
    /// Follows the store, and sends the body to the token endpoint again and again.
    pub(crate) async fn start<C, V>(
        store: &FileStore,
        (credential, profile): (C, V),
        endpoint: String,
        body: String,
        window: Duration,
    ) -> Self
    where
        C: Credential + Clone + Send + Sync + 'static,
        V: ReadVerdict + Clone + Send + Sync + 'static,
    {
        let policy = FallbackPolicy::default().propagation_window(window);
        let (ring, member) = join(store.clone(), "billing-app", policy).await.unwrap();
        let counts = Arc::<Counts>::default();
        let client = reqwest_middleware::ClientBuilder::new(client_builder().build().unwrap())
            .with(FallbackMiddleware::new(ring, credential).profile(profile))
            .with(CountRefusals(counts.clone()))
            .build();
        let load = {
            let counts = counts.clone();
            tokio::spawn(async move {
                while !counts.end.load(Ordering::Relaxed) {
                    let began = Timestamp::now().milliseconds();
                    let answer = client
                        .post(&endpoint)
                        .header("content-type", "application/x-www-form-urlencoded")
                        .body(body.clone())
                        .send()
                        .await;
                    counts.requests.fetch_add(1, Ordering::Relaxed);
                    let accepted = answer
                        .is_ok_and(|answer| answer.extensions().get::<Authenticated>().is_some());
                    if !accepted {
                        counts.failed_at.lock().unwrap().push(began);
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        };
        Self { counts, tasks: vec![load, tokio::spawn(member)] }
    }

    /// Ends it; no request of it has failed. How many attempts were refused on the way.
    pub(crate) async fn stop(self) -> u64 {
        let Ended { requests, failed_at, refused } = self.end().await;
        assert_eq!(failed_at.len(), 0, "of {requests} requests");
        refused
    }

    /// Ends it.
    pub(crate) async fn end(mut self) -> Ended {
        let counts = &self.counts;
        counts.end.store(true, Ordering::Relaxed);
        self.tasks.remove(0).await.unwrap();
        self.tasks.remove(0).abort();
        let requests = counts.requests.load(Ordering::Relaxed);
        assert!(requests > 0);
        let failed_at = std::mem::take(&mut *counts.failed_at.lock().unwrap());
        Ended { requests, failed_at, refused: counts.refused.load(Ordering::Relaxed) }
    }
}
