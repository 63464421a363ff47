//! What is sent to Auth0 in whole rotations, and what the embedded Auth0 answers.

use std::time::Duration;

use keyswap_admin::authority::{Auth0Builder, Authority};
use keyswap_admin::{Auth0, State};
use keyswap_core::{SecretList, SecretRing};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Times};

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const AUDIENCE: &str = "https://api.example/";

async fn server() -> AuthorizationServer {
    let key = ClientAuthentication::PrivateKeyJwt;
    AuthorizationServer::builder()
        .nodes(2)
        .propagation_window(WINDOW)
        .client(Client::new("billing", OLD).grant(AUDIENCE))
        .client(Client::new("with-a-key", OLD).authentication(key))
        .management_client(Client::management("rotator", MANAGEMENT))
        .management_client(Client::management("reader", MANAGEMENT).scopes(["read:clients"]))
        .record_exchanges()
        .start()
        .await
        .unwrap()
}

fn auth0(server: &AuthorizationServer, client: &str, management: &str) -> Auth0Builder {
    let ring = SecretRing::new(SecretList::new([secret(MANAGEMENT)]).unwrap());
    Auth0::builder(server.url().parse().unwrap(), client)
        .management(management, ring)
        .audience(AUDIENCE)
        .propagation_window(WINDOW)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_with_lost_answers_and_limits_are_as_auth0_describes_them() {
    let server = server().await;
    let site = Site::new("billing", OLD).await;
    let limited = Fault::RateLimited {
        endpoint: Endpoint::ReadClient,
        retry_after: None,
        reset_after: Some(Duration::from_millis(1)),
    };
    let authority = || auth0(&server, "billing", "rotator").build().unwrap();
    for fault in [Fault::AnswerLostAfterChange, Fault::ServerErrorAfterChange { status: 502 }] {
        let faults = [(State::Generated, limited.clone()), (State::CuttingOver, fault)];
        site.rotate_with_faults(authority(), &server, faults).await;
    }
    site.rotate(authority()).await;
    let new = site.present().await;
    assert!(server.accepts("billing", new.expose()));
    let seen = Vendor::auth0().assert_described(&server.exchanges());
    assert!(seen["get_clients_by_id"] >= 5, "{seen:?}");
    assert_eq!(seen["patch_clients_by_id"], 3, "{seen:?}");
}

#[tokio::test]
async fn what_auth0_refuses_is_as_it_describes_that() {
    let server = server().await;
    let build = |client, management| auth0(&server, client, management).build().unwrap();
    let right = build("billing", "rotator");
    for authority in [&right, &build("billing", "reader"), &build("nobody", "rotator")] {
        let _ = authority.check().await;
        let _ = authority.set_secret(&secret("another-secret-of-billing-012345")).await;
    }
    let _ = build("with-a-key", "rotator").check().await;
    server.revoke_tokens();
    let _ = right.read_back(&[]).await;
    let limited = Fault::RateLimited {
        endpoint: Endpoint::UpdateClient,
        retry_after: None,
        reset_after: None,
    };
    server.inject(limited, Times::ONCE);
    let _ = right.set_secret(&secret("a-third-secret-of-billing-0123456")).await;
    let exchanges = server.exchanges();
    let seen = Vendor::auth0().assert_described(&exchanges);
    assert_eq!(seen["patch_clients_by_id"], 4, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 401, 403, 404, 429]);
}
