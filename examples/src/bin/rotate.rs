//! A whole rotation from code: the secret of a client changes at a server that holds only one, while
//! two programs go on signing in.
//!
//! ```text
//! cargo run -p keyswap-examples --bin rotate
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyswap::admin::{Application, Auth0, RotationPolicy, Rotator};
use keyswap::reqwest::{FallbackMiddleware, client_builder};
use keyswap::store::{FileStore, SecretStore, join};
use keyswap::tower::{ClientSecretPost, Profile};
use keyswap::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client};

const AUDIENCE: &str = "https://api.example/";
const CLIENT: &str = "AaiyAPdpYdesoKnqjj8HJqRn4T5titww";
const OLD: &str = "Vq3hCc0Zc1JxSecretOfOctober";
/// How long after a change the nodes of the server may disagree. Auth0 says 30 s.
const WINDOW: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In place of your tenant: three nodes, which take a change up one after the other.
    let server = AuthorizationServer::builder()
        .nodes(3)
        .propagation_window(WINDOW)
        .client(Client::new(CLIENT, OLD).grant(AUDIENCE))
        .management_client(Client::management("rotator", "mW4kSecretOfTheManagementClient"))
        .start()
        .await?;

    // Once: the store is made, and takes over the secret in use.
    let directory = tempfile::tempdir()?;
    let directory = directory.path().join("store");
    let store = FileStore::create(&directory, CLIENT)?;
    store.import(&SecretList::new([Secret::new("october".parse()?, OLD)?])?).await?;

    // The programs. In real life they are processes, each with the same few lines.
    let stop = Arc::new(AtomicBool::new(false));
    let billing = Program::start("billing", &directory, server.token_endpoint()).await?;
    let reports = Program::start("reports", &directory, server.token_endpoint()).await?;
    let billing = tokio::spawn(billing.work(Arc::clone(&stop)));
    let reports = tokio::spawn(reports.work(Arc::clone(&stop)));

    // The authority: whose secret is changed, and who may change it.
    let management = Secret::new("management".parse()?, "mW4kSecretOfTheManagementClient")?;
    let authority = Auth0::builder(server.url().parse()?, CLIENT)
        .management("rotator", SecretRing::new(SecretList::new([management])?))
        .audience(AUDIENCE)
        .propagation_window(WINDOW)
        .build()?;

    // Every application that uses the secret, and how long each must have left the old one alone. The
    // default of 10 minutes is for programs that keep a token for a while; these sign in all the time.
    let policy = RotationPolicy::new([Application::new("billing"), Application::new("reports")])
        .quiet_period(Duration::from_secs(1))
        .poll_every(Duration::from_millis(50));

    // If this process dies, now or at any later moment, or runs out of patience because a program does
    // not report: `rotator.resume(None)` goes on.
    let rotator = Rotator::new(authority, store)
        .patience(Duration::from_secs(60))
        .on_progress(|progress| println!("  {progress}"));
    println!("rotating, while billing and reports sign in:");
    let finished = rotator.run(policy).await?;

    stop.store(true, Ordering::Relaxed);
    let (billing, reports) = (billing.await?, reports.await?);
    println!("the secret {} is gone, {} is in use", finished.old, finished.new);
    for (name, tally) in [("billing", &billing), ("reports", &reports)] {
        println!("{name}: {} sign-ins, {} failed", tally.requests, tally.failed);
    }

    assert_eq!(billing.failed + reports.failed, 0, "sign-ins failed during the rotation");
    assert!(billing.requests > 0 && reports.requests > 0, "nobody signed in");
    assert!(!server.accepts_anywhere(CLIENT, OLD), "the server still accepts the old secret");
    server.shutdown().await;
    Ok(())
}

/// A program that uses the secret.
struct Program {
    client: reqwest_middleware::ClientWithMiddleware,
    endpoint: String,
    member: tokio::task::JoinHandle<()>,
}

/// What came of its requests.
#[derive(Default)]
struct Tally {
    requests: u32,
    failed: u32,
}

impl Program {
    async fn start(name: &str, store: &Path, endpoint: String) -> Result<Self, Box<dyn Error>> {
        // Registers, reads the list, follows it and reports: the rotation waits for these reports.
        let store = FileStore::open(store, CLIENT)?;
        let policy = FallbackPolicy::default().propagation_window(WINDOW);
        let (ring, member) = join(store, name, policy).await?;
        let member = tokio::spawn(member);

        let fallback =
            FallbackMiddleware::new(ring, ClientSecretPost::new(CLIENT)).profile(Profile::Auth0);
        let client = reqwest_middleware::ClientBuilder::new(client_builder().build()?)
            .with(fallback)
            .build();
        Ok(Self { client, endpoint, member })
    }

    async fn work(self, stop: Arc<AtomicBool>) -> Tally {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            let form = [("grant_type", "client_credentials"), ("audience", AUDIENCE)];
            let answer = self.client.post(&self.endpoint).form(&form).send().await;
            tally.requests += 1;
            tally.failed += u32::from(!answer.is_ok_and(|answer| answer.status().is_success()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.member.abort();
        tally
    }
}
