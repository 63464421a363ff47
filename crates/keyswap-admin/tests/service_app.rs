//! A whole rotation at an embedded Okta whose management requests a service app makes, and what is said where it may
//! not.

use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyswap_admin::authority::PrivateKey;
use keyswap_admin::{Application, Authority, AuthorityErrorKind, Okta, RotationPolicy, Rotator};
use keyswap_core::{FallbackPolicy, Secret, SecretList};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{
    AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Provider, Times,
};

const OLD: &str = "old-secret-of-billing-0123456789";
const WINDOW: Duration = Duration::from_millis(100);

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn private(pair: &EcdsaKeyPair) -> PrivateKey {
    let text = STANDARD.encode(pair.to_pkcs8v1().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    PrivateKey::from_pem(pem.as_bytes()).unwrap()
}

/// A server with a service app that has this key and these scopes.
async fn server(pair: &EcdsaKeyPair, scopes: &[&str]) -> AuthorizationServer {
    let public = pair.public_key().as_ref().to_vec();
    let app = Client::new("0oarotator", "no secret of a service app is used")
        .signed_by(move |message, signature| {
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public);
            public.verify(message, signature).is_ok()
        })
        .grant(Client::OKTA_ORG)
        .scopes(scopes.iter().copied().map(str::to_owned));
    let billing = Client::new("billing", OLD).authentication(ClientAuthentication::SecretBasic);
    AuthorizationServer::builder()
        .provider(Provider::Okta)
        .nodes(3)
        .propagation_window(WINDOW)
        .client(billing.grant("default").scopes(["read"]))
        .client(app)
        .start()
        .await
        .unwrap()
}

fn okta(server: &AuthorizationServer, key: PrivateKey) -> Okta {
    Okta::builder(server.url().parse().unwrap(), "billing")
        .service_app("0oarotator", key, Some("key-1".to_owned()))
        .scope("read")
        .propagation_window(WINDOW)
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_made_by_a_service_app_with_a_private_key_and_no_api_token() {
    let pair = key();
    let server = server(&pair, &["okta.apps.manage"]).await;
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
    let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
    store.import(&SecretList::new([old]).unwrap()).await.unwrap();
    let policy = FallbackPolicy::default().propagation_window(WINDOW);
    let (_, member) = keyswap_store::join(store.clone(), "invoices", policy).await.unwrap();
    tokio::spawn(member);
    // A token that is lost on the way is asked for again, with an assertion of its own.
    let policy = RotationPolicy::new([Application::new("invoices")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20));
    Rotator::new(okta(&server, private(&pair)), store.clone()).run(policy).await.unwrap();
    let document = store.published().await.unwrap().unwrap();
    assert!(server.accepts("billing", document.list.preferred().expose()));
    assert_eq!(server.secrets("billing").len(), 1);
}

#[tokio::test]
async fn a_scope_that_is_not_granted_is_named_with_the_place_where_it_is_granted() {
    let pair = key();
    let server = server(&pair, &["okta.users.read"]).await;
    let error = okta(&server, private(&pair)).check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Permissions);
    let text = error.to_string();
    assert!(text.contains("invalid_scope") && text.contains("okta.apps.manage"), "{text}");
    assert!(text.contains("Okta API Scopes") && text.contains("Admin roles"), "{text}");
}

#[tokio::test]
async fn a_key_that_is_not_the_apps_is_refused_and_a_throttled_token_request_says_when_to_come_back()
 {
    let pair = key();
    let server = server(&pair, &["okta.apps.manage"]).await;
    let error = okta(&server, private(&key())).check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Credentials);
    let text = error.to_string();
    assert!(text.contains("invalid_client") && text.contains("registered and active"), "{text}");

    let retry_after = Some(Duration::from_secs(7));
    let limited = Fault::RateLimited { endpoint: Endpoint::Token, retry_after, reset_after: None };
    server.inject(limited, Times::ONCE);
    let okta = okta(&server, private(&pair));
    let error = okta.check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Throttled);
    assert!(error.to_string().contains("says to wait 7 s"), "{error}");
    okta.check().await.unwrap();
}
