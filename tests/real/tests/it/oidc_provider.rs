//! Signing in to the npm package `oidc-provider`, a genuine authorization server.

use std::time::Duration;

use keyswap_core::Verdict::{Accepted, Inconclusive, Refused};
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_real_tests::{Load, OidcProvider, Program, read};
use keyswap_tower::{ClientSecretBasic, ClientSecretPost, Credential, Profile};
use reqwest::RequestBuilder;

const BASIC: &str = "web:right-secret:client_secret_basic";
const POST: &str = "form:right-secret:client_secret_post";
const GRANT: &str = "grant_type=client_credentials";

#[tokio::test]
async fn the_profile_reads_each_answer_for_what_it_says_about_the_secret() {
    let server = OidcProvider::start(&[BASIC]).await;
    let http = reqwest::Client::new();
    let post = |body: String| {
        let form = "application/x-www-form-urlencoded";
        http.post(server.token_endpoint()).header("content-type", form).body(body)
    };
    let grant = || post(GRANT.to_owned());
    let secret = |secret: &str| post(format!("{GRANT}&client_id=web&client_secret={secret}"));
    let right = |request: RequestBuilder| request.basic_auth("web", Some("right-secret"));
    let wrong = |request: RequestBuilder| request.basic_auth("web", Some("wrong-secret"));

    let cases = [
        ("right secret, Basic", right(grant()), 200, Accepted),
        // The registered method is Basic; this server takes either.
        ("right secret, post", secret("right-secret"), 200, Accepted),
        (
            "percent-encoded secret, Basic",
            grant().basic_auth("web", Some("right%2Dsecret")),
            200,
            Accepted,
        ),
        ("unknown scope", right(post(format!("{GRANT}&scope=unheard-of"))), 200, Accepted),
        ("wrong secret, Basic", wrong(grant()), 401, Refused),
        ("wrong secret, post", secret("wrong-secret"), 401, Refused),
        // The wire does not tell these from a wrong secret.
        ("unknown client", grant().basic_auth("nobody", Some("right-secret")), 401, Refused),
        ("no secret", post(format!("{GRANT}&client_id=web")), 401, Refused),
        (
            "wrong secret, HTML wanted",
            wrong(grant()).header("accept", "text/html"),
            401,
            Inconclusive,
        ),
        ("Basic and post", right(secret("right-secret")), 400, Inconclusive),
        (
            "bad percent escape",
            grant().basic_auth("web", Some("right%zzsecret")),
            400,
            Inconclusive,
        ),
        ("unknown grant", right(post("grant_type=unheard-of".to_owned())), 400, Inconclusive),
    ];
    for (what, request, status, verdict) in cases {
        let answer = request.send().await.expect("the server answers");
        let (got, body, read) = read(answer, Profile::OidcProvider).await;
        assert_eq!((got, read), (status, verdict), "{what}: {body}");
    }
}

#[tokio::test]
async fn a_refused_first_secret_falls_back_and_the_answer_is_a_token() {
    let server = OidcProvider::start(&[BASIC, POST]).await;
    let basic = |ring| program(&server, ring, ClientSecretBasic::new("web"));
    let post = |ring| program(&server, ring, ClientSecretPost::new("form"));
    let stale = || ring(&[("wrong", "wrong-secret"), ("right", "right-secret")]);

    let sign_ins = [
        ("layer, Basic", basic(stale()).with_layer()().await),
        ("layer, post", post(stale()).with_layer()().await),
        ("middleware, Basic", basic(stale()).with_middleware()().await),
        ("middleware, post", post(stale()).with_middleware()().await),
    ];
    for (way, sign_in) in sign_ins {
        let sign_in = sign_in.unwrap_or_else(|reason| panic!("{way}: {reason}"));
        assert_eq!((sign_in.secret.as_str(), sign_in.attempts), ("right", 2), "{way}");
    }
    let counts = server.counts().await;
    assert_eq!(counts["success"], 4, "{counts:?}");
    assert_eq!(counts["invalid_client: invalid secret provided"], 4, "{counts:?}");
}

#[tokio::test]
async fn when_every_secret_is_refused_the_caller_gets_the_refusal() {
    let server = OidcProvider::start(&[BASIC]).await;
    let wrong = || ring(&[("one", "wrong-one"), ("two", "wrong-two")]);
    let web = |ring| program(&server, ring, ClientSecretBasic::new("web"));
    for refused in [web(wrong()).with_layer()().await, web(wrong()).with_middleware()().await] {
        let reason = refused.expect_err("both secrets are wrong");
        assert!(reason.contains("401") && reason.contains("invalid_client"), "{reason}");
    }
}

/// The server holds one secret at a time here: the change takes hold between two requests, and whoever has only the old
/// one fails from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_changes_under_load_fails_no_request_of_programs_that_hold_both() {
    let server = OidcProvider::start(&[BASIC, POST]).await;
    let old = ("old", "right-secret");
    let new = ("new", "second-secret");
    let rings: Vec<SecretRing> = (0..4).map(|_| ring(&[old])).collect();
    let publish = |secrets: &[(&str, &str)]| {
        for ring in &rings {
            ring.replace(list(secrets));
        }
    };

    let mut load = Load::new();
    let every = Duration::from_millis(4);
    let [a, b, c, d] = [0, 1, 2, 3].map(|position: usize| rings[position].clone());
    load.add(every, program(&server, a, ClientSecretBasic::new("web")).with_layer());
    load.add(every, program(&server, b, ClientSecretBasic::new("web")).with_middleware());
    load.add(every, program(&server, c, ClientSecretPost::new("form")).with_layer());
    load.add(every, program(&server, d, ClientSecretPost::new("form")).with_middleware());
    load.progress(100).await;

    publish(&[old, new]);
    load.progress(100).await;
    for client in ["web", "form"] {
        server.set_secrets(client, &[new.1]).await;
    }
    load.progress(200).await;
    publish(&[new, old]);
    load.progress(100).await;
    publish(&[new]);
    load.progress(100).await;

    let tally = load.stop().await;
    tally.assert_none_failed();
    assert!(tally.requests >= 600, "{tally:?}");
    // Each program met the change with the old secret in front.
    assert!(tally.saved_by_fallback >= 4, "{tally:?}");
    let counts = server.counts().await;
    assert!(counts["invalid_client: invalid secret provided"] >= 4, "{counts:?}");
    let old_one =
        program(&server, ring(&[old]), ClientSecretBasic::new("web")).with_layer()().await;
    assert!(old_one.is_err(), "the server still takes the old secret");
}

fn program<C: Credential>(server: &OidcProvider, ring: SecretRing, credential: C) -> Program<C> {
    Program {
        endpoint: server.token_endpoint().to_owned(),
        parameters: GRANT,
        ring,
        credential,
        profile: Profile::OidcProvider,
    }
}

fn ring(secrets: &[(&str, &str)]) -> SecretRing {
    SecretRing::new(list(secrets))
}

fn list(secrets: &[(&str, &str)]) -> SecretList {
    let secret = |&(id, value): &(&str, &str)| {
        Secret::new(id.parse().expect("an id"), value).expect("a secret")
    };
    SecretList::new(secrets.iter().map(secret)).expect("a list")
}
