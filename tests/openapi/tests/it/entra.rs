//! What is sent to Microsoft Graph in whole rotations, and what the embedded Microsoft Entra ID answers.

use std::time::Duration;

use keyswap_admin::authority::{Authority, EntraBuilder, NewSecret, Probe, SlotId};
use keyswap_admin::{Entra, State};
use keyswap_core::{SecretList, SecretRing};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::{
    AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Provider, Times,
};

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const OBJECT: &str = "0a1b2c3d-1111-4222-8333-444455556666";
const BILLING: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
const MANAGED: &str = "22223333-bbbb-3333-cccc-4444dddd5555";
const WITH_KEY: &str = "33334444-bbbb-3333-cccc-4444dddd5555";
const NOBODY: &str = "44445555-bbbb-3333-cccc-4444dddd5555";
const ROTATOR: &str = "55556666-bbbb-3333-cccc-4444dddd5555";
const AUDITOR: &str = "77778888-bbbb-3333-cccc-4444dddd5555";
const READER: &str = "66667777-bbbb-3333-cccc-4444dddd5555";

async fn server() -> AuthorizationServer {
    let other = |id: &str, authentication| Client::new(id, OLD).authentication(authentication);
    let management = |id: &str, role: &str| Client::management(id, MANAGEMENT).scopes([role]);
    AuthorizationServer::builder()
        .provider(Provider::Entra)
        .nodes(2)
        .propagation_window(WINDOW)
        .client(Client::new(BILLING, OLD).application(OBJECT).takes_personal_accounts())
        .client(other(MANAGED, ClientAuthentication::None))
        .client(other(WITH_KEY, ClientAuthentication::PrivateKeyJwt))
        .client(management(ROTATOR, "Application.ReadWrite.OwnedBy"))
        .client(management(READER, "Application.Read.All"))
        .client(
            Client::management(AUDITOR, MANAGEMENT)
                .scopes(["Application.ReadWrite.OwnedBy", "AuditLog.Read.All"]),
        )
        .record_exchanges()
        .start()
        .await
        .unwrap()
}

fn entra(server: &AuthorizationServer, client: &str, management: &str) -> EntraBuilder {
    let url = || server.url().parse().unwrap();
    let ring = SecretRing::new(SecretList::new([secret(MANAGEMENT)]).unwrap());
    Entra::builder("contoso.onmicrosoft.com", client)
        .management(management, ring)
        .login_url(url())
        .graph_url(url())
        .propagation_window(WINDOW)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_with_lost_answers_are_as_graph_describes_them_by_either_id() {
    let server = server().await;
    let site = Site::new(BILLING, OLD).await;
    let right = || entra(&server, BILLING, ROTATOR);
    let faults = [
        (State::Adding, Fault::AnswerLostAfterChange),
        (State::Removing, Fault::ServerErrorAfterChange { status: 504 }),
    ];
    site.rotate_with_faults(right().build().unwrap(), &server, faults).await;
    site.rotate(right().application(OBJECT).build().unwrap()).await;
    let new = site.present().await;
    assert!(server.accepts(BILLING, new.expose()));
    let seen = Vendor::entra().assert_described(&server.exchanges());
    for (operation, least) in [
        ("getApplicationByAppId", 4),
        ("addPasswordByAppId", 2),
        ("removePasswordByAppId", 2),
        ("getApplication", 2),
        ("addPassword", 1),
        ("removePassword", 1),
    ] {
        assert!(seen[operation] >= least, "{operation}: {seen:?}");
    }
}

#[tokio::test]
async fn the_use_of_each_secret_is_read_as_graph_describes_that() {
    let server = server().await;
    let auditor = entra(&server, BILLING, AUDITOR).build().unwrap();
    assert!(matches!(auditor.probe(&secret(OLD)).await, Probe::Accepted));
    let found = auditor.look().await;
    let key = &server.secrets(BILLING)[0].0;
    let told = format!("key id {key}: 20");
    assert!(found[0].text().contains(&told), "{found:?}");
    let refused = entra(&server, BILLING, ROTATOR).build().unwrap().look().await;
    assert!(refused[0].text().contains("AuditLog.Read.All"), "{refused:?}");
    let seen = Vendor::entra().assert_described(&server.exchanges());
    assert_eq!(seen["listAppCredentialSignInActivities"], 2, "{seen:?}");
}

#[tokio::test]
async fn what_graph_refuses_is_as_it_describes_that() {
    let server = server().await;
    let build = |client, management| entra(&server, client, management).build().unwrap();
    let right = build(BILLING, ROTATOR);
    let awaited = || NewSecret::Awaited("new".parse().unwrap());
    for authority in [
        &right,
        &build(BILLING, READER),
        &build(MANAGED, ROTATOR),
        &build(WITH_KEY, ROTATOR),
        &build(NOBODY, ROTATOR),
    ] {
        let _ = authority.check().await;
        let _ = authority.slots(&[]).await;
    }
    server.revoke_tokens();
    let _ = right.slots(&[]).await;
    let _ = build(BILLING, READER).add_secret(&awaited()).await;
    let unheard_of = SlotId::new("99990000-bbbb-4333-8ccc-4444dddd5555");
    let _ = right.remove_secret(&unheard_of).await;
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let long = entra(&server, BILLING, ROTATOR).lifetime(days(2000)).build().unwrap();
    let _ = long.add_secret(&awaited()).await;
    // There is room for a second one, and for no third.
    for _ in 0..2 {
        let _ = right.add_secret(&awaited()).await;
    }
    let limited = Fault::RateLimited {
        endpoint: Endpoint::AddSecret,
        retry_after: Some(Duration::from_secs(1)),
        reset_after: None,
    };
    server.inject(limited, Times::ONCE);
    let _ = right.add_secret(&awaited()).await;
    let exchanges = server.exchanges();
    let seen = Vendor::entra().assert_described(&exchanges);
    assert_eq!(seen["addPasswordByAppId"], 5, "{seen:?}");
    assert_eq!(seen["getServicePrincipalByAppId"], 2, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 400, 401, 403, 404, 429]);
}
