//! What is sent to Okta in whole rotations, and what the embedded Okta answers.

use std::time::Duration;

use keyswap_admin::authority::{Authority, NewSecret, OktaBuilder, SlotId};
use keyswap_admin::{Okta, State};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::{
    AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Provider,
};

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "old-secret-of-billing-0123456789";
const TOKEN: &str = "api-token-of-the-rotator-012345";
const READER: &str = "api-token-of-a-reader-012345678";

async fn server() -> AuthorizationServer {
    let client = Client::new("billing", OLD).application("0oabilling").grant("default");
    AuthorizationServer::builder()
        .provider(Provider::Okta)
        .nodes(2)
        .propagation_window(WINDOW)
        .client(client.scopes(["read"]).authentication(ClientAuthentication::SecretBasic))
        .api_token(TOKEN)
        .read_only_api_token(READER)
        .record_exchanges()
        .start()
        .await
        .unwrap()
}

fn okta(server: &AuthorizationServer) -> OktaBuilder {
    Okta::builder(server.url().parse().unwrap(), "billing")
        .application("0oabilling")
        .api_token(secret(TOKEN))
        .scope("read")
        .propagation_window(WINDOW)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_with_lost_answers_and_limits_are_as_okta_describes_them() {
    let server = server().await;
    let site = Site::new("billing", OLD).await;
    let limited = Fault::RateLimited {
        endpoint: Endpoint::SetActive,
        retry_after: None,
        reset_after: Some(Duration::from_millis(1)),
    };
    let faults = [
        (State::Adding, Fault::AnswerLostAfterChange),
        (State::Deactivating, limited),
        (State::Removing, Fault::ServerErrorAfterChange { status: 502 }),
    ];
    site.rotate_with_faults(okta(&server).build().unwrap(), &server, faults).await;
    let chosen_by_okta = okta(&server).server_chooses(true).build().unwrap();
    site.rotate(chosen_by_okta).await;
    let seen = Vendor::okta().assert_described(&server.exchanges());
    for (operation, least) in [
        ("getApplication", 2),
        ("listOAuth2ClientSecrets", 4),
        ("createOAuth2ClientSecret", 2),
        ("deactivateOAuth2ClientSecret", 3),
        ("deleteOAuth2ClientSecret", 2),
        ("tokenCustomAS", 10),
    ] {
        assert!(seen[operation] >= least, "{operation}: {seen:?}");
    }
}

#[tokio::test]
async fn what_okta_refuses_is_as_it_describes_that() {
    let server = server().await;
    let added = secret("another-secret-of-billing-012345");
    let build = |builder: OktaBuilder| builder.build().unwrap();
    let right = build(okta(&server));
    let reader = build(okta(&server).api_token(secret(READER)));
    let stranger = build(okta(&server).api_token(secret("wrong")));
    let elsewhere = build(okta(&server).application("0oanobody"));
    for authority in [&right, &reader, &stranger, &elsewhere] {
        let _ = authority.check().await;
        let _ = authority.slots(&[]).await;
        let _ = authority.probe(&secret("wrong")).await;
    }
    for authority in [&reader, &stranger] {
        let _ = authority.add_secret(&NewSecret::from(added.clone())).await;
    }
    let (present, _) = server.secrets("billing").remove(0);
    let (present, unknown) = (SlotId::new(present), SlotId::new("ocsunknown"));
    // The only active one, one that is active, and one that is not there.
    for slot in [&present, &unknown] {
        let _ = right.set_active(slot, false).await;
        let _ = right.remove_secret(slot).await;
    }
    let _ = right.add_secret(&NewSecret::from(added)).await;
    let _ = right.set_active(&present, false).await;
    let _ = right.set_active(&present, true).await;
    // There is no room for a third, and this one is too short.
    for value in ["a-third-secret-of-billing-0123456", "short"] {
        let _ = right.add_secret(&NewSecret::from(secret(value))).await;
    }
    let exchanges = server.exchanges();
    let seen = Vendor::okta().assert_described(&exchanges);
    assert_eq!(seen["createOAuth2ClientSecret"], 5, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 201, 400, 401, 403, 404]);
}
