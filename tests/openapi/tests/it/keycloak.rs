//! What is sent to Keycloak in whole rotations, and what the embedded Keycloak answers.

use keyswap_admin::authority::{Authority, KeycloakBuilder};
use keyswap_admin::{Keycloak, State};
use keyswap_core::{SecretList, SecretRing};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::{AuthorizationServer, Client, Fault, Provider};
use serde_json::json;

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";

async fn server() -> AuthorizationServer {
    let service = |id: &str, role: &str| Client::management(id, MANAGEMENT).scopes([role]);
    AuthorizationServer::builder()
        .provider(Provider::Keycloak)
        .nodes(2)
        .propagation_window(WINDOW)
        .client(Client::new("billing", OLD).attribute("authorizationServicesEnabled", json!(true)))
        .client(service("rotator", "manage-clients"))
        .client(service("reader", "view-clients"))
        .client(service("nobody", "view-users"))
        .record_exchanges()
        .start()
        .await
        .unwrap()
}

fn keycloak(server: &AuthorizationServer, realm: &str, management: &str) -> KeycloakBuilder {
    let ring = SecretRing::new(SecretList::new([secret(MANAGEMENT)]).unwrap());
    Keycloak::builder(server.url().parse().unwrap(), realm, "billing")
        .management(management, ring)
        .management_realm("shop")
        .propagation_window(WINDOW)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_and_refusals_are_as_keycloak_describes_them() {
    let server = server().await;
    let site = Site::new("billing", OLD).await;
    let right = || keycloak(&server, "shop", "rotator").build().unwrap();
    for fault in [Fault::AnswerLostAfterChange, Fault::ServerErrorAfterChange { status: 502 }] {
        site.rotate_with_faults(right(), &server, [(State::CuttingOver, fault)]).await;
    }
    site.rotate(right()).await;
    let new = site.present().await;
    assert!(server.accepts("billing", new.expose()));

    for (realm, management) in [("shop", "reader"), ("shop", "nobody"), ("elsewhere", "rotator")] {
        let refused = keycloak(&server, realm, management).build().unwrap();
        let _ = refused.check().await;
        let _ = refused.set_secret(&secret("another-secret-of-billing-012345")).await;
    }
    let authority = right();
    authority.check().await.unwrap();
    server.revoke_tokens();
    authority.check().await.unwrap();
    // Its column is shorter.
    let _ = authority.set_secret(&secret(&"x".repeat(256))).await;
    let exchanges = server.exchanges();
    let seen = Vendor::keycloak().assert_described(&exchanges);
    assert!(seen["getClients"] >= 10, "{seen:?}");
    assert_eq!(seen["putClient"], 4, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 204, 400, 401, 403, 404, 500, 502]);
}
