//! The programs that `docs/exec.md` shows, through whole rotations at the testkit's server while a program signs in.

use std::time::Duration;

use keyswap_admin::{Application, Authority, Exec, Finished, RotationPolicy, Rotator};
use keyswap_core::{FallbackPolicy, Secret, SecretList};
use keyswap_real_tests::{Load, Program, Seen};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Fault, Provider, Times};
use keyswap_tower::{ClientSecretBasic, ClientSecretPost, Credential, Profile};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/exec");
const PAGE: &str = include_str!("../../../../docs/exec.md");
const OLD: &str = "old-secret-of-billing-0123456789";
const WINDOW: Duration = Duration::from_millis(200);

/// A rotation by this program under load; how many sign-ins failed.
async fn rotate<C: Credential + Clone + Send + Sync + 'static>(
    server: &AuthorizationServer,
    (program, generated, (variable, value)): (&str, bool, (&str, &str)),
    (credential, profile, parameters): (C, Profile, &'static str),
    accepts_gap: bool,
) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
    let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
    store.import(&SecretList::new([old]).unwrap()).await.unwrap();
    let policy = FallbackPolicy::default().propagation_window(WINDOW);
    let (ring, member) = join(store.clone(), "billing-app", policy).await.unwrap();
    let member = tokio::spawn(member);
    let program_that_signs_in = Program {
        endpoint: server.token_endpoint(),
        parameters: parameters.into(),
        ring,
        credential,
        profile,
    };
    let mut load = Load::new();
    load.add(Duration::from_millis(5), program_that_signs_in.with_middleware());
    let mut arguments = vec![server.url()];
    arguments.extend(generated.then(|| "--generated".to_owned()));
    let exec = Exec::builder(format!("{EXAMPLES}/{program}"), "billing")
        .arguments(arguments)
        .variable(variable, value)
        .describe()
        .await
        .unwrap();
    assert_eq!(exec.capabilities().chosen_by_caller, !generated);
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .propagation_window(WINDOW)
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(50));
    policy.in_flight_bound = Duration::from_millis(400);
    let mut rotator = Rotator::new(exec, store.clone()).patience(Duration::from_secs(60));
    if accepts_gap {
        rotator = rotator.accept_gap("a quiet night");
    }
    let Finished { new, .. } = rotator.run(policy).await.unwrap();
    let published = store.published().await.unwrap().unwrap().list;
    assert_eq!((published.len(), published.preferred().id()), (1, &new));
    server.until_settled("billing").await;
    assert!(server.accepts("billing", published.preferred().expose()));
    assert!(!server.accepts_anywhere("billing", OLD));
    member.abort();
    let tally = load.stop().await;
    let how = if generated { "the server chooses the value" } else { "keyswap chooses the value" };
    Seen { server: &format!("exec, {program}"), version: "embedded server", how }
        .rotated(1, &tally);
    tally.failures.len()
}

async fn with_one_secret(generated: bool) -> usize {
    let admin = ("OUR_ADMIN_SECRET", "secret-of-our-admin-0123456789012");
    let server = AuthorizationServer::builder()
        .nodes(3)
        .propagation_window(WINDOW)
        .client(Client::new("billing", OLD).grant("https://api.example/"))
        .management_client(Client::management("our-admin", admin.1))
        .start()
        .await
        .unwrap();
    // The program gets no answer to a change that is made.
    server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let parameters = "grant_type=client_credentials&audience=https%3A%2F%2Fapi.example%2F";
    let signs_in = (ClientSecretPost::new("billing"), Profile::Auth0, parameters);
    rotate(&server, ("one_secret.py", generated, admin), signs_in, generated).await
}

async fn with_two_secrets(generated: bool) -> usize {
    let token = ("OUR_TOKEN", "api-token-of-the-rotator-012345");
    let client = Client::new("billing", OLD).grant("default").scopes(["read"]);
    let server = AuthorizationServer::builder()
        .provider(Provider::Okta)
        .nodes(3)
        .propagation_window(WINDOW)
        .client(client.authentication(ClientAuthentication::SecretBasic))
        .api_token(token.1)
        .start()
        .await
        .unwrap();
    let parameters = "grant_type=client_credentials&scope=read";
    let signs_in = (ClientSecretBasic::new("billing"), Profile::Okta, parameters);
    rotate(&server, ("two_secrets.py", generated, token), signs_in, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_for_one_secret_rotates_and_no_request_fails_although_an_answer_is_lost() {
    assert_eq!(with_one_secret(false).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_for_one_secret_rotates_with_a_gap_where_the_server_chooses() {
    // How many fail depends on how long the gap is.
    with_one_secret(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_for_two_secrets_rotates_whoever_chooses_and_no_request_fails() {
    assert_eq!(with_two_secrets(false).await, 0);
    assert_eq!(with_two_secrets(true).await, 0);
}

#[test]
fn the_page_shows_the_program_for_one_secret_as_it_is() {
    let program = std::fs::read_to_string(format!("{EXAMPLES}/one_secret.py")).unwrap();
    let shown = PAGE.split("```python\n").nth(1).expect("a program");
    assert_eq!(shown.split("```").next(), Some(program.as_str()));
}
