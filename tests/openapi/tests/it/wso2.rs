//! What is sent to WSO2 in whole rotations, and what the embedded WSO2 answers.

use keyswap_admin::authority::{Authority, NewSecret, SlotId, Wso2Builder};
use keyswap_admin::{State, Wso2};
use keyswap_core::{SecretList, SecretRing};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::{AuthorizationServer, Client, Fault, Provider};

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "Vq3hCc0Zc1JxOldSecretBilling";
const MANAGEMENT: &str = "management-secret-0123456789";

async fn server() -> AuthorizationServer {
    let scopes = ["view", "client_secret_view", "client_secret_create", "client_secret_delete"];
    let scopes = scopes.map(|scope| format!("internal_application_mgt_{scope}"));
    AuthorizationServer::builder()
        .provider(Provider::Wso2 { hashes: false })
        .nodes(2)
        .propagation_window(WINDOW)
        .client(Client::new("billing", OLD).application("app-1"))
        .client(Client::management("rotator", MANAGEMENT).scopes(scopes))
        .record_exchanges()
        .start()
        .await
        .unwrap()
}

fn wso2(server: &AuthorizationServer, application: &str) -> Wso2Builder {
    let url = format!("{}/t/shop", server.url()).parse().unwrap();
    let ring = SecretRing::new(SecretList::new([secret(MANAGEMENT)]).unwrap());
    Wso2::builder(url, "billing", application)
        .management("rotator", ring)
        .propagation_window(WINDOW)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_with_lost_answers_are_as_wso2_describes_them() {
    let server = server().await;
    let site = Site::new("billing", OLD).await;
    let faults = [
        (State::Adding, Fault::AnswerLostAfterChange),
        (State::Removing, Fault::ServerErrorAfterChange { status: 500 }),
    ];
    let authority = || wso2(&server, "app-1").build().unwrap();
    site.rotate_with_faults(authority(), &server, faults).await;
    site.rotate(authority()).await;
    let seen = Vendor::wso2().assert_described(&server.exchanges());
    for (operation, least) in [
        ("getInboundOAuthConfiguration", 2),
        ("getOAuthClientSecrets", 4),
        ("createOAuthClientSecret", 2),
        ("deleteOAuthClientSecret", 2),
    ] {
        assert!(seen[operation] >= least, "{operation}: {seen:?}");
    }
}

#[tokio::test]
async fn what_wso2_refuses_is_as_it_describes_that() {
    let server = server().await;
    let right = wso2(&server, "app-1").build().unwrap();
    let elsewhere = wso2(&server, "app-2").build().unwrap();
    let awaited = |id: &str| NewSecret::Awaited(id.parse().unwrap());
    for authority in [&right, &elsewhere] {
        let _ = authority.check().await;
        let _ = authority.slots(&[]).await;
    }
    // Two, and there is no room for a third.
    for id in ["b", "c"] {
        let _ = right.add_secret(&awaited(id)).await;
    }
    // The newest, and one that is not there.
    let (newest, _) = server.secrets("billing").pop().unwrap();
    for slot in [newest.as_str(), "unknown"] {
        let _ = right.remove_secret(&SlotId::new(slot)).await;
    }
    // Nothing takes the token any more, nor another one.
    server.revoke_tokens();
    let _ = right.slots(&[]).await;
    let exchanges = server.exchanges();
    let seen = Vendor::wso2().assert_described(&exchanges);
    assert_eq!(seen["createOAuthClientSecret"], 2, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 201, 400, 401, 404, 409]);
}
