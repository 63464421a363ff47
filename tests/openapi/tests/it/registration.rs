//! What is sent to a client configuration endpoint (RFC 7592) in whole rotations, and what the embedded one answers.

use keyswap_admin::authority::{Authority, RegistrationBuilder, RegistrationToken};
use keyswap_admin::{Registration, State};
use keyswap_openapi_tests::Vendor;
use keyswap_store::FileStore;
use keyswap_testkit::{
    AtUpdate, AuthorizationServer, Client, ClientAuthentication, Fault, Provider,
};
use tempfile::TempDir;

use crate::rotation::{Site, WINDOW, secret, statuses};

const OLD: &str = "old-secret-of-billing-0123456789";
const TOKEN: &str = "registration-token-0123456789";

struct World {
    server: AuthorizationServer,
    site: Site,
    directory: TempDir,
}

impl World {
    async fn new(at_update: AtUpdate, rotates_token: bool) -> Self {
        let basic = ClientAuthentication::SecretBasic;
        let server = AuthorizationServer::builder()
            .provider(Provider::Registration { at_update, rotates_token })
            .nodes(2)
            .propagation_window(WINDOW)
            .client(Client::new("billing", OLD).authentication(basic))
            .api_token(TOKEN)
            .record_exchanges()
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let world = Self { server, site: Site::new("billing", OLD).await, directory };
        world.token().put(TOKEN).await.unwrap();
        world
    }

    fn token(&self) -> RegistrationToken<FileStore> {
        RegistrationToken::new(
            FileStore::create(self.directory.path().join("store"), "token").unwrap(),
        )
    }

    fn registration(&self) -> RegistrationBuilder<FileStore> {
        let uri = format!("{}/register/billing", self.server.url()).parse().unwrap();
        let endpoint = self.server.token_endpoint().parse().unwrap();
        Registration::builder(uri, endpoint, "billing", self.token()).propagation_window(WINDOW)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_with_a_secret_of_either_side_s_choice_are_as_the_rfcs_describe_them() {
    // With an answer that is lost, where the token does not go with it.
    let issues = World::new(AtUpdate::IssuesSecret, false).await;
    let lost = [(State::Adding, Fault::AnswerLostAfterChange)];
    let authority = issues.registration().build().unwrap();
    issues.site.rotate_with_faults(authority, &issues.server, lost).await;
    // With another token each time.
    let takes = World::new(AtUpdate::TakesSecret, true).await;
    for _ in 0..2 {
        takes.site.rotate(takes.registration().client_chooses(true).build().unwrap()).await;
    }
    for (world, updates) in [(issues, 2), (takes, 2)] {
        let new = world.site.present().await;
        assert!(world.server.accepts("billing", new.expose()));
        let seen = Vendor::registration().assert_described(&world.server.exchanges());
        assert_eq!(seen["updateClient"], updates, "{seen:?}");
        assert!(seen["readClient"] >= updates, "{seen:?}");
    }
}

#[tokio::test]
async fn what_such_a_server_refuses_is_as_the_rfcs_describe_that() {
    let world = World::new(AtUpdate::KeepsSecret, true).await;
    let registration = world.registration().client_chooses(true).build().unwrap();
    // It lets no client choose.
    let _ = registration.set_secret(&secret("another-secret-of-billing-012345")).await;
    let _ = registration.regenerate_secret(&"new".parse().unwrap()).await;
    world.token().put("wrong").await.unwrap();
    let _ = registration.check().await;
    let exchanges = world.server.exchanges();
    let seen = Vendor::registration().assert_described(&exchanges);
    assert_eq!(seen["updateClient"], 2, "{seen:?}");
    assert_eq!(statuses(&exchanges), [200, 400, 401]);
}
