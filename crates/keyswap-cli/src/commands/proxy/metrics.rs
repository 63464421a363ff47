//! What the proxy tells Prometheus: what the rings count, and its own requests under the names that OpenTelemetry has for
//! them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use keyswap_core::metrics::RingMetrics;
use metrics::{Unit, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use metrics_util::MetricKindMask;
use tokio::time::Instant;

use super::Shared;
use crate::exit::Failure;

/// Of the semantic conventions for HTTP servers, as Prometheus writes them.
const DURATION: &str = "http_server_request_duration_seconds";
const ACTIVE: &str = "http_server_active_requests";
/// Whether a client has secrets.
const READY: &str = "keyswap_proxy_client_ready";

/// The bounds that the semantic conventions advise.
const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// What was said of a secret that has gone is forgotten after this, or a proxy that runs for years would tell of each.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The recorder is the proxy's own, so that nothing else in the process gets between.
pub(super) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    rings: Mutex<BTreeMap<String, RingMetrics>>,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, Failure> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &BOUNDS)
            .map_err(|error| Failure::failed(error.to_string()))?
            .idle_timeout(MetricKindMask::COUNTER | MetricKindMask::GAUGE, Some(FORGOTTEN_AFTER));
        let recorder = builder.build_recorder();
        with_local_recorder(&recorder, || {
            RingMetrics::describe();
            describe_histogram!(
                DURATION,
                Unit::Seconds,
                "Requests of programs, by method, route and status."
            );
            describe_gauge!(ACTIVE, Unit::Count, "Requests of programs that have no answer yet.");
            describe_gauge!(
                READY,
                Unit::Count,
                "1 if the proxy has secrets of the client, else 0."
            );
        });
        let handle = recorder.handle();
        Ok(Self { recorder, handle, rings: Mutex::default() })
    }

    /// A request begins; it has ended when what is returned is dropped.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.count(1.0);
        UnderWay(self)
    }

    fn count(&self, change: f64) {
        with_local_recorder(&self.recorder, || gauge!(ACTIVE).increment(change));
    }

    /// A request was answered. One that went nowhere has no route.
    pub(super) fn answered(
        &self,
        method: &Method,
        route: &str,
        status: StatusCode,
        took: Duration,
    ) {
        let labels = [
            ("http_request_method", known(method).to_owned()),
            ("http_route", route.to_owned()),
            ("http_response_status_code", status.as_u16().to_string()),
        ];
        with_local_recorder(&self.recorder, || {
            histogram!(DURATION, &labels).record(took.as_secs_f64())
        });
    }

    /// All of it, as Prometheus reads it.
    pub(super) fn render(&self, shared: &Shared) -> String {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        with_local_recorder(&self.recorder, || {
            for client in &shared.clients {
                let ring = client.ring().ok();
                gauge!(READY, "client_id" => client.id.clone()).set(if ring.is_some() {
                    1.0
                } else {
                    0.0
                });
                if let Some(ring) = ring {
                    let new = || RingMetrics::new(ring.clone(), &client.id);
                    rings
                        .entry(client.id.clone())
                        .or_insert_with(new)
                        .record(Instant::now().into_std());
                }
            }
        });
        drop(rings);
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// A request that has no answer yet.
pub(super) struct UnderWay<'a>(&'a Metrics);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.count(-1.0);
    }
}

/// A program may write anything there, and each would be a series of its own.
pub(super) fn known(method: &Method) -> &str {
    let known = [
        &Method::GET,
        &Method::HEAD,
        &Method::POST,
        &Method::PUT,
        &Method::PATCH,
        &Method::DELETE,
        &Method::OPTIONS,
    ];
    if known.contains(&method) { method.as_str() } else { "_OTHER" }
}
