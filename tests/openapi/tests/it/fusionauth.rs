//! What is sent to FusionAuth in whole rotations, and what the embedded FusionAuth answers.

use std::time::Duration;

use keyswap_admin::authority::{Authority, FusionAuthBuilder};
use keyswap_admin::{FusionAuth, State};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "old-secret-of-billing-0123456789";
const KEY: &str = "api-key-of-the-rotator-0123456789";
const APPLICATION: &str = "3c219e58-ed0e-4b18-ad48-f4f92793ae32";
const TENANT: &str = "30663132-6464-6665-3032-326466613934";

async fn server() -> AuthorizationServer {
    AuthorizationServer::builder()
        .provider(Provider::FusionAuth)
        .nodes(2)
        .propagation_window(WINDOW)
        .client(Client::new("billing", OLD).application(APPLICATION).grant(TENANT))
        .api_token(KEY)
        .record_exchanges()
        .start()
        .await
        .unwrap()
}

fn fusionauth(server: &AuthorizationServer) -> FusionAuthBuilder {
    FusionAuth::builder(server.url().parse().unwrap(), "billing")
        .application(APPLICATION)
        .api_key(secret(KEY))
        .propagation_window(WINDOW)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_and_refusals_are_as_fusionauth_describes_them() {
    let server = server().await;
    let site = Site::new("billing", OLD).await;
    let lost = [(State::CuttingOver, Fault::AnswerLostAfterChange)];
    site.rotate_with_faults(fusionauth(&server).build().unwrap(), &server, lost).await;
    let of_tenant = fusionauth(&server).tenant(TENANT).build().unwrap();
    site.rotate(of_tenant).await;
    let new = site.present().await;
    assert!(server.accepts("billing", new.expose()));

    for refused in [
        fusionauth(&server).api_key(secret("wrong")),
        fusionauth(&server).application("85a03867-dccf-4882-adde-1a79aeec50df"),
        fusionauth(&server).tenant("no-tenant"),
    ] {
        let refused = refused.build().unwrap();
        let _ = refused.check().await;
        let _ = refused.set_secret(&secret("another-secret-of-billing-012345")).await;
    }
    let limited = Fault::RateLimited {
        endpoint: Endpoint::UpdateClient,
        retry_after: None,
        reset_after: Some(Duration::from_millis(1)),
    };
    server.inject(limited, Times::ONCE);
    let right = fusionauth(&server).build().unwrap();
    let _ = right.set_secret(&secret("another-secret-of-billing-012345")).await;
    let exchanges = server.exchanges();
    let seen = Vendor::fusionauth().assert_described(&exchanges);
    assert!(seen["retrieveApplicationWithId"] >= 5, "{seen:?}");
    assert_eq!(seen["patchApplicationWithId"], 6, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 400, 401, 404, 429]);
}
