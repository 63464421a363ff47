//! What somebody else put into the secret, and a secret that keyswap finds or makes.

use std::time::{Duration, Instant};

use keyswap_core::Revision;
use keyswap_store::{AwsStore, FileStore, SecretStore, StoreErrorKind};
use serde_json::json;

use super::{SECRET, World, list, put, value};

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_put_into_force_is_found_and_never_overwritten() {
    let world = World::with_list(&["old"]).await;
    let (store, moto) = (world.store(), &world.moto);
    let ours = moto.labels(SECRET).await["AWSCURRENT"].clone();
    // In the middle of a rotation, and before one.
    let lease = store.acquire("a rotation").await.expect("the lease");
    let theirs = put(&world.moto, "somebody-elses-secret", "AWSCURRENT").await;
    let refused = store.publish(&lease, Revision::new(1), &list(&["old", "new"]), None).await;
    store.release(lease).await.expect("given back");
    let before = store.acquire("a rotation").await.map(drop);
    for error in [refused.expect_err("a foreign secret"), before.expect_err("a foreign secret")] {
        let said = format!("{error} {error:?}");
        assert_eq!(*error.kind(), StoreErrorKind::Invalid, "{said}");
        for part in [&theirs, "a person or another tool", &ours, "update-secret-version-stage"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("somebody-elses-secret"), "{said}");
    }
    assert!(store.is_in_step().await.is_err());
    let published = store.published().await.expect("readable").expect("a list");
    assert_eq!(published.revision, Revision::new(1), "it was published all the same");
    let current = moto.labelled(SECRET, "AWSCURRENT").await;
    assert_eq!(current.as_deref(), Some("somebody-elses-secret"));

    // As the error says.
    let back = json!({
        "SecretId": SECRET, "VersionStage": "AWSCURRENT",
        "RemoveFromVersionId": theirs, "MoveToVersionId": ours,
    });
    moto.call("UpdateSecretVersionStage", back).await;
    let lease = store.acquire("a rotation").await.expect("the lease");
    let published = store.publish(&lease, Revision::new(1), &list(&["old", "new"]), None).await;
    published.expect("published");
    let labels = moto.labels(SECRET).await;
    assert_eq!(
        labels.keys().collect::<Vec<_>>(),
        ["AWSCURRENT", "AWSPENDING", "by-hand"],
        "{labels:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_value_put_by_somebody_else_is_no_other_secret() {
    let world = World::with_list(&["old"]).await;
    put(&world.moto, &value("old"), "AWSCURRENT").await;
    let store = world.store();
    assert!(
        !store.is_in_step().await.expect("readable"),
        "it is not the version that was published"
    );
    let lease = store.acquire("a rotation").await.expect("the lease");
    let published = store.publish(&lease, Revision::new(1), &list(&["old", "new"]), None).await;
    published.expect("published");
    assert!(store.is_in_step().await.expect("readable"));
    let labels = world.moto.labels(SECRET).await;
    assert_eq!(
        labels.keys().collect::<Vec<_>>(),
        ["AWSCURRENT", "AWSPENDING", "by-hand"],
        "{labels:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rotation_and_a_deleted_secret_are_found_before_anything_begins() {
    let world = World::with_list(&["old"]).await;
    let (store, moto) = (world.store(), &world.moto);
    let refused = async |says: &str| {
        let error = store.acquire("a rotation").await.map(drop).expect_err(says);
        assert!(error.to_string().contains(says), "{says}: {error}");
    };
    let theirs = put(&world.moto, "somebody-elses-candidate", "AWSPENDING").await;
    refused("another rotation is under way").await;
    let away = json!({
        "SecretId": SECRET, "VersionStage": "AWSPENDING", "RemoveFromVersionId": theirs,
    });
    moto.call("UpdateSecretVersionStage", away).await;
    store.acquire("a rotation").await.map(drop).expect("the lease");

    moto.call("DeleteSecret", json!({ "SecretId": SECRET, "RecoveryWindowInDays": 7 })).await;
    refused("restore-secret").await;
    moto.call("RestoreSecret", json!({ "SecretId": SECRET })).await;
    store.acquire("a rotation").await.map(drop).expect("the lease");

    let gone = json!({ "SecretId": SECRET, "ForceDeleteWithoutRecovery": true });
    moto.call("DeleteSecret", gone).await;
    refused("create-secret").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_holds_the_present_value_is_taken_over_and_another_one_is_left_alone() {
    let world = World::new().await;
    let (store, moto) = (world.store(), &world.moto);
    let create = json!({
        "Name": SECRET, "SecretString": value("older"), "ClientRequestToken": "0".repeat(32),
    });
    moto.call("CreateSecret", create).await;
    let error = store.import(&list(&["old"])).await.expect_err("another value");
    assert!(error.to_string().contains("Import that one if the server takes it"), "{error}");
    assert!(!format!("{error:?}").contains(&value("older")), "{error:?}");
    assert!(store.published().await.expect("readable").is_none(), "it was imported");
    assert_eq!(moto.labelled(SECRET, "AWSCURRENT").await, Some(value("older")));

    put(&world.moto, &value("old"), "AWSCURRENT").await;
    assert_eq!(moto.labelled(SECRET, "AWSPREVIOUS").await, Some(value("older")));
    store.import(&list(&["old"])).await.expect("the present value");
    assert!(store.is_in_step().await.expect("readable"));
    let labels = moto.labels(SECRET).await;
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["AWSCURRENT", "by-hand"]);
    assert!(labels["AWSCURRENT"].starts_with("keyswap-old-"), "{labels:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_in_use_already_is_put_into_aws_by_importing_it_again() {
    let world = World::new().await;
    let file =
        keyswap_store::FileStore::create(world.directory.path().join("store"), super::CLIENT);
    let file = file.expect("a directory");
    file.import(&list(&["old"])).await.expect("the first list");
    let store = world.store();
    let error = store.acquire("a rotation").await.map(drop).expect_err("no secret");
    assert!(error.is_not_found() && error.to_string().contains("keyswap init"), "{error}");
    let error = store.import(&list(&["other"])).await.expect_err("another list");
    assert!(error.is_already_exists(), "{error}");
    let again = list(&["named-otherwise"]);
    let same = keyswap_core::SecretList::new(again.iter().map(|secret| {
        keyswap_core::Secret::new(secret.id().clone(), value("old")).expect("a value")
    }));
    let revision = store.import(&same.expect("a list")).await.expect("the same value");
    assert_eq!(revision, Revision::new(1));
    assert_eq!(world.moto.labelled(SECRET, "AWSCURRENT").await, Some(value("old")));
    let error = store.import(&list(&["old"])).await.expect_err("it is there by now");
    assert!(error.is_already_exists(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_another_one_than_its_id_says_is_found() {
    let world = World::with_list(&["old"]).await;
    // The directory was lost, and somebody begins anew with the id that was used before.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let store = super::store(&world.moto, elsewhere.path());
    let other = keyswap_core::Secret::new("old".parse().expect("an id"), "another-value-012345");
    let other = keyswap_core::SecretList::new([other.expect("a value")]).expect("a list");
    let error = store.import(&other).await.expect_err("another value");
    assert!(error.to_string().contains("another value than the secret old"), "{error}");
    assert!(!format!("{error:?}").contains("another-value-012345"), "{error:?}");
    assert!(store.published().await.expect("readable").is_none(), "it was imported");
    assert_eq!(world.moto.labelled(SECRET, "AWSCURRENT").await, Some(value("old")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotator_that_lost_its_lease_moves_no_label() {
    let world = World::with_list(&["old"]).await;
    let open = || {
        let file = FileStore::create(world.directory.path().join("store"), super::CLIENT);
        let file = file.expect("a directory").lease(Duration::from_millis(500));
        AwsStore::new(file, super::secret(&world.moto))
    };
    let (store, other) = (open(), open());
    let lost = store.acquire("one that stops").await.expect("the lease");
    let patience = Instant::now() + super::PATIENCE;
    let _taken = loop {
        match other.acquire("one that goes on").await {
            Ok(lease) => break lease,
            Err(error) => assert!(error.is_held() && Instant::now() < patience, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let before = world.moto.labels(SECRET).await;
    let error = store.publish(&lost, Revision::new(1), &list(&["new", "old"]), None).await;
    let error = error.expect_err("the lease is lost");
    assert!(error.is_lease_lost(), "{error}");
    assert_eq!(world.moto.labels(SECRET).await, before);
}
