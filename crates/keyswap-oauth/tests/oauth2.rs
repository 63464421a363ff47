//! The oauth2 crate over the fallback, at an embedded authorization server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Extensions;
use keyswap_core::{FallbackPolicy, Revision, Secret, SecretList, SecretRing};
use keyswap_oauth::OAuth2Client;
use keyswap_reqwest::{FallbackMiddleware, client_builder};
use keyswap_testkit::{AuthorizationServer, Client};
use keyswap_tower::{
    ClientFirst, ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential, Profile,
    ReadVerdict,
};
use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenResponse};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, RequestTokenError, TokenResponse, TokenUrl,
};
use reqwest_middleware::reqwest::{Request, Response, ResponseBuilderExt};
use reqwest_middleware::{ClientBuilder, Error, Middleware, Next};

const AUDIENCE: &str = "https://api.example/";
/// The one that a program has set at the crate, by mistake.
const ITS_OWN: &str = "the-crates-own-secret";

async fn server() -> AuthorizationServer {
    AuthorizationServer::builder()
        .client(Client::new("billing", "the-new-secret").grant(AUDIENCE))
        .start()
        .await
        .unwrap()
}

fn ring() -> SecretRing {
    let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("the-{id}-secret")).unwrap();
    let list = SecretList::new([secret("old"), secret("new")]).unwrap();
    // No nodes that disagree, and nobody who brings another list: each secret is tried once.
    let policy =
        FallbackPolicy::default().propagation_window(Duration::ZERO).revision_wait(Duration::ZERO);
    SecretRing::with_policy(list, Revision::INITIAL, policy)
}

/// Both credentials that the server knows.
fn credentials() -> [Arc<dyn Credential + Send + Sync>; 2] {
    [Arc::new(ClientSecretBasic::new("billing")), Arc::new(ClientSecretPost::new("billing"))]
}

fn http(credential: Arc<dyn Credential + Send + Sync>) -> OAuth2Client {
    let fallback = FallbackMiddleware::new(ring(), credential).profile(Profile::Auth0);
    OAuth2Client::new(client_builder().build().unwrap(), fallback)
}

type TokenError = RequestTokenError<Error, oauth2::StandardErrorResponse<BasicErrorResponseType>>;

/// A token by the crate's client, which has a secret of its own if it is told where to put it.
async fn token(
    endpoint: String,
    own: Option<AuthType>,
    http: &OAuth2Client,
) -> Result<BasicTokenResponse, TokenError> {
    let mut client = BasicClient::new(ClientId::new("billing".into()));
    if let Some(place) = own {
        client = client.set_client_secret(ClientSecret::new(ITS_OWN.into())).set_auth_type(place);
    }
    let client = client.set_token_uri(TokenUrl::new(endpoint).unwrap());
    let request = client.exchange_client_credentials().add_extra_param("audience", AUDIENCE);
    request.request_async(http).await
}

#[tokio::test]
async fn a_client_without_a_secret_falls_back_and_its_client_id_in_the_body_is_no_obstacle() {
    for credential in credentials() {
        let server = server().await;
        let http = http(credential);
        let answer = token(server.token_endpoint(), None, &http).await.unwrap();
        assert!(server.accepts_token(answer.access_token().secret(), AUDIENCE));
        let counts = server.counts();
        assert_eq!((counts.token_refused, counts.token_accepted), (1, 1));
    }
}

#[tokio::test]
async fn where_every_secret_is_refused_the_crate_reads_the_servers_error() {
    let server = server().await;
    server.set_secret("billing", "another-secret");
    for credential in credentials() {
        let error = token(server.token_endpoint(), None, &http(credential)).await.unwrap_err();
        let RequestTokenError::ServerResponse(answer) = &error else { panic!("{error:?}") };
        assert_eq!(answer.error().as_ref(), "access_denied");
        for shown in [format!("{error}"), format!("{error:?}")] {
            assert!(!shown.contains("the-old-secret") && !shown.contains("the-new-secret"));
        }
    }
}

/// The `Authorization` header and the body of a request.
type Sent = (Option<String>, String);

/// In place of a server: notes what is sent there, and takes nothing.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Vec<Sent>>>);

impl Wire {
    fn sent(&self) -> Vec<Sent> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Middleware for Wire {
    async fn handle(
        &self,
        request: Request,
        _extensions: &mut Extensions,
        _next: Next<'_>,
    ) -> Result<Response, Error> {
        let header = request.headers().get("authorization").map(|value| value.to_str().unwrap());
        let body = request.body().unwrap().as_bytes().unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        self.0.lock().unwrap().push((header.map(str::to_owned), body));
        let refusal = http::Response::builder()
            .url(request.url().clone())
            .status(401)
            .header("content-type", "application/json")
            .body(r#"{"error":"invalid_client"}"#);
        Ok(refusal.unwrap().into())
    }
}

/// Whether a request was signed by the ring (and so refused twice) or by the crate.
async fn signed_by_the_ring(
    credential: impl Credential + Send + Sync + 'static,
    own: Option<AuthType>,
) -> bool {
    let wire = Wire::default();
    let client = ClientBuilder::new(client_builder().build().unwrap())
        .with(FallbackMiddleware::new(ring(), credential))
        .with(wire.clone())
        .build();
    let http = OAuth2Client::from(client);
    let has_own = own.is_some();
    token("http://127.0.0.1:9/token".into(), own, &http).await.unwrap_err();
    let sent = wire.sent();
    let by_the_crate = |(header, body): &Sent| {
        let pair = "Basic YmlsbGluZzp0aGUtY3JhdGVzLW93bi1zZWNyZXQ=";
        header.as_deref() == Some(pair) || body.contains(ITS_OWN)
    };
    if sent.iter().any(by_the_crate) {
        assert!(has_own);
        assert_eq!(sent.len(), 1, "{sent:?}");
        return false;
    }
    assert!(sent.len() == 2 && sent[0] != sent[1], "{sent:?}");
    // However the request is signed, it says once in the body who is signing in.
    assert!(sent.iter().all(|(header, body)| {
        body.matches("client_id=billing").count() == usize::from(header.is_none() || !has_own)
    }));
    true
}

#[tokio::test]
async fn a_secret_that_was_set_at_the_crate_is_replaced_by_the_same_method_and_gets_in_the_way_of_others()
 {
    let basic = || ClientSecretBasic::new("billing");
    let post = || ClientSecretPost::new("billing");
    let jwt = || ClientSecretJwt::new("billing");
    assert!(signed_by_the_ring(basic(), None).await);
    assert!(signed_by_the_ring(post(), None).await);
    assert!(signed_by_the_ring(jwt(), None).await);

    assert!(signed_by_the_ring(basic(), Some(AuthType::BasicAuth)).await);
    assert!(!signed_by_the_ring(post(), Some(AuthType::BasicAuth)).await);
    assert!(!signed_by_the_ring(jwt(), Some(AuthType::BasicAuth)).await);

    assert!(!signed_by_the_ring(basic(), Some(AuthType::RequestBody)).await);
    assert!(signed_by_the_ring(post(), Some(AuthType::RequestBody)).await);
    assert!(!signed_by_the_ring(jwt(), Some(AuthType::RequestBody)).await);
}

/// How often an authorization code is sent while the server refuses every secret.
async fn exchanges<V>(profile: V) -> usize
where
    V: ReadVerdict + Send + Sync + 'static,
{
    let wire = Wire::default();
    let fallback =
        FallbackMiddleware::new(ring(), ClientSecretBasic::new("billing")).profile(profile);
    let client = ClientBuilder::new(client_builder().build().unwrap())
        .with(fallback)
        .with(wire.clone())
        .build();
    let http = OAuth2Client::from(client);
    let client = BasicClient::new(ClientId::new("billing".into()))
        .set_token_uri(TokenUrl::new("http://127.0.0.1:9/token".into()).unwrap());
    let code = AuthorizationCode::new("the-code".into());
    client.exchange_code(code).request_async(&http).await.unwrap_err();
    let sent = wire.sent();
    assert!(sent.iter().all(|(_, body)| body.contains("code=the-code")));
    sent.len()
}

#[tokio::test]
async fn an_authorization_code_is_sent_again_where_the_server_looks_at_the_client_first() {
    assert_eq!(exchanges(Profile::Rfc6749).await, 1);
    assert_eq!(exchanges(ClientFirst(Profile::Rfc6749)).await, 2);
    assert_eq!(exchanges(Profile::OidcProvider).await, 2);
}

#[test]
fn debug_shows_no_header_of_the_client() {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-key", "hunter2".parse().unwrap());
    let client = client_builder().default_headers(headers).build().unwrap();
    let http = OAuth2Client::new(
        client,
        FallbackMiddleware::new(ring(), ClientSecretBasic::new("billing")),
    );
    let shown = format!("{http:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("the-old-secret"), "{shown}");
}
