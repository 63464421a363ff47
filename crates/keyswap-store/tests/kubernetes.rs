//! A secret volume of Kubernetes, swapped by the calls that the kubelet makes.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Following, Log, child_directory, eventually, next_problem, set_mode};
use keyswap_core::{FallbackPolicy, SecretDocument, SecretRing};
use keyswap_store::{Follow, SecretSource};

/// So slow that only an event can be what brings a change.
const NEVER: Duration = Duration::from_secs(600);

/// Which kubelet it is: older ones make the links that a pod sees before they swap the volume, newer ones after that.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kubelet {
    LinksFirst,
    LinksLast,
}

/// What the kubelet does to a volume: the steps of `AtomicWriter.Write` in
/// kubernetes/pkg/volume/util/atomic_writer.go, call by call.
struct Volume {
    directory: PathBuf,
    kubelet: Kubelet,
    writes: u32,
}

impl Volume {
    fn new(directory: &Path, kubelet: Kubelet) -> Self {
        fs::create_dir(directory).unwrap();
        Self { directory: directory.to_owned(), kubelet, writes: 0 }
    }

    /// Writes these files, and calls `between` after each step that changes the disk.
    async fn write(&mut self, files: &[(&str, &str)], mut between: impl AsyncFnMut(&str)) {
        let target = |name: &str| self.directory.join(name);
        // (2)
        let old = fs::read_link(target("..data")).ok();
        // (3)
        let mut remove = Vec::new();
        if let Some(old) = &old {
            let walked = fs::read_dir(target(old.to_str().unwrap())).unwrap();
            let names = walked.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            remove.extend(names.filter(|name| files.iter().all(|(file, _)| file != name)));
            // (4)
            let changed = files.iter().any(|(name, text)| {
                let path = target(old.to_str().unwrap()).join(name);
                path.symlink_metadata().is_err() || fs::read_to_string(path).unwrap() != *text
            });
            assert!(changed || !remove.is_empty(), "the kubelet would write nothing");
        }
        // (5): the name of Go's MkdirTemp, with mode 0700 at first.
        self.writes += 1;
        let dated = format!("..2026_11_27_14_16_{:02}.{}", self.writes, 4_051_786 * self.writes);
        let data = self.directory.join(&dated);
        fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
        set_mode(&data, 0o755);
        between("the new directory is made").await;
        // (6)
        for (name, text) in files {
            let path = data.join(name);
            let mut open = fs::OpenOptions::new();
            let mut file = open.write(true).create(true).truncate(true).mode(0o644).open(&path);
            file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
            drop(file);
            set_mode(&path, 0o644);
            between(name).await;
        }
        // (7): SetVolumeOwnership, for a pod with an fsGroup.
        for (name, _) in files {
            set_mode(&data.join(name), 0o640);
        }
        set_mode(&data, 0o2775);
        if self.kubelet == Kubelet::LinksFirst {
            self.link(files);
            between("the links are made").await;
        }
        // (8)
        symlink(&dated, self.directory.join("..data_tmp")).unwrap();
        between("the link to the new directory is made").await;
        // (9)
        fs::rename(self.directory.join("..data_tmp"), self.directory.join("..data")).unwrap();
        between("the volume is swapped").await;
        // (10)
        if self.kubelet == Kubelet::LinksLast {
            self.link(files);
            between("the links are made").await;
        }
        // (11)
        for name in remove {
            fs::remove_file(self.directory.join(name)).unwrap();
            between("a link is removed").await;
        }
        // (12)
        if let Some(old) = old {
            fs::remove_dir_all(self.directory.join(old)).unwrap();
            between("the old directory is removed").await;
        }
    }

    fn link(&self, files: &[(&str, &str)]) {
        for (name, _) in files {
            let visible = self.directory.join(name);
            if fs::read_link(&visible).is_err() {
                symlink(Path::new("..data").join(name), visible).unwrap();
            }
        }
    }
}

async fn quietly(_: &str) {}

fn values(ring: &SecretRing) -> String {
    let snapshot = ring.snapshot();
    snapshot.published().iter().map(|secret| secret.expose()).collect::<Vec<_>>().join(" ")
}

async fn takes(ring: &SecretRing, expected: &str) {
    eventually(&format!("the ring takes {expected}"), async || {
        (values(ring) == expected).then_some(())
    })
    .await;
}

/// A secret document with this one value.
fn document(value: &str) -> String {
    let text = format!(r#"{{"keyswap": 1, "secrets": [{{"id": "{value}", "value": "{value}"}}]}}"#);
    assert!(SecretDocument::parse(text.as_bytes()).is_ok());
    text
}

#[tokio::test]
async fn each_swap_of_a_volume_is_taken_by_its_event_whatever_is_followed_in_it() {
    for kubelet in [Kubelet::LinksFirst, Kubelet::LinksLast] {
        let (log, _guard) = Log::collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("volume");
        let mut volume = Volume::new(&path, kubelet);
        let first =
            [("billing.json", &*document("a1")), ("client-secret", "a1"), ("previous", "z")];
        volume.write(&first, quietly).await;
        let sources = [
            SecretSource::document(path.join("billing.json")),
            SecretSource::lines(path.join("client-secret")),
            SecretSource::files(&path, ["client-secret"]),
        ];
        let mut followed = Vec::new();
        for source in sources {
            let policy = FallbackPolicy::default();
            let (ring, follow) = Follow::start_from(source.poll(NEVER), policy).await.unwrap();
            assert_eq!(follow.never_updates(), None);
            followed.push((ring, Following(tokio::spawn(follow.run()))));
        }
        for round in 2..5 {
            let value = format!("a{round}");
            let next = [("billing.json", &*document(&value)), ("client-secret", &*value)];
            volume.write(&next, quietly).await;
            for (ring, _) in &followed {
                takes(ring, &value).await;
            }
        }
        assert_eq!(log.count("WARN"), 0, "{}", log.text());
    }
}

#[tokio::test]
async fn whenever_it_is_read_during_a_swap_a_list_is_the_old_one_or_the_new_one_as_a_whole() {
    for kubelet in [Kubelet::LinksFirst, Kubelet::LinksLast] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("volume");
        let mut volume = Volume::new(&path, kubelet);
        let all = SecretSource::directory(&path);
        let named = SecretSource::files(&path, ["current", "previous"]);
        volume.write(&[("current", "b"), ("previous", "a")], quietly).await;
        // The old value moves to another name, one name goes, one comes back.
        let rounds = [
            (vec![("current", "c"), ("previous", "b")], "b a", "c b"),
            (vec![("current", "d")], "c b", "d"),
            (vec![("current", "e"), ("previous", "d")], "d", "e d"),
        ];
        for (files, old, new) in rounds {
            let mut seen = Vec::new();
            volume
                .write(&files, async |step| {
                    for source in [&all, &named] {
                        let read = Follow::start_from(source.clone(), FallbackPolicy::default());
                        let (ring, _) = read.await.unwrap_or_else(|error| {
                            panic!("{kubelet:?}: {step}: {error}");
                        });
                        let list = values(&ring);
                        assert!(list == old || list == new, "{kubelet:?}: {step}: {list}");
                        seen.push(list);
                    }
                })
                .await;
            assert_eq!((&*seen[0], &**seen.last().unwrap()), (old, new));
        }
    }
}

/// What a kubelet does for `subPath`: the file that the links lead to *now* is bound into the container.
#[tokio::test]
async fn a_sub_path_mount_is_named_as_never_updating_and_as_out_of_date_when_it_is() {
    const THIS: &str = "a_sub_path_mount_is_named_as_never_updating_and_as_out_of_date_when_it_is";
    let Some(directory) = child_directory() else {
        let directory = tempfile::tempdir().unwrap();
        // Mounts that nobody else sees, and that go with the process.
        match common::run_child_behind(&["unshare", "-Urm"], THIS, directory.path()) {
            Some(status) => assert!(status.success()),
            None => eprintln!("left out: this machine has no user namespaces"),
        }
        return;
    };
    let (log, _guard) = Log::collect();
    let mut volume = Volume::new(&directory.join("volume"), Kubelet::LinksLast);
    volume.write(&[("client-secret", "hunter2-a")], quietly).await;
    let bind = |of: &Path, to: &Path| {
        let mut mount = std::process::Command::new("mount");
        assert!(mount.arg("--bind").args([of, to]).status().unwrap().success());
    };
    let container = directory.join("the container");
    fs::create_dir(&container).unwrap();
    let mounted = container.join("client-secret");
    fs::write(&mounted, "").unwrap();
    let present = fs::canonicalize(directory.join("volume/client-secret")).unwrap();
    bind(&present, &mounted);

    // However it is reached, and in whatever form.
    let link = directory.join("link");
    symlink(&mounted, &link).unwrap();
    let by_subpath = [
        SecretSource::lines(&link),
        SecretSource::directory(&container),
        SecretSource::files(&container, ["client-secret"]),
        SecretSource::document(&mounted),
    ];
    let ring = SecretRing::new(common::list("other"));
    for source in by_subpath {
        let follow = Follow::source(source, ring.clone());
        let never = follow.never_updates().expect("it is a subPath mount");
        assert!(never.contains("never updates") && never.contains("without subPath"), "{never}");
    }
    // A volume that is mounted as a whole is none.
    let whole = directory.join("whole");
    fs::create_dir(&whole).unwrap();
    bind(&directory.join("volume"), &whole);
    let follow = Follow::source(SecretSource::directory(&whole), ring.clone());
    assert_eq!(follow.never_updates(), None);

    let source = SecretSource::lines(&mounted).poll(Duration::from_millis(100));
    let (ring, follow) = Follow::start_from(source, FallbackPolicy::default()).await.unwrap();
    assert_eq!(values(&ring), "hunter2-a");
    let mut status = follow.status();
    let _following = Following(tokio::spawn(follow.run()));
    eventually("it warns", async || (log.count("WARN") == 1).then_some(())).await;
    volume.write(&[("client-secret", "hunter2-b")], quietly).await;
    let problem = next_problem(&mut status).await;
    assert!(problem.contains("was replaced outside, and never changes any more"), "{problem}");
    assert_eq!(values(&ring), "hunter2-a");
    assert_eq!(log.count("WARN"), 2, "{}", log.text());
    assert!(!log.text().contains("hunter2"), "{}", log.text());
}

#[tokio::test]
async fn a_file_of_the_host_that_is_mounted_for_itself_is_warned_of_and_followed_in_place() {
    const THIS: &str =
        "a_file_of_the_host_that_is_mounted_for_itself_is_warned_of_and_followed_in_place";
    let Some(directory) = child_directory() else {
        let directory = tempfile::tempdir().unwrap();
        match common::run_child_behind(&["unshare", "-Urm"], THIS, directory.path()) {
            Some(status) => assert!(status.success()),
            None => eprintln!("left out: this machine has no user namespaces"),
        }
        return;
    };
    let (log, _guard) = Log::collect();
    let [host, mounted] = ["host", "mounted"].map(|name| directory.join(name));
    fs::write(&host, "hunter2-a\n").unwrap();
    fs::write(&mounted, "").unwrap();
    let mut mount = std::process::Command::new("mount");
    assert!(mount.arg("--bind").args([&host, &mounted]).status().unwrap().success());
    let source = SecretSource::lines(&mounted).poll(Duration::from_millis(100));
    let (ring, follow) = Follow::start_from(source, FallbackPolicy::default()).await.unwrap();
    assert_eq!(follow.never_updates(), None);
    let _following = Following(tokio::spawn(follow.run()));
    eventually("it warns", async || (log.count("mounted for itself") == 1).then_some(())).await;
    // In place, and never empty: it is looked at all the time.
    let file = fs::File::options().write(true).open(&host).unwrap();
    file.write_all_at(b"hunter2-b\n", 0).unwrap();
    takes(&ring, "hunter2-b").await;
    assert_eq!(log.count("WARN"), 1, "{}", log.text());
}
