//! What is sent to Ory Hydra in whole rotations, and what the embedded Hydra answers, with rotated secrets and without.

use std::time::Duration;

use keyswap_admin::authority::{Authority, HydraBuilder, NewSecret};
use keyswap_admin::{Hydra, State};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::{
    AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Provider, Times,
};

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "old-secret-of-billing-0123456789";

async fn server(provider: Provider) -> AuthorizationServer {
    let client = |id: &str, authentication| {
        Client::new(id, OLD).grant("any").scopes(["read"]).authentication(authentication)
    };
    AuthorizationServer::builder()
        .provider(provider)
        .nodes(2)
        .propagation_window(WINDOW)
        .client(client("billing", ClientAuthentication::SecretBasic))
        .client(client("with-key", ClientAuthentication::PrivateKeyJwt))
        .record_exchanges()
        .start()
        .await
        .unwrap()
}

fn hydra(server: &AuthorizationServer, client: &str) -> HydraBuilder {
    let url = || server.url().parse().unwrap();
    Hydra::builder(url(), url(), client).scope("read").propagation_window(WINDOW)
}

fn limited(endpoint: Endpoint) -> Fault {
    let reset_after = Some(Duration::from_millis(1));
    Fault::RateLimited { endpoint, retry_after: None, reset_after }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_with_rotated_secrets_are_as_hydra_describes_them() {
    let server = server(Provider::HydraWithRotatedSecrets).await;
    let site = Site::new("billing", OLD).await;
    let authority = || hydra(&server, "billing").build().unwrap();
    let faults = [
        (State::Adding, Fault::AnswerLostAfterChange),
        (State::Removing, limited(Endpoint::UpdateClient)),
    ];
    site.rotate_with_faults(authority(), &server, faults).await;
    site.rotate(authority()).await;
    let new = site.present().await;
    assert!(server.accepts("billing", new.expose()));
    let seen = Vendor::hydra().assert_described(&server.exchanges());
    for (operation, least) in [
        ("getOAuth2Client", 2),
        ("rotateOAuth2ClientSecret", 3),
        ("patchOAuth2Client", 4),
        ("deleteRotatedOAuth2ClientSecrets", 2),
        ("oauth2TokenExchange", 10),
    ] {
        assert!(seen[operation] >= least, "{operation}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_of_the_one_secret_are_as_hydra_describes_them() {
    let server = server(Provider::Hydra).await;
    let site = Site::new("billing", OLD).await;
    let faults = [(State::CuttingOver, Fault::AnswerLostAfterChange)];
    site.rotate_with_faults(hydra(&server, "billing").build().unwrap(), &server, faults).await;
    site.rotate(hydra(&server, "billing").overlap(false).build().unwrap()).await;
    let new = site.present().await;
    assert!(server.accepts("billing", new.expose()));
    let vendor = Vendor::hydra_without_rotated_secrets();
    let seen = vendor.assert_described(&server.exchanges());
    assert_eq!(seen["deleteRotatedOAuth2ClientSecrets"], 1, "{seen:?}");
    assert!(seen["patchOAuth2Client"] >= 2, "{seen:?}");
}

#[tokio::test]
async fn what_hydra_refuses_is_as_it_describes_that() {
    let server = server(Provider::HydraWithRotatedSecrets).await;
    let build = |builder: HydraBuilder| builder.build().unwrap();
    for authority in [
        build(hydra(&server, "billing")),
        build(hydra(&server, "with-key")),
        build(hydra(&server, "nobody")),
        build(hydra(&server, "billing").scope("write")),
    ] {
        let _ = authority.check().await;
        for value in [OLD, "wrong"] {
            let _ = authority.probe(&secret(value)).await;
        }
        let _ = authority.add_secret(&NewSecret::Awaited("new".parse().unwrap())).await;
        // Too short, and then long enough.
        for value in ["five5", "another-secret-of-billing-012345"] {
            let _ = authority.set_secret(&secret(value)).await;
        }
    }
    server.inject(limited(Endpoint::AddSecret), Times::ONCE);
    let limited = build(hydra(&server, "billing"));
    let _ = limited.add_secret(&NewSecret::Awaited("new".parse().unwrap())).await;
    let exchanges = server.exchanges();
    let seen = Vendor::hydra().assert_described(&exchanges);
    assert_eq!(seen["rotateOAuth2ClientSecret"], 5, "{seen:?}");
    assert_eq!(seen["patchOAuth2Client"], 8, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 400, 401, 404, 429]);
}
