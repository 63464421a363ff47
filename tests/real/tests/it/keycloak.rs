//! Rotating the secrets of clients of a genuine Keycloak. All tests share one server, and each has a realm of its own.

#[path = "../../../../crates/keyswap-testkit/tests/it/keycloak/answers.rs"]
mod answers;
mod policy;
mod rotation;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use keyswap_admin::authority::{Authority, KeycloakBuilder, Probe};
use keyswap_admin::{AuthorityErrorKind, ClientAuthentication};
use keyswap_core::{Secret, SecretList, SecretRing, Verdict};
use keyswap_real_tests::{Keycloak, Seen, read};
use keyswap_tower::Profile;
use serde_json::json;

use self::answers::{Asked, SECRET, Says, cases, clients};

const MANAGEMENT: &str = "management-secret-of-keyswap";

/// A secret under an id that does not show it.
fn secret(value: &str) -> Secret {
    let id = format!("id-{:016x}", BuildHasherDefault::<DefaultHasher>::default().hash_one(value));
    Secret::new(id.parse().expect("an id"), value).expect("a secret")
}

fn ring(value: &str) -> SecretRing {
    SecretRing::new(SecretList::new([secret(value)]).expect("a list"))
}

/// One client of this realm of the server, for a management client of that realm.
fn authority(server: &Keycloak, realm: &str, client: &str, management: &str) -> KeycloakBuilder {
    let base = server.base().parse().expect("an address");
    keyswap_admin::Keycloak::builder(base, realm, client).management(management, ring(MANAGEMENT))
}

/// A realm with the clients of the questions, and those that may ask them.
async fn asked(realm: &'static str) -> (Keycloak, Asked) {
    let server = Keycloak::realm(realm).await;
    for (id, client) in clients() {
        server.register(id, SECRET, &client).await;
    }
    for (id, role) in
        [("manager", Some("manage-clients")), ("viewer", Some("view-clients")), ("nobody", None)]
    {
        server.management(id, MANAGEMENT, role).await;
    }
    let asked = Asked {
        base: server.base().to_owned(),
        realm: realm.to_owned(),
        http: reqwest::Client::new(),
        manager: ("manager", MANAGEMENT),
        viewer: ("viewer", MANAGEMENT),
        nobody: ("nobody", MANAGEMENT),
    };
    (server, asked)
}

/// The same questions are asked of the embedded Keycloak by its own tests.
#[tokio::test]
async fn the_profile_reads_each_answer_for_what_it_says_and_the_embedded_server_gives_the_same() {
    let (_server, asked) = asked("answers").await;
    let cases = cases();
    let mut answers = Vec::new();
    for case in &cases {
        let answer = case.request(&asked).send().await.expect("Keycloak answers");
        let (status, body, verdict) = read(answer, Profile::Keycloak).await;
        println!("{}: {status} {verdict:?} {body}", case.what);
        case.assert_answered(status, &body);
        let expected = match case.says {
            Says::Accepted => Verdict::Accepted,
            Says::Refused => Verdict::RefusedBeforeGrant,
            Says::Nothing => Verdict::Inconclusive,
        };
        answers.push((case.what, (status, expected), (status, verdict)));
    }
    answers::the_admin_api_answers_as_it_does(&asked).await;
    answers::an_update_does_what_it_does(&asked).await;
    let version = Keycloak::version();
    Seen { server: "Keycloak", version: &version, how: "its answers" }.answers(&answers);
}

#[tokio::test]
async fn a_secret_is_proved_whatever_else_the_client_may_do() {
    let realm = "proofs";
    let server = Keycloak::realm(realm).await;
    for (id, more) in [
        ("service", json!({})),
        ("nothing", json!({"serviceAccountsEnabled": false, "standardFlowEnabled": false})),
        (
            "browser",
            json!({"serviceAccountsEnabled": false, "redirectUris": ["http://127.0.0.1/"]}),
        ),
        ("no-refresh", json!({"attributes": {"use.refresh.tokens": "false"}})),
        ("bound", json!({"attributes": {"dpop.bound.access.tokens": "true"}})),
        ("consent", json!({"consentRequired": true, "fullScopeAllowed": false})),
    ] {
        server.register(id, "right-secret", &more).await;
        for authentication in [ClientAuthentication::Post, ClientAuthentication::Basic] {
            let authority = authority(&server, realm, id, "unused").authentication(authentication);
            let authority = authority.build().expect("loopback is allowed");
            let probes = [
                authority.probe(&secret("right-secret")).await,
                authority.probe(&secret("wrong-secret")).await,
            ];
            assert_eq!(probes, [Probe::Accepted, Probe::Refused], "{id}, {authentication:?}");
        }
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_named_before_anything_is_changed() {
    let realm = "bad-input";
    let (server, asked) = asked(realm).await;
    let no_account = json!({"serviceAccountsEnabled": false});
    server.register("no-tokens", MANAGEMENT, &no_account).await;
    server.register("bearer", SECRET, &json!({"bearerOnly": true})).await;
    server.register("x509", SECRET, &json!({"clientAuthenticatorType": "client-x509"})).await;
    let saml = json!({"protocol": "saml", "serviceAccountsEnabled": false});
    server.register("saml", SECRET, &saml).await;
    let token = asked.token(asked.manager).await;
    let before = asked.client(&token, "web").await;
    let of = |client: &str| authority(&server, realm, client, "manager");
    let base = |text: &str| text.parse().expect("an address");
    let at = |text: &str| {
        keyswap_admin::Keycloak::builder(base(text), realm, "web")
            .management("manager", ring(MANAGEMENT))
    };
    let bare = server.base().trim_end_matches("/auth");

    use AuthorityErrorKind::{
        Configuration, Credentials, NoSuchClient, Permissions, UnsupportedClient,
    };
    for (builder, kind, says) in [
        (at(bare), Configuration, "ends in /auth"),
        (at(&format!("{}/auth", server.base())), Configuration, "ends in /auth"),
        (authority(&server, "elsewhere", "web", "manager"), Configuration, "no realm elsewhere"),
        (
            authority(&server, "elsewhere", "web", "manager").management_realm(realm),
            NoSuchClient,
            "no realm elsewhere",
        ),
        (
            authority(&server, "master", "web", "manager").management_realm(realm),
            Permissions,
            "of realm master itself",
        ),
        (of("web").management("manager", ring("wrong")), Credentials, "management client manager"),
        (authority(&server, realm, "web", "unheard-of"), Credentials, "unheard-of"),
        (authority(&server, realm, "web", "no-tokens"), Credentials, "Service accounts roles"),
        (
            authority(&server, realm, "web", "nobody"),
            Permissions,
            "manage-clients of realm-management",
        ),
        (
            authority(&server, realm, "web", "viewer"),
            Permissions,
            "manage-clients of realm-management",
        ),
        (of("unheard-of"), NoSuchClient, "no client unheard-of"),
        (of("public"), UnsupportedClient, "is public"),
        (of("bearer"), UnsupportedClient, "is bearer-only"),
        (of("with-key"), UnsupportedClient, "client-jwt"),
        (of("x509"), UnsupportedClient, "client-x509"),
        (of("signs"), UnsupportedClient, "client-secret-jwt"),
        (of("saml"), UnsupportedClient, "OpenID Connect"),
        (of("disabled"), UnsupportedClient, "is disabled"),
        (of("basic-alone"), Configuration, "client_secret_basic"),
    ] {
        let authority = builder.build().expect("loopback is allowed");
        let error = authority.check().await.expect_err(says);
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(says) && !text.contains(MANAGEMENT), "{text}");
    }
    let basic = of("basic-alone").authentication(ClientAuthentication::Basic).build();
    let basic = basic.expect("loopback is allowed");
    basic.check().await.expect("nothing is wrong");
    assert_eq!(basic.probe(&secret(SECRET)).await, Probe::Accepted);
    of("web").build().expect("loopback is allowed").check().await.expect("nothing is wrong");
    let after = asked.client(&asked.token(asked.manager).await, "web").await;
    assert_eq!(after, before);
}
