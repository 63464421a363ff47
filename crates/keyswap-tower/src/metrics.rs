//! The numbers of a ring, handed to the facade `metrics` every few seconds. With the feature `metrics`.

use std::time::Duration;

use keyswap_core::metrics::RingMetrics;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Records the numbers of a ring at once, at each interval (never below 100 ms), and whenever its list changes. Spawn it: it
/// never ends by itself.
///
/// For a program whose exporter is scraped; what [`RingMetrics`] hands on is listed
/// [with it](keyswap_core::metrics).
///
/// ```
/// use std::time::Duration;
/// use keyswap_core::metrics::RingMetrics;
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_tower::metrics::record_every;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// RingMetrics::describe();
/// let metrics = RingMetrics::new(ring.clone(), "billing");
/// let recording = tokio::spawn(record_every(Duration::from_secs(5), metrics));
/// # recording.abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn record_every(every: Duration, mut metrics: RingMetrics) {
    let mut changes = metrics.ring().subscribe();
    let mut ticks = interval(every.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = changes.changed() => {}
        }
        metrics.record(Instant::now().into_std());
    }
}
