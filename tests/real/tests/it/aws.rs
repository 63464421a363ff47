//! The list in AWS Secrets Manager, at moto: what every store must do, publications that are cut off, what somebody else
//! put there, and rotations by the command.

mod faults;
mod foreign;
mod rotation;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use keyswap_core::{FallbackPolicy, Revision, Secret, SecretList};
use keyswap_real_tests::Moto;
use keyswap_store::{AwsSecret, AwsStore, FileStore, Follow, SecretStore, StoreErrorKind};
use keyswap_testkit::store::conformance;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const CLIENT: &str = "billing";
/// The secret of that client.
const SECRET: &str = "prod/billing";

fn secret(moto: &Moto) -> AwsSecret {
    AwsSecret::named("prod/{client}").region(moto.region()).endpoint(moto.endpoint())
}

fn store(moto: &Moto, directory: &Path) -> AwsStore<FileStore> {
    let file = FileStore::create(directory.join("store"), CLIENT).expect("a directory");
    AwsStore::new(file, secret(moto))
}

fn list(ids: &[&str]) -> SecretList {
    let secret = |id: &&str| Secret::new(id.parse().expect("an id"), value(id)).expect("a value");
    SecretList::new(ids.iter().map(secret)).expect("different ids")
}

fn value(id: &str) -> String {
    format!("value-of-{id}")
}

/// The values as a program gets them that knows the labels, in their order.
async fn values(moto: &Moto) -> Vec<String> {
    let mut values = Vec::new();
    let labels = ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS", "keyswap-4", "keyswap-5"];
    for label in labels {
        let value = moto.labelled(SECRET, label).await;
        values.extend(value.filter(|value| !values.contains(value)));
    }
    values
}

/// What a person or another tool puts under a label. Moved in a step of its own: moto leaves AWSCURRENT at two versions when
/// one is put there after it was moved, and AWS never does.
async fn put(moto: &Moto, value: &str, label: &str) -> String {
    let put = json!({
        "SecretId": SECRET, "SecretString": value, "VersionStages": ["by-hand"],
        "ClientRequestToken": format!("{:0>32}", value.len()),
    });
    let answer = moto.call("PutSecretValue", put).await;
    let version = answer["VersionId"].as_str().expect("a version").to_owned();
    let mut moved =
        json!({ "SecretId": SECRET, "VersionStage": label, "MoveToVersionId": version });
    if let Some(from) = moto.labels(SECRET).await.get(label) {
        moved["RemoveFromVersionId"] = from.as_str().into();
    }
    moto.call("UpdateSecretVersionStage", moved).await;
    version
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_store_does_what_every_store_must() {
    let moto = Moto::start().await;
    let began = Instant::now();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = secret(&moto);
    let open = async |client: &str| {
        let file = FileStore::create(directory.path().join("store"), client);
        let file = file.expect("a directory").lease(Duration::from_secs(1));
        AwsStore::new(file.poll(Duration::from_millis(100)), secret.clone())
    };
    let report = conformance(open).await;
    println!("{report} (in {:.1?})", began.elapsed());
    assert!(report.is_met(), "{report}");
}

/// A place to publish from, and moto.
struct World {
    moto: Moto,
    directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let moto = Moto::start().await;
        Self { moto, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// The same, with a first list.
    async fn with_list(ids: &[&str]) -> Self {
        let world = Self::new().await;
        world.store().import(&list(ids)).await.expect("the first list");
        world
    }

    fn store(&self) -> AwsStore<FileStore> {
        store(&self.moto, self.directory.path())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_cut_off_is_taken_up_and_no_reader_misses_a_secret() {
    let lists: [&[&str]; 6] = [
        &["old"],
        &["old", "new"],
        &["new", "old"],
        &["returned", "new", "old"],
        &["new", "old", "returned"],
        &["new"],
    ];
    let world = World::with_list(lists[0]).await;
    let moto = &world.moto;
    let followed = secret(moto).of_client(CLIENT).poll(Duration::from_millis(20));
    let (ring, follow) =
        Follow::start_aws(followed, FallbackPolicy::default()).await.expect("a list");
    let follow = tokio::spawn(follow.run());
    let store = world.store();
    let lease = store.acquire("a test").await.expect("the lease");

    let (mut revision, mut cut_off) = (Revision::new(1), 0);
    for lists in lists.windows(2) {
        let (before, after) = (lists[0], lists[1]);
        let kept: BTreeSet<_> = before.iter().filter(|id| after.contains(id)).collect();
        let mut cut = Duration::from_millis(4);
        loop {
            let list = list(after);
            let publish = store.publish(&lease, revision, &list, None);
            let published = timeout(cut, publish).await;
            let seen = values(moto).await;
            assert!(
                kept.iter().all(|id| seen.contains(&value(id))),
                "{before:?}, {after:?}: {seen:?}"
            );
            assert!([value(before[0]), value(after[0])].contains(&seen[0]), "{seen:?} leads");
            if let Ok(published) = published {
                revision = match published {
                    Ok(revision) => revision,
                    // The one before came to its end after it was looked for, below.
                    Err(error) if matches!(error.kind(), StoreErrorKind::Conflict { .. }) => {
                        store.published().await.expect("readable").expect("a list").revision
                    }
                    Err(error) => panic!("{error}"),
                };
                break;
            }
            cut_off += 1;
            // By a part of itself: a slow machine takes many times as long.
            cut += cut / 4;
            // What was begun last, the publication in the directory, may come to its end all the same.
            let there = store.published().await.expect("readable").expect("a list");
            if there.revision != revision {
                revision = there.revision;
                break;
            }
        }
        assert_eq!(values(moto).await, after.iter().map(|id| value(id)).collect::<Vec<_>>());
        assert!(store.is_in_step().await.expect("readable"));
        // A program that reads Secrets Manager alone gets there by itself.
        let patience = Instant::now() + PATIENCE;
        loop {
            let held = ring.snapshot().published().clone();
            if held.iter().map(Secret::expose).eq(after.iter().map(|id| value(id))) {
                break;
            }
            assert!(Instant::now() < patience, "it holds {held:?}, and {after:?} is published");
            sleep(Duration::from_millis(10)).await;
        }
    }
    println!("{cut_off} publications were cut off");
    assert!(cut_off >= lists.len(), "{cut_off} were cut off");
    let labels = moto.labels(SECRET).await;
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["AWSCURRENT"], "a retired secret has a label");
    follow.abort();
}
