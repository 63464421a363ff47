//! Tests: a disk that runs full, or becomes read-only, at any step of any write.

use std::time::Duration;

use keyswap_core::{Revision, Secret, SecretList};
use serde_json::json;

use super::FileStore;
use super::disk::Disk;
use crate::{InstanceReport, Lease, SecretStore, StoreError};

/// `errno`, the system's words for it, and what a person is told to do.
const FAULTS: [(i32, &str, &str); 3] = [
    (28, "No space left on device", "make room on that file system and run it again"),
    (30, "Read-only file system", "put the store on a file system that can be written"),
    (13, "Permission denied", "run as the owner of"),
];

fn list(ids: &str) -> SecretList {
    let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap();
    SecretList::new(ids.split(' ').map(secret)).unwrap()
}

/// Each thing that writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Act {
    Import,
    Acquire,
    Renew,
    Publish,
    SaveJournal,
    AppendHistory,
    Register,
    Report,
}

const ACTS: [Act; 8] = [
    Act::Import,
    Act::Acquire,
    Act::Renew,
    Act::Publish,
    Act::SaveJournal,
    Act::AppendHistory,
    Act::Register,
    Act::Report,
];

struct World {
    disk: Disk,
    store: FileStore,
    lease: Option<Lease>,
    registration: Option<crate::Registration>,
}

impl World {
    /// A store as `act` finds it.
    async fn before(act: Act) -> Self {
        let disk = Disk::new();
        let store = FileStore::create(disk.path().join("store"), "billing").unwrap();
        let store = store.lease(Duration::from_millis(100));
        if act == Act::Import {
            return Self { disk, store, lease: None, registration: None };
        }
        store.import(&list("old")).await.unwrap();
        let lease = store.acquire("before").await.unwrap();
        store.save_journal(&lease, b"before").await.unwrap();
        store.append_history(&lease, &json!({ "number": 1 })).await.unwrap();
        let registration = match act {
            Act::Report => Some(store.register(&InstanceReport::new("app", "i-1")).await.unwrap()),
            _ => None,
        };
        if act == Act::Renew {
            std::thread::sleep(Duration::from_millis(60));
        }
        let lease = (act != Act::Acquire).then_some(lease);
        Self { disk, store, lease, registration }
    }

    async fn act(&self, act: Act) -> Result<(), StoreError> {
        let (store, lease) = (&self.store, self.lease.as_ref());
        match act {
            Act::Import => store.import(&list("old")).await.map(drop),
            Act::Acquire => store.acquire("next").await.map(drop),
            Act::Renew => store.renew(lease.unwrap()).await.map(drop),
            Act::Publish => {
                let revision = store.published().await?.unwrap().revision;
                store.publish(lease.unwrap(), revision, &list("old new"), None).await.map(drop)
            }
            Act::SaveJournal => store.save_journal(lease.unwrap(), b"after").await,
            Act::AppendHistory => {
                let number = store.history().await?.len() + 1;
                let record = json!({ "number": number });
                store.append_history(lease.unwrap(), &record).await.map(drop)
            }
            Act::Register => {
                // Each attempt of a program has an id of its own.
                let id = crate::report::random_instance()?;
                let report = InstanceReport::new("app", id);
                let registration = store.register(&report).await?;
                store.unregister(registration).await
            }
            Act::Report => {
                let mut report = InstanceReport::new("app", "i-1");
                report.revision = Some(Revision::new(1));
                store.report(self.registration.as_ref().unwrap(), &report).await
            }
        }
    }

    /// Whatever failed, what is there is the old or the new, and whole.
    async fn nothing_is_lost(&self, act: Act) {
        let published = self.store.published().await.unwrap();
        let ids = published.map(|document| {
            document.list.ids().map(|id| id.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        });
        let journal = self.store.journal().await.unwrap();
        let journal = journal.as_ref().map(|text| std::str::from_utf8(text).unwrap());
        let history = self.store.history().await.unwrap().len();
        let (lists, journals, lines): (&[_], &[_], _) = match act {
            Act::Import => (&[None, Some("old")], &[None], 0..=0),
            Act::Publish => (&[Some("old"), Some("old new")], &[Some("before")], 1..=1),
            Act::SaveJournal => (&[Some("old")], &[Some("before"), Some("after")], 1..=1),
            Act::AppendHistory => (&[Some("old")], &[Some("before")], 1..=2),
            _ => (&[Some("old")], &[Some("before")], 1..=1),
        };
        assert!(lists.contains(&ids.as_deref()), "{ids:?}");
        assert!(journals.contains(&journal), "{journal:?}");
        assert!(lines.contains(&history), "{history} lines");
        self.store.instances().await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_a_full_or_read_only_disk_ends_at_any_step_loses_nothing_and_says_what_to_do()
{
    let mut cases = 0;
    for (errno, words, way_out) in FAULTS {
        for act in ACTS {
            let mut ended = false;
            for after in 0.. {
                let world = World::before(act).await;
                world.disk.fail_after(after, errno);
                let outcome = world.act(act).await;
                world.nothing_is_lost(act).await;
                if !world.disk.repair() {
                    outcome.unwrap();
                    ended = true;
                    break;
                }
                cases += 1;
                // What could not be removed is removed later; then the act itself was done.
                if let Err(error) = outcome {
                    let text = error.to_string();
                    let place = world.disk.path().display().to_string();
                    assert!(
                        text.contains(&place) && text.contains(words),
                        "{act:?} {after}: {text}"
                    );
                    let told = text.contains(way_out) || text.contains("look at the disk");
                    assert!(told, "{act:?} {after}: {text}");
                }

                let again = world.act(act).await;
                match again {
                    // It was done after all: the disk did not confirm it.
                    Err(error) if act == Act::Import => {
                        assert!(error.is_already_exists(), "{error}");
                    }
                    again => again.unwrap_or_else(|error| panic!("{act:?} {after}: {error}")),
                }
                // And everything else works, and nothing is left over.
                let World { disk, store, lease, registration } = world;
                drop((lease, registration));
                let lease = store.acquire("the next").await.unwrap();
                let revision = store.published().await.unwrap().unwrap().revision;
                store.publish(&lease, revision, &list("new"), None).await.unwrap();
                store.save_journal(&lease, b"the next").await.unwrap();
                store.append_history(&lease, &json!({})).await.unwrap();
                store.history().await.unwrap();
                let left = std::fs::read_dir(store.client_directory()).unwrap();
                let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
                let left_over =
                    |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".tmp");
                assert!(!left.iter().any(left_over), "{act:?} {after}: {left:?}");
                drop(disk);
            }
            assert!(ended);
        }
    }
    println!("{cases} cases");
    assert!(cases > 100, "{cases}");
}
