//! What is served where. Nothing else is: this is no proxy to anywhere.

use http::{Method, StatusCode};
use keyswap_admin::authority::TokenEndpoint;
use serde_json::Value;
use url::Url;

use super::refusal::Refusal;
use crate::configuration::ProxyTable;

const HEALTH: &str = "/healthz";
const METRICS: &str = "/metrics";
const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// An endpoint of the server that takes the client's secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Endpoint {
    /// What the server's metadata call it (RFC 8414 section 2).
    pub(super) name: &'static str,
    /// The server's address of it; the proxy's has the same path.
    pub(super) url: Url,
}

impl Endpoint {
    pub(super) fn path(&self) -> &str {
        self.url.path()
    }
}

/// All that is served.
#[derive(Debug)]
pub(super) struct Routes {
    /// The token endpoint is the first.
    endpoints: Vec<Endpoint>,
    issuer: Option<Url>,
}

/// What a request is for.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Route<'a> {
    Endpoint(&'a Endpoint),
    /// The server's metadata, at this address of the server.
    Discovery(Url),
    Health,
    Metrics,
}

impl Routes {
    /// `Err` says which two endpoints get into each other's way.
    pub(super) fn new(token: &TokenEndpoint, table: &ProxyTable) -> Result<Self, String> {
        let more = [
            ("introspection_endpoint", &table.introspection_endpoint),
            ("revocation_endpoint", &table.revocation_endpoint),
        ];
        let mut endpoints = vec![Endpoint { name: "token_endpoint", url: token.url.clone() }];
        for (name, url) in more {
            let Some(url) = url else { continue };
            if url.origin() != token.url.origin() {
                return Err(format!(
                    "the `{name}` of [proxy] is at another server than the token endpoint, to which alone the secret goes"
                ));
            }
            endpoints.push(Endpoint { name, url: url.clone() });
        }
        for (position, endpoint) in endpoints.iter().enumerate() {
            let taken = endpoints[..position].iter().any(|other| other.path() == endpoint.path());
            let own = [HEALTH, METRICS].contains(&endpoint.path())
                || endpoint.path().contains("/.well-known/");
            if taken || own {
                return Err(format!(
                    "the `{}` has the path {}, which something else has here",
                    endpoint.name,
                    endpoint.path()
                ));
            }
        }
        Ok(Self { endpoints, issuer: token.issuer.clone() })
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// What a request with this method and path is for.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Route<'_>, Refusal> {
        if let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.path() == path) {
            return match *method {
                Method::POST => Ok(Route::Endpoint(endpoint)),
                _ => Err(Refusal::method("POST", format!("{path} takes POST alone"))),
            };
        }
        let route = match path {
            HEALTH | METRICS => Some(looked_at(path)),
            _ => self.metadata(path).map(Route::Discovery),
        };
        match route {
            Some(route) if [Method::GET, Method::HEAD].contains(method) => Ok(route),
            Some(_) => Err(Refusal::method("GET, HEAD", format!("{path} is only read"))),
            None => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!("keyswap proxy serves {}, and nothing else", self.described().join(", ")),
            )),
        }
    }

    /// What a request to where the proxy is only looked at is for.
    pub(super) fn find_looked_at(method: &Method, path: &str) -> Result<Route<'static>, Refusal> {
        match path {
            HEALTH | METRICS if [Method::GET, Method::HEAD].contains(method) => Ok(looked_at(path)),
            HEALTH | METRICS => Err(Refusal::method("GET, HEAD", format!("{path} is only read"))),
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!(
                    "keyswap proxy serves GET {HEALTH}, GET {METRICS} at this address, and nothing else"
                ),
            )),
        }
    }

    /// The requests that are answered, for a person.
    pub(super) fn described(&self) -> Vec<String> {
        let endpoints = self.endpoints.iter().map(|endpoint| format!("POST {}", endpoint.path()));
        let metadata = [OPENID, OAUTH].map(|path| format!("GET {path}"));
        let metadata = metadata.into_iter().filter(|_| self.issuer.is_some());
        endpoints
            .chain(metadata)
            .chain([HEALTH, METRICS].map(|path| format!("GET {path}")))
            .collect()
    }

    /// Where the server has the metadata that are asked for by this path.
    ///
    /// A client builds that path from the issuer: OpenID Connect Discovery section 4 appends to its path, RFC 8414
    /// section 3.1 puts it before. One that took this proxy's address for the issuer asks for it without.
    fn metadata(&self, path: &str) -> Option<Url> {
        let issuer = self.issuer.as_ref()?;
        let of_issuer = issuer.path().trim_end_matches('/');
        let asked = [OPENID, OAUTH].into_iter().find_map(|suffix| {
            let appended = format!("{of_issuer}{suffix}");
            let inserted = format!("{suffix}{of_issuer}");
            if path == appended || path == inserted {
                return Some(path.to_owned());
            }
            let usual = if suffix == OPENID { appended } else { inserted };
            (path == suffix).then_some(usual)
        })?;
        let mut url = issuer.clone();
        url.set_path(&asked);
        url.set_query(None);
        Some(url)
    }

    /// The server's metadata with the endpoints that are served here at the proxy's address; `None` if they are none.
    pub(super) fn rewritten(&self, document: &[u8], own: &str) -> Option<Vec<u8>> {
        let Ok(Value::Object(mut document)) = serde_json::from_slice(document) else { return None };
        for endpoint in &self.endpoints {
            if let Some(address) = document.get_mut(endpoint.name) {
                *address = format!("{own}{}", endpoint.path()).into();
            }
        }
        // The same once more, signed by the server, and what it says would come before the rest (RFC 8414 section 2.1).
        document.remove("signed_metadata");
        serde_json::to_vec(&document).ok()
    }
}

fn looked_at(path: &str) -> Route<'static> {
    if path == HEALTH { Route::Health } else { Route::Metrics }
}

impl Route<'_> {
    /// For metrics and traces: the path as it is served.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Endpoint(endpoint) => endpoint.path(),
            Self::Discovery(url) => url.path(),
            Self::Health => HEALTH,
            Self::Metrics => METRICS,
        }
    }
}

#[cfg(test)]
mod tests {
    use keyswap_admin::ClientAuthentication;
    use keyswap_tower::Profile;
    use serde_json::json;

    use super::*;

    fn routes(token: &str, issuer: &str, more: &str) -> Result<Routes, String> {
        let endpoint =
            TokenEndpoint::new(token.parse().unwrap(), Profile::Auto, ClientAuthentication::Post);
        Routes::new(&endpoint.issuer(issuer.parse().unwrap()), &toml::from_str(more).unwrap())
    }

    fn realm() -> Routes {
        let realm = "https://login.example/realms/shop";
        let more = format!("revocation_endpoint = \"{realm}/revoke\"");
        routes(&format!("{realm}/token"), realm, &more).unwrap()
    }

    #[test]
    fn metadata_are_found_by_each_path_that_a_client_builds() {
        let server = "https://login.example";
        let appended = format!("/realms/shop{OPENID}");
        let inserted = format!("{OAUTH}/realms/shop");
        for (asked, expected) in [
            (appended.as_str(), appended.as_str()),
            (&inserted, &inserted),
            (OPENID, &appended),
            (OAUTH, &inserted),
            (&format!("/realms/shop{OAUTH}"), &format!("/realms/shop{OAUTH}")),
        ] {
            let routes = realm();
            let found = routes.find(&Method::GET, asked).unwrap();
            assert_eq!(
                found,
                Route::Discovery(format!("{server}{expected}").parse().unwrap()),
                "{asked}"
            );
        }
        let auth0 = routes("https://a.example/oauth/token", "https://a.example/", "").unwrap();
        for path in [OPENID, OAUTH] {
            let url = format!("https://a.example{path}").parse().unwrap();
            assert_eq!(auth0.find(&Method::HEAD, path).unwrap(), Route::Discovery(url));
        }
    }

    #[test]
    fn what_is_not_served_is_refused_and_what_is_served_is_named() {
        let routes = realm();
        let refused = routes.find(&Method::POST, "/realms/shop/users").unwrap_err();
        for served in ["POST /realms/shop/token", "POST /realms/shop/revoke", "GET /healthz"] {
            assert!(refused.reason().contains(served), "{}", refused.reason());
        }
        for path in
            ["", "/", "/realms/shop/token/", "/realms/../realms/shop/token", "//evil.example/"]
        {
            assert!(routes.find(&Method::POST, path).is_err(), "{path}");
        }
        assert!(
            routes
                .find(&Method::GET, "/realms/shop/token")
                .unwrap_err()
                .reason()
                .contains("POST alone")
        );
        assert!(routes.find(&Method::DELETE, HEALTH).unwrap_err().reason().contains("only read"));
    }

    #[test]
    fn endpoints_that_cannot_be_told_apart_or_are_elsewhere_are_refused() {
        let with =
            |more: &str| routes("https://a.example/token", "https://a.example", more).unwrap_err();
        assert!(
            with("revocation_endpoint = \"https://a.example/token\"").contains("the path /token")
        );
        assert!(with("revocation_endpoint = \"https://a.example/healthz\"").contains("/healthz"));
        let elsewhere = with("introspection_endpoint = \"https://b.example/introspect\"");
        assert!(elsewhere.contains("another server"), "{elsewhere}");
    }

    #[test]
    fn metadata_name_the_proxy_for_what_it_serves_and_the_server_for_the_rest() {
        let document = json!({
            "issuer": "https://login.example/realms/shop",
            "token_endpoint": "https://login.example/realms/shop/token",
            "revocation_endpoint": "https://login.example/realms/shop/revoke",
            "introspection_endpoint": "https://login.example/realms/shop/introspect",
            "signed_metadata": "e30.e30.",
            "scopes_supported": ["a"],
        });
        let own = "http://127.0.0.1:4480";
        let rewritten = realm().rewritten(document.to_string().as_bytes(), own).unwrap();
        let expected = json!({
            "issuer": "https://login.example/realms/shop",
            "token_endpoint": "http://127.0.0.1:4480/realms/shop/token",
            "revocation_endpoint": "http://127.0.0.1:4480/realms/shop/revoke",
            "introspection_endpoint": "https://login.example/realms/shop/introspect",
            "scopes_supported": ["a"],
        });
        assert_eq!(serde_json::from_slice::<Value>(&rewritten).unwrap(), expected);
        for none in ["", "[]", "<html>"] {
            assert_eq!(realm().rewritten(none.as_bytes(), own), None);
        }
    }
}
