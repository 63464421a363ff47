//! What is found out about an Auth0 tenant before anything is changed.

use std::time::Duration;

use keyswap_admin::authority::{Auth0Builder, ChangeAnswer, Probe};
use keyswap_admin::{Auth0, Authority, AuthorityErrorKind, Level};
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Times};
use serde_json::json;

const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";

async fn server(client: Client) -> AuthorizationServer {
    let management = Client::management("rotator", MANAGEMENT);
    AuthorizationServer::builder()
        .client(client)
        .management_client(management)
        .start()
        .await
        .unwrap()
}

fn billing() -> Client {
    Client::new("billing", "old-secret-of-billing-0123456789")
}

/// The tenant at this address of the server.
fn at(base: &str) -> Auth0Builder {
    let secret = Secret::new("management".parse().unwrap(), MANAGEMENT).unwrap();
    let secrets = SecretRing::new(SecretList::new([secret]).unwrap());
    Auth0::builder(base.parse().unwrap(), "billing").management("rotator", secrets)
}

#[tokio::test]
async fn a_client_with_a_key_is_refused_and_its_method_is_named() {
    let server = server(billing().authentication(ClientAuthentication::PrivateKeyJwt)).await;
    let error = at(&server.url()).build().unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::UnsupportedClient);
    let text = error.to_string();
    assert!(text.contains("authenticates with private_key_jwt"), "{text}");
}

#[tokio::test]
async fn with_a_custom_domain_the_management_api_is_named_by_the_tenants_own() {
    let server = server(billing()).await;
    // Another name of the same server.
    let custom = server.url().replace("127.0.0.1", "localhost");
    let named = at(&custom).management_audience(server.management_audience());
    named.build().unwrap().check().await.unwrap();

    let unknown = at(&custom).management_audience("https://login.example/api/v2/");
    let error = unknown.build().unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Permissions);
    let text = error.to_string();
    assert!(text.contains("`management_audience` be https://TENANT.REGION.auth0.com"), "{text}");
}

/// A tenant whose management client has these scopes beside those that a rotation needs.
async fn tenant(client: Client, more: &[&str]) -> AuthorizationServer {
    let scopes = Client::MANAGEMENT_SCOPES.iter().chain(more).copied().map(str::to_owned);
    let management = Client::management("rotator", MANAGEMENT).scopes(scopes);
    let builder = AuthorizationServer::builder().client(client.grant("https://api.example/"));
    builder.management_client(management).start().await.unwrap()
}

/// What a look finds, as one text a level.
async fn found(server: &AuthorizationServer) -> (String, String) {
    let auth0 = at(&server.url()).audience("https://api.example/").build().unwrap();
    auth0.check().await.unwrap();
    let found = auth0.look().await;
    let of = |level| {
        let texts = found.iter().filter(|one| one.level() == level).map(ToString::to_string);
        texts.collect::<Vec<_>>().join("\n")
    };
    assert!(found.iter().all(|one| one.level() != Level::Error), "{found:?}");
    assert_eq!(server.counts().management_writes, 0);
    (of(Level::Ok), of(Level::Warning))
}

#[tokio::test]
async fn whoever_verifies_id_tokens_with_the_client_secret_is_warned_about() {
    let signs = |algorithm| json!({"alg": algorithm, "lifetime_in_seconds": 36000});
    let for_users = || billing().grant_types(["authorization_code", "client_credentials"]);
    let client = for_users().attribute("jwt_configuration", signs("HS256"));
    let (_, warnings) = found(&tenant(client, &[]).await).await;
    assert!(warnings.contains("signed with the client secret (HS256)"), "{warnings}");
    assert!(warnings.contains("Advanced Settings > OAuth"), "{warnings}");
    for client in [
        for_users().attribute("jwt_configuration", signs("RS256")),
        billing().attribute("jwt_configuration", signs("HS256")),
    ] {
        assert_eq!(found(&tenant(client, &[]).await).await.1, "");
    }
}

#[tokio::test]
async fn the_tenants_log_is_told_as_what_it_is_where_the_scope_allows_it() {
    let server = tenant(billing(), &["read:logs"]).await;
    let (facts, _) = found(&server).await;
    assert!(facts.contains("has no token that it got"), "{facts}");
    let auth0 = at(&server.url()).audience("https://api.example/").build().unwrap();
    let old = Secret::new("old".parse().unwrap(), "old-secret-of-billing-0123456789").unwrap();
    let wrong = Secret::new("wrong".parse().unwrap(), "another-secret-of-billing-0123").unwrap();
    assert_eq!(auth0.probe(&old).await, Probe::Accepted);
    assert_eq!(auth0.probe(&wrong).await, Probe::Refused);
    let (facts, warnings) = found(&server).await;
    assert!(facts.contains("1 tokens that it got and 1 requests that failed"), "{facts}");
    assert!(facts.contains("from 127.0.0.1"), "{facts}");
    assert_eq!(warnings, "");

    let (facts, _) = found(&tenant(billing(), &[]).await).await;
    assert!(
        facts.contains("that needs read:logs (in the dashboard, Applications > APIs"),
        "{facts}"
    );
    server.inject(Fault::Html { endpoint: Endpoint::ReadLog, status: 200 }, Times::ONCE);
    let (_, warnings) = found(&server).await;
    assert!(warnings.contains("the tenant's log"), "{warnings}");
}

#[tokio::test]
async fn a_throttled_token_request_is_made_again_when_the_server_says_and_a_change_waits_as_long() {
    let limited = |seconds| Fault::RateLimited {
        endpoint: Endpoint::Token,
        retry_after: Some(Duration::from_secs(seconds)),
        reset_after: Some(Duration::from_secs(900)),
    };
    let server = tenant(billing(), &[]).await;
    server.inject(limited(1), Times::ONCE);
    let auth0 = at(&server.url()).build().unwrap();
    // The reset of the tenant's own limit is of no concern, and would not be waited for.
    auth0.check().await.unwrap();
    assert_eq!(server.counts().faults, 1);

    // A quota of a day is not waited for.
    server.inject(limited(50_000), Times::ONCE);
    let auth0 = at(&server.url()).build().unwrap();
    let error = auth0.check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Throttled);
    assert!(error.to_string().contains("says to wait 50000 s"), "{error}");

    server.inject(limited(7), Times::ONCE);
    let auth0 = at(&server.url()).build().unwrap();
    let new = Secret::new("new".parse().unwrap(), "new-secret-of-billing-0123456789").unwrap();
    let ChangeAnswer::RetryAfter(pause) = auth0.set_secret(&new).await else { panic!() };
    assert_eq!(pause, Duration::from_secs(7));
    assert_eq!(server.counts().management_writes, 0, "nothing was sent");
}

#[test]
fn an_address_that_cannot_be_that_of_a_tenant_is_refused_before_anything_is_sent() {
    for (address, text) in [
        ("https://shop.eu.auth0.com/api/v2/", "its domain alone"),
        ("https://manage.auth0.com", "Auth0's dashboard"),
        ("http://shop.eu.auth0.com", "https"),
    ] {
        let error = at(address).build().unwrap_err();
        assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
        assert!(error.to_string().contains(text), "{error}");
    }
    let custom = at("https://login.shop.example");
    let error = custom.management_audience("https://shop.eu.auth0.com/api/v2").build().unwrap_err();
    assert!(error.to_string().contains("the slash included"), "{error}");
}
