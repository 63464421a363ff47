//! Tests: the power goes at any step of what a rotator writes, and any part of what was not synced is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use keyswap_core::{Revision, Secret, SecretList};
use serde_json::json;

use super::FileStore;
use super::disk::{Change, Disk, Image, States};
use crate::{InstanceReport, Lease, SecretStore, StoreError};

const TERM: Duration = Duration::from_millis(100);

fn list(ids: &str) -> SecretList {
    let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap();
    SecretList::new(ids.split(' ').map(secret)).unwrap()
}

fn ids(list: &SecretList) -> String {
    list.ids().map(|id| id.as_str()).collect::<Vec<_>>().join(" ")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What one step of a rotator leaves when it returned.
#[derive(Clone, Debug)]
enum Leaves {
    List(&'static str),
    Journal(Vec<u8>),
    History,
    Lease,
    Nothing,
}

/// What was done to the disk, and what each part of it was for.
struct Recording {
    disk: Disk,
    /// Behind which change it began and ended.
    steps: Vec<(RangeInclusive<usize>, Leaves)>,
    /// What was there before.
    before: Allowed,
}

impl Recording {
    async fn step<T>(
        &mut self,
        leaves: Leaves,
        act: impl Future<Output = Result<T, StoreError>>,
    ) -> T {
        let began = self.disk.changes();
        let done = act.await.unwrap();
        self.steps.push((began..=self.disk.changes(), leaves));
        done
    }

    /// A rotation from the import to its end, with a second process that takes over in the middle.
    async fn make() -> Self {
        let disk = Disk::new();
        let path = disk.path().join("store");
        let open = || FileStore::create(&path, "billing").map(|store| store.lease(TERM));
        let mut recording = Self { disk, steps: Vec::new(), before: Allowed::default() };
        let it = &mut recording;
        let store = it.step(Leaves::Nothing, async { open() }).await;
        it.step(Leaves::List("old"), store.import(&list("old"))).await;
        let lease = it.step(Leaves::Lease, store.acquire("the first")).await;
        it.history(&store, &lease, 1).await;
        it.journal(&store, &lease, "generated").await;
        it.journal(&store, &lease, "generated, and much more of it").await;
        let (one, both) = (Revision::new(1), list("old new"));
        let publish = store.publish(&lease, one, &both, Some(TERM));
        it.step(Leaves::List("old new"), publish).await;
        let_time_pass(TERM * 2 / 3);
        it.step(Leaves::Nothing, store.renew(&lease)).await;
        it.history(&store, &lease, 2).await;
        it.journal(&store, &lease, "adopted").await;

        let_time_pass(TERM * 2);
        let second = open().unwrap();
        let taken = it.step(Leaves::Lease, second.acquire("the second")).await;
        it.history(&second, &taken, 3).await;
        it.journal(&second, &taken, "promoted").await;
        let (two, promoted) = (Revision::new(2), list("new old"));
        let publish = second.publish(&taken, two, &promoted, None);
        it.step(Leaves::List("new old"), publish).await;
        let mut report = InstanceReport::new("app", "i-1");
        let registration = it.step(Leaves::Nothing, second.register(&report)).await;
        report.revision = Some(Revision::new(3));
        it.step(Leaves::Nothing, second.report(&registration, &report)).await;
        it.history(&second, &taken, 4).await;
        // Without a journal between them, so that no name of a head is durable before the next line.
        it.history(&second, &taken, 5).await;
        it.history(&second, &taken, 6).await;
        it.journal(&second, &taken, "done").await;
        recording
    }

    /// A rotator that goes on from what a loss of power left.
    async fn after(image: &Image, leases: u64) -> Self {
        let disk = Disk::new();
        image.restore_onto(&disk);
        let store = FileStore::open(disk.path().join("store"), "billing").unwrap();
        let list = store.published().await.unwrap();
        let journal = store.journal().await.unwrap();
        let count = store.history().await.unwrap().len() as u64;
        let before = Allowed {
            lists: [list.map(|document| as_static(&ids(&document.list)))].into(),
            journals: [journal.map(|text| text.to_vec())].into(),
            appended: count,
            begun: count,
            leases,
        };
        let mut recording = Self { disk, steps: Vec::new(), before };
        let lease = recording.step(Leaves::Lease, store.acquire("the next")).await;
        recording.history(&store, &lease, count + 1).await;
        recording.journal(&store, &lease, "the next").await;
        recording
    }

    async fn history(&mut self, store: &FileStore, lease: &Lease, number: u64) {
        let record = json!({ "number": number, "text": "é".repeat(20) });
        self.step(Leaves::History, store.append_history(lease, &record)).await;
    }

    async fn journal(&mut self, store: &FileStore, lease: &Lease, text: &str) {
        let saved = store.save_journal(lease, text.as_bytes());
        self.step(Leaves::Journal(text.as_bytes().to_vec()), saved).await;
    }

    /// What a store may hold if the power went behind so many changes.
    fn allowed(&self, changes: usize) -> Allowed {
        let mut allowed = self.before.clone();
        for (span, leaves) in &self.steps {
            let (began, ended) = (*span.start() < changes, *span.end() <= changes);
            if !began {
                continue;
            }
            match leaves {
                Leaves::List(ids) => {
                    // An import takes the lease itself.
                    allowed.leases += u64::from(ended && allowed.lists == [None].into());
                    replace(&mut allowed.lists, *ids, ended);
                }
                Leaves::Journal(text) => replace(&mut allowed.journals, text.clone(), ended),
                Leaves::History => {
                    allowed.begun += 1;
                    allowed.appended += u64::from(ended);
                }
                Leaves::Lease => allowed.leases += u64::from(ended),
                Leaves::Nothing => {}
            }
        }
        allowed
    }

    /// Looks at each state that the disk may be in when the power goes behind each of these changes, and
    /// gives what is wrong with the first that is wrong.
    fn check(
        &self,
        log: &[Change],
        known: &mut BTreeSet<(Image, Allowed)>,
        prefixes: impl Iterator<Item = (usize, usize)>,
    ) -> Result<usize, String> {
        let mut looked_at = 0;
        for (prefix, changes) in prefixes {
            let allowed = self.allowed(changes);
            for image in States::after(self.disk.path(), &log[..prefix]).all() {
                looked_at += 1;
                let key = (image, allowed.clone());
                if known.contains(&key) {
                    continue;
                }
                let (image, allowed) = &key;
                block_on(reopen(image, allowed)).map_err(|wrong| {
                    let last = log[..prefix].last().map(name_of).unwrap_or_default();
                    format!("behind change {changes}, {last}: {wrong}")
                })?;
                known.insert(key);
            }
        }
        Ok(looked_at)
    }
}

/// The value that was there may still be: for certain it is replaced when the step has ended.
fn replace<T: Ord>(allowed: &mut BTreeSet<Option<T>>, value: T, ended: bool) {
    if ended {
        allowed.clear();
    }
    allowed.insert(Some(value));
}

fn let_time_pass(time: Duration) {
    std::thread::sleep(time);
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Allowed {
    lists: BTreeSet<Option<&'static str>>,
    journals: BTreeSet<Option<Vec<u8>>>,
    /// Records that were appended for certain, and those that were begun.
    appended: u64,
    begun: u64,
    /// Leases that were taken for certain.
    leases: u64,
}

impl Default for Allowed {
    fn default() -> Self {
        Self { lists: [None].into(), journals: [None].into(), appended: 0, begun: 0, leases: 0 }
    }
}

/// Opens the store after the loss of power: it holds the old or the new of everything, and a rotator goes on.
async fn reopen(image: &Image, allowed: &Allowed) -> Result<(), String> {
    let disk = Disk::new();
    image.restore(disk.path());
    let failed = |doing: &'static str| move |error: StoreError| format!("{doing}: {error}");
    let store =
        FileStore::create(disk.path().join("store"), "billing").map_err(failed("opening"))?;

    let published = store.published().await.map_err(failed("reading the list"))?;
    let (revision, found) = match &published {
        Some(document) => (document.revision, Some(ids(&document.list))),
        None => (Revision::INITIAL, None),
    };
    if !allowed.lists.contains(&found.as_deref().map(as_static)) {
        return Err(format!("the list is {found:?}, and should be one of {:?}", allowed.lists));
    }
    let journal = store.journal().await.map_err(failed("reading the journal"))?;
    let journal = journal.map(|text| text.to_vec());
    if !allowed.journals.contains(&journal) {
        return Err(format!(
            "the journal is {:?}",
            journal.as_deref().map(String::from_utf8_lossy)
        ));
    }
    let history = store.history().await.map_err(failed("reading the history"))?;
    let numbers: Vec<_> =
        history.iter().map(|entry| entry.record["number"].as_u64().unwrap()).collect();
    let count = numbers.len() as u64;
    if numbers != (1..=count).collect::<Vec<_>>()
        || !(allowed.appended..=allowed.begun).contains(&count)
    {
        return Err(format!(
            "the history has records {numbers:?}, {} are certain",
            allowed.appended
        ));
    }
    let instances = store.instances().await.map_err(failed("listing the instances"))?;
    if instances.iter().any(|instance| instance.live) {
        return Err("an instance lives".to_owned());
    }

    let lease = store.acquire("the next").await.map_err(failed("taking the lease"))?;
    if lease.epoch() <= allowed.leases {
        return Err(format!("the epoch is {}, and {} were used", lease.epoch(), allowed.leases));
    }
    if found.is_some() {
        let next = store.publish(&lease, revision, &list("next"), None).await;
        next.map_err(failed("publishing"))?;
    }
    store.save_journal(&lease, b"next").await.map_err(failed("saving the journal"))?;
    let head = store.append_history(&lease, &json!({ "number": count + 1 })).await;
    let head = head.map_err(failed("appending"))?;
    let history = store.history().await.map_err(failed("reading the history again"))?;
    if head.number != count + 1 || history.last().map(|entry| &entry.head) != Some(&head) {
        return Err(format!("the history ends with {:?}", history.last()));
    }
    let left = std::fs::read_dir(store.client_directory()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    match left.iter().find(|name| name.to_string_lossy().ends_with(".tmp")) {
        Some(name) => Err(format!("{} is left over", name.display())),
        None => Ok(()),
    }
}

fn as_static(ids: &str) -> &'static str {
    ["old", "old new", "new old"].into_iter().find(|known| *known == ids).unwrap_or("another")
}

fn name_of(change: &Change) -> String {
    let shown = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        // .NAME.0123456789abcdef.tmp
        match name.strip_suffix(".tmp").and_then(|name| name.strip_prefix('.')) {
            Some(name) => name.rsplit_once('.').map_or(name, |(name, _)| name).to_owned(),
            None => name.into_owned(),
        }
    };
    match change {
        Change::Sync { path, .. } => format!("sync of {}", shown(path)),
        Change::SyncDirectory { path } if path.ends_with("billing") => "sync of CLIENT/".to_owned(),
        Change::SyncDirectory { path } if path.ends_with("store") => {
            "sync of DIRECTORY/".to_owned()
        }
        Change::SyncDirectory { .. } => "sync of what DIRECTORY/ is in".to_owned(),
        Change::Write { bytes, .. } => format!("a write of {} bytes", bytes.len()),
        Change::SetLength { .. } => "a new length".to_owned(),
        Change::Rename { to, .. } => format!("a rename to {}", shown(to)),
        Change::Create { path, .. } => format!("the creation of {}", shown(path)),
        Change::MakeDirectory { path } => format!("the creation of {}/", shown(path)),
        Change::Remove { path } => format!("the removal of {}", shown(path)),
    }
}

#[test]
fn a_loss_of_power_at_any_step_leaves_the_old_or_the_new_and_a_rotator_goes_on() {
    let recording = block_on(Recording::make());
    let log = recording.disk.log();
    let mut known = BTreeSet::new();
    let prefixes = (0..=log.len()).map(|prefix| (prefix, prefix));
    let looked_at = recording.check(&log, &mut known, prefixes).unwrap();
    println!("{} changes, {looked_at} states, {} of them different", log.len(), known.len());
    assert!(log.len() > 80 && known.len() > 300, "{} changes, {} states", log.len(), known.len());
}

#[test]
fn a_second_loss_of_power_while_a_torn_history_is_mended_loses_nothing_more() {
    let recording = block_on(Recording::make());
    let log = recording.disk.log();
    let mut torn = BTreeSet::new();
    for prefix in 0..=log.len() {
        let leases = recording.allowed(prefix).leases;
        let images = States::after(recording.disk.path(), &log[..prefix]).all();
        let is_torn = |image: &Image| {
            let history = image.file("store/billing/history.jsonl").unwrap_or_default();
            history.contains(&0) || history.last().is_some_and(|last| *last != b'\n')
        };
        torn.extend(images.into_iter().filter(is_torn).map(|image| (image, leases)));
    }
    let (mut known, mut looked_at) = (BTreeSet::new(), 0);
    for (image, leases) in &torn {
        let again = block_on(Recording::after(image, *leases));
        let log = again.disk.log();
        let began = again.steps[0].0.start();
        let prefixes = (*began..=log.len()).map(|prefix| (prefix, prefix));
        looked_at += again.check(&log, &mut known, prefixes).unwrap();
    }
    println!("{} torn histories, {looked_at} states after the second loss", torn.len());
    assert!(torn.len() >= 8 && known.len() > 100, "{} torn, {} states", torn.len(), known.len());
}

/// Each sync is left out once, as if the code did not have it.
#[test]
fn a_sync_that_is_left_out_loses_something() {
    let recording = block_on(Recording::make());
    let log = recording.disk.log();
    let mut known = BTreeSet::new();
    let mut missed: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut example = BTreeMap::new();
    for (at, change) in log.iter().enumerate() {
        if !matches!(change, Change::Sync { .. } | Change::SyncDirectory { .. }) {
            continue;
        }
        let mut without = log.clone();
        without.remove(at);
        // Up to the sync it is the disk of the other test; what the sync was for shows soon after.
        let prefixes = (at..without.len().min(at + 30)).map(|prefix| (prefix, prefix + 1));
        let found = recording.check(&without, &mut known, prefixes);
        let (left_out, noticed) = missed.entry(name_of(change)).or_default();
        *left_out += 1;
        if let Err(wrong) = found {
            *noticed += 1;
            example.entry(name_of(change)).or_insert(wrong);
        }
    }
    for (name, (left_out, noticed)) in &missed {
        println!("{name}: left out {left_out} times, noticed {noticed} times");
        println!("    {}", example.get(name).map_or("", String::as_str));
    }
    for name in ["ring.json", "rotation.json", "history.jsonl", "history.head", "DIRECTORY/"] {
        let (left_out, noticed) = missed[&format!("sync of {name}")];
        assert_eq!(noticed, left_out, "sync of {name}");
    }
    assert!(missed["sync of lock"].1 > 0);
    // Three lists, five journals, and the first line of the history. Where the name was there before and
    // nothing but a number or a copy is behind it, the sync does no harm.
    assert!(missed["sync of CLIENT/"].1 >= 9);
}
