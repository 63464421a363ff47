//! Where a secret may be sent.

use std::error::Error;
use std::fmt;

use keyswap_tower::Origin;
use reqwest::Url;

/// Whether a secret may be sent to this URL: over TLS, or to the loopback interface.
///
/// Loopback is 127.0.0.0/8, `[::1]` and the name `localhost`, with the names under it (RFC 6761
/// section 6.3).
///
/// ```
/// use keyswap_reqwest::check_origin;
///
/// assert!(check_origin(&"https://auth.example/token".parse()?).is_ok());
/// assert!(check_origin(&"http://127.0.0.1:8080/token".parse()?).is_ok());
/// let error = check_origin(&"http://auth.example/token".parse()?).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "no client secret is sent to http://auth.example in clear text: use https, or a loopback address"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`OriginError`] names scheme and host, and no other part of the URL.
pub fn check_origin(url: &Url) -> Result<(), OriginError> {
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)) {
        return Ok(());
    }
    Err(OriginError { origin: origin(url), redirected_to: None })
}

/// Whether the answer came from where the request was sent to.
pub(crate) fn check_answer(request: &Url, answer: &Url) -> Result<(), OriginError> {
    if request.origin() == answer.origin() {
        return Ok(());
    }
    Err(OriginError { origin: origin(request), redirected_to: Some(origin(answer)) })
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(Origin::is_loopback_host)
}

/// Scheme, host and port. Never the path, the query or the user information, which may hold secrets.
fn origin(url: &Url) -> String {
    let mut origin = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        origin.push_str(&format!(":{port}"));
    }
    origin
}

/// A secret would have gone, or may have gone, where it must not go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OriginError {
    origin: String,
    redirected_to: Option<String>,
}

impl OriginError {
    /// Whether the client followed a redirect to another origin, so that the secret may be known there.
    /// Otherwise nothing was sent.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        self.redirected_to.is_some()
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.redirected_to {
            None => write!(
                f,
                "no client secret is sent to {} in clear text: use https, or a loopback address",
                self.origin
            ),
            Some(other) => write!(
                f,
                "the HTTP client followed a redirect from {} to {other}, and may have sent the client \
                 secret there: turn redirects off (keyswap_reqwest::client_builder does), and replace \
                 the secret if you do not trust {other}",
                self.origin
            ),
        }
    }
}

impl Error for OriginError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> bool {
        check_origin(&url.parse().unwrap()).is_ok()
    }

    #[test]
    fn clear_text_goes_to_loopback_alone() {
        for url in [
            "http://127.0.0.1/",
            "http://127.9.9.9:1/",
            "http://2130706433/",
            "http://[::1]:8080/",
            "http://localhost:3000/token",
            "http://LOCALHOST./",
            "http://auth.localhost/",
            "https://auth.example",
        ] {
            assert!(check(url), "{url}");
        }
        for url in [
            "http://auth.example/",
            "http://10.0.0.1/",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://notlocalhost/",
            "http://[::2]/",
            "http://0.0.0.0/",
            "http://127.0.0.1@auth.example/",
            "ftp://127.0.0.1/",
        ] {
            assert!(!check(url), "{url}");
        }
    }

    #[test]
    fn errors_show_the_origin_and_no_other_part() {
        let url: Url =
            "http://user:hunter2@auth.example:8080/a?client_secret=hunter2".parse().unwrap();
        let error = check_origin(&url).unwrap_err();
        assert!(error.to_string().contains("http://auth.example:8080 in clear"), "{error}");
        let other = "https://other.example/?hunter2".parse().unwrap();
        let redirected = check_answer(&url, &other).unwrap_err();
        assert!(redirected.is_redirect() && !error.is_redirect());
        assert!(!format!("{error}{error:?}{redirected}{redirected:?}").contains("hunter2"));
    }
}
