//! Where the secrets of a ring may be sent.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

/// The scheme, host and port of an authorization server (RFC 6454), over TLS or on the loopback
/// interface.
///
/// It is read from a URL, of which the rest does not count: give the token endpoint.
///
/// ```
/// use keyswap_tower::Origin;
///
/// let origin: Origin = "https://auth.example/oauth/token".parse()?;
/// assert_eq!(origin.to_string(), "https://auth.example");
/// assert!(origin.is_of(&"https://AUTH.example:443/other".parse()?));
/// assert!(!origin.is_of(&"https://auth.example.evil.example/oauth/token".parse()?));
///
/// let error = "http://auth.example/token".parse::<Origin>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "http://auth.example is no place for secrets: use https, or a loopback address",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Origin {
    secure: bool,
    /// In lower case.
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// Whether this is the origin of `uri`. One without scheme or host has none.
    #[must_use]
    pub fn is_of(&self, uri: &Uri) -> bool {
        parts(uri).is_some_and(|(secure, authority, port)| {
            secure == self.secure
                && port == self.port
                && authority.host().eq_ignore_ascii_case(&self.host)
        })
    }

    /// Whether a host, as it stands in a URL, is the loopback interface of this machine: 127.0.0.0/8,
    /// `[::1]`, and the name `localhost` with the names under it (RFC 6761 section 6.3).
    #[must_use]
    pub fn is_loopback_host(host: &str) -> bool {
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return address.is_loopback();
        }
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let (start, end) = host.split_at(host.len().saturating_sub("localhost".len()));
        end.eq_ignore_ascii_case("localhost") && (start.is_empty() || start.ends_with('.'))
    }
}

/// Whether the scheme is https, and host and port; `None` for what is neither https nor http.
fn parts(uri: &Uri) -> Option<(bool, &Authority, u16)> {
    let authority = uri.authority()?;
    let scheme = uri.scheme()?;
    let secure = *scheme == Scheme::HTTPS;
    if !secure && *scheme != Scheme::HTTP {
        return None;
    }
    let default = if secure { 443 } else { 80 };
    Some((secure, authority, authority.port_u16().unwrap_or(default)))
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(url: &str) -> Result<Self, InvalidOrigin> {
        let not_a_url = InvalidOrigin { in_clear_text: None };
        let uri: Uri = url.parse().map_err(|_| not_a_url.clone())?;
        let (secure, authority, port) = parts(&uri).ok_or(not_a_url)?;
        let origin = Self { secure, host: authority.host().to_ascii_lowercase().into(), port };
        if !secure && !Self::is_loopback_host(&origin.host) {
            return Err(InvalidOrigin { in_clear_text: Some(origin) });
        }
        Ok(origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.secure { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != default { write!(f, ":{}", self.port) } else { Ok(()) }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// A text that is no [`Origin`]: not an absolute URL with http or https, or one in clear text to another
/// machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidOrigin {
    in_clear_text: Option<Origin>,
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.in_clear_text {
            Some(origin) => {
                write!(f, "{origin} is no place for secrets: use https, or a loopback address")
            }
            // What was given is not repeated: a URL may hold a password.
            None => f.write_str(
                "the origin of an authorization server is given as an absolute URL, for instance \
                 https://auth.example",
            ),
        }
    }
}

impl Error for InvalidOrigin {}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of(origin: &str, uri: &str) -> bool {
        origin.parse::<Origin>().unwrap().is_of(&uri.parse().unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        for uri in [
            "https://auth.example",
            "https://AUTH.EXAMPLE/x?y",
            "https://auth.example:443/token",
            "https://user@auth.example/",
        ] {
            assert!(is_of("https://Auth.example/token", uri), "{uri}");
        }
        for uri in [
            "http://auth.example/token",
            "https://auth.example:8443/token",
            "https://auth.example.evil.example/token",
            "https://evil.example/auth.example",
            "https://auth.example@evil.example/token",
            "https://auth.example./token",
            "wss://auth.example/token",
            "/token",
            "auth.example:443",
            "*",
        ] {
            assert!(!is_of("https://auth.example/token", uri), "{uri}");
        }
        assert!(is_of("http://[::1]:8080/", "http://[::1]:8080/token"));
        assert!(!is_of("http://127.0.0.1/", "https://127.0.0.1/"));
        assert!(is_of("http://127.0.0.1/", "http://127.0.0.1:80/"));
    }

    #[test]
    fn clear_text_is_for_loopback_alone() {
        for url in
            ["http://127.9.9.9:1/", "http://LOCALHOST./", "http://a.localhost", "http://[::1]"]
        {
            assert!(url.parse::<Origin>().is_ok(), "{url}");
        }
        for url in [
            "http://auth.example",
            "http://10.0.0.1",
            "http://notlocalhost",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://127.0.0.1@auth.example",
            "http://[::2]",
            "http://0.0.0.0",
        ] {
            let error = url.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains("use https"), "{error}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for url in
            ["", "hunter2", "/hunter2", "ftp://user:hunter2@auth.example/", "https://", "a b"]
        {
            let error = url.parse::<Origin>().unwrap_err();
            assert!(error.to_string().contains("absolute URL"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let error = "http://user:hunter2@auth.example/?hunter2".parse::<Origin>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        let origin: Origin = "https://user:hunter2@auth.example:8443/?hunter2".parse().unwrap();
        assert_eq!(format!("{origin:?}"), "Origin(https://auth.example:8443)");
    }
}
