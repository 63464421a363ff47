//! Signing in to the npm package `oidc-provider`, a genuine authorization server.

use std::time::{Duration, Instant};

use keyswap_core::Verdict::{Accepted, Inconclusive, RefusedBeforeGrant};
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_real_tests::{Load, OidcProvider, Program, Seen, read};
use keyswap_tower::credential::HmacAlgorithm;
use keyswap_tower::{ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential, Profile};
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
        ("wrong secret, Basic", wrong(grant()), 401, RefusedBeforeGrant),
        ("wrong secret, post", secret("wrong-secret"), 401, RefusedBeforeGrant),
        // The wire does not tell these from a wrong secret.
        (
            "unknown client",
            grant().basic_auth("nobody", Some("right-secret")),
            401,
            RefusedBeforeGrant,
        ),
        ("no secret", post(format!("{GRANT}&client_id=web")), 401, RefusedBeforeGrant),
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
    let mut answers = Vec::new();
    for (what, request, status, verdict) in cases {
        let answer = request.send().await.expect("the server answers");
        let (got, body, read) = read(answer, Profile::OidcProvider).await;
        println!("{what}: {got} {read:?} {body}");
        answers.push((what, (status, verdict), (got, read)));
    }
    let version = OidcProvider::version();
    Seen { server: "oidc-provider", version: &version, how: "its answers" }.answers(&answers);
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

/// This server takes no `jti` twice.
#[tokio::test]
async fn an_assertion_signed_with_a_refused_secret_is_followed_by_one_signed_with_the_next() {
    let right = "a-secret-as-long-as-the-longest-of-the-three-hashes-which-is-sixty-four";
    let server = OidcProvider::start(&[&format!("signer:{right}:client_secret_jwt")]).await;
    let stale = || ring(&[("wrong", "wrong-secret"), ("right", right)]);
    let algorithms = [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512];
    for algorithm in algorithms {
        let credential = ClientSecretJwt::new("signer").algorithm(algorithm);
        let layer = program(&server, stale(), credential.clone()).with_layer()().await;
        let middleware = program(&server, stale(), credential).with_middleware()().await;
        for sign_in in [layer, middleware] {
            let sign_in = sign_in.unwrap_or_else(|reason| panic!("{algorithm:?}: {reason}"));
            assert_eq!((sign_in.secret.as_str(), sign_in.attempts), ("right", 2), "{algorithm:?}");
        }
    }
    let counts = server.counts().await;
    assert_eq!(counts["success"], 6, "{counts:?}");
    assert_eq!(counts.values().sum::<u64>(), 12, "{counts:?}");
}

/// A code and refresh tokens that each work once, at a server that authenticates the client before it looks at them.
#[tokio::test]
async fn a_code_and_a_refresh_token_that_met_a_refused_secret_work_with_the_next() {
    const URI: &str = "https://billing.example/callback";
    let server = OidcProvider::start(&[BASIC]).await;
    let redeem = async |profile: Profile, secrets: &[(&str, &str)], parameters: String| {
        let web = program(&server, ring(secrets), ClientSecretBasic::new("web"));
        let program = Program { parameters: parameters.into(), profile, ..web };
        program.once().await.map(|(sign_in, answer)| {
            let refresh_token = answer["refresh_token"].as_str().expect("a refresh token");
            ((sign_in.secret.to_string(), sign_in.attempts), refresh_token.to_owned())
        })
    };
    let code = async || {
        let code = server.code("web", URI).await;
        format!("grant_type=authorization_code&code={code}&redirect_uri={URI}")
    };
    let refresh = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    let right = ("right", "right-secret");
    let stale = [("wrong", "wrong-secret"), right];
    let second = ("right".to_owned(), 2);

    let (with, token) = redeem(Profile::OidcProvider, &stale, code().await).await.expect("a token");
    assert_eq!(with, second, "the code");
    let refreshed = redeem(Profile::OidcProvider, &stale, refresh(&token)).await;
    assert_eq!(refreshed.expect("a token").0, second, "the refresh token");

    // A reader that does not know the order gives the refusal back, and the code is as good as before.
    let code = code().await;
    let refused = redeem(Profile::Rfc6749, &stale, code.clone()).await.expect_err("a refusal");
    assert!(refused.contains("401") && refused.contains("invalid_client"), "{refused}");
    let (with, token) = redeem(Profile::Rfc6749, &[right], code.clone()).await.expect("a token");
    assert_eq!(with, ("right".to_owned(), 1));
    // What is at stake: used again, the code takes back what was issued for it.
    let again = redeem(Profile::OidcProvider, &stale, code).await.expect_err("it was used");
    assert!(again.contains("invalid_grant"), "{again}");
    let gone = redeem(Profile::OidcProvider, &[right], refresh(&token)).await.expect_err("revoked");
    assert!(gone.contains("invalid_grant"), "{gone}");
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
    // Those were sign-ins of all together, and one of them may have had no turn yet.
    for ring in &rings {
        refused(ring, old.0).await;
    }
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

/// Waits until the server has refused this secret of the ring.
async fn refused(ring: &SecretRing, id: &str) {
    let id = id.parse().expect("an id");
    let patience = Instant::now() + Duration::from_secs(60);
    while ring.usage().of(&id).is_none_or(|usage| usage.refused == 0) {
        assert!(Instant::now() < patience, "a program did not meet the change: {ring:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn program<C: Credential>(server: &OidcProvider, ring: SecretRing, credential: C) -> Program<C> {
    Program {
        endpoint: server.token_endpoint().to_owned(),
        parameters: GRANT.into(),
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
