//! `client_secret_jwt` over sockets, at the authorization server of the testkit, which reads assertions with
//! code of its own.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Balancing, ClientAuthentication};
use keyswap_tower::credential::HmacAlgorithm;
use keyswap_tower::{ClientSecretJwt, Fallback, FallbackLayer, Profile, RequestBody};
use tower::{Layer, ServiceExt};

const AUDIENCE: &str = "https://api.example/";
const WINDOW: Duration = Duration::from_secs(1);

type Http = Client<HttpConnector, RequestBody<Full<Bytes>>>;

async fn server(secret: &str) -> AuthorizationServer {
    let client = keyswap_testkit::Client::new("signer", secret).grant(AUDIENCE);
    AuthorizationServer::builder()
        .nodes(3)
        .propagation_window(WINDOW)
        .balancing(Balancing::PerRequest)
        .client(client.authentication(ClientAuthentication::SecretJwt))
        .start()
        .await
        .unwrap()
}

fn service(algorithm: HmacAlgorithm) -> Fallback<Http, ClientSecretJwt, Profile> {
    let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("{id}-secret")).unwrap();
    let ring = SecretRing::new(SecretList::new(["first", "second"].map(secret)).unwrap());
    FallbackLayer::new(ring, ClientSecretJwt::new("signer").algorithm(algorithm))
        .profile(Profile::Auth0)
        .layer(Client::builder(TokioExecutor::new()).build_http())
}

/// The id of the secret that was accepted, and the number of attempts.
async fn sign_in(
    server: &AuthorizationServer,
    service: &Fallback<Http, ClientSecretJwt, Profile>,
) -> (String, u32) {
    let request = Request::post(server.token_endpoint())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(format!("grant_type=client_credentials&audience={AUDIENCE}")))
        .unwrap();
    let answer = service.clone().oneshot(request).await.unwrap();
    let with = answer.body().authenticated().cloned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let with = with.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&body)));
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(server.accepts_token(body["access_token"].as_str().unwrap(), AUDIENCE));
    (with.id.to_string(), with.attempts)
}

#[tokio::test]
async fn a_refused_assertion_is_followed_by_one_that_the_next_secret_signed() {
    for algorithm in [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512] {
        let server = server("second-secret").await;
        let service = service(algorithm);
        assert_eq!(sign_in(&server, &service).await, ("second".into(), 2), "{algorithm:?}");
        let counts = server.counts();
        assert_eq!((counts.token_refused, counts.token_accepted), (1, 1), "{algorithm:?}");
    }
}

/// Each attempt needs an assertion of its own here: nodes disagree, so that one secret is tried several
/// times, and the server takes no `jti` twice.
#[tokio::test]
async fn no_sign_in_fails_while_a_changed_secret_spreads_over_the_nodes() {
    let server = server("first-secret").await;
    let service = service(HmacAlgorithm::Hs256);
    assert_eq!(sign_in(&server, &service).await, ("first".into(), 1));
    server.set_secret("signer", "second-secret");
    let mut attempts = Vec::new();
    while !server.accepts("signer", "second-secret") {
        attempts.push(sign_in(&server, &service).await.1);
    }
    assert!(attempts.iter().any(|attempts| *attempts > 1), "{attempts:?}");
    while sign_in(&server, &service).await != ("second".into(), 1) {}
}
