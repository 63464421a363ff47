//! A client for token endpoints.

use std::time::Duration;

use reqwest::redirect::Policy;

/// A [`reqwest::ClientBuilder`] with what a client of a token endpoint needs: no redirects, a connect
/// timeout of 5 s, and a timeout of 30 s for each attempt, its answer's body included.
///
/// That requests go out over TLS alone, except to the loopback interface, is checked by
/// [`FallbackMiddleware`](crate::FallbackMiddleware) and [`ReqwestService`](crate::ReqwestService), since
/// reqwest's `https_only` knows no exception.
///
/// ```
/// let client = keyswap_reqwest::client_builder().user_agent("billing/1.0").build()?;
/// # Ok::<(), reqwest::Error>(())
/// ```
pub fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
}
