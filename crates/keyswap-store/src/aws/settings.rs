//! What AWS's own tools would use: the one place where credentials come from, for whatever asks AWS for something.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};

/// One call, with what the SDK repeats of it.
pub(super) const CALL: Duration = Duration::from_secs(15);
const ATTEMPT: Duration = Duration::from_secs(5);

/// Credentials, and the region where none is named, from where AWS's own tools have them: environment, profile, role of
/// the container or machine, web identity. Where there are none is found out at the first call.
#[doc(hidden)]
pub async fn aws_settings(region: Option<&str>) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(ATTEMPT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL);
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts.build());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    loader.load().await
}
