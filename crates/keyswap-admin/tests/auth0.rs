//! What is found out about an Auth0 tenant before anything is changed.

use keyswap_admin::authority::Auth0Builder;
use keyswap_admin::{Auth0, Authority, AuthorityErrorKind};
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication};

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
