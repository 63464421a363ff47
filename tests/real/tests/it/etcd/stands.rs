//! What the store stands: a compaction in the middle of a watch, a lost lease of an instance, users and roles; and
//! the command.

use std::process::Stdio;
use std::time::{Duration, Instant};

use keyswap_core::{FallbackPolicy, Revision, UsageReport};
use keyswap_real_tests::{Etcd, installed};
use keyswap_store::{EtcdStore, Follow, InstanceReport, SecretStore, Watch, join};
use serde_json::json;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::{list, store};

/// A watch whose node was away for long looks at it again after up to 15 s, and once more after as long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_behind_a_compaction() {
    let mut etcd = Etcd::start().await;
    // It knows one node alone, and polls too late for this test: what is seen, the events tell.
    let of_one = EtcdStore::builder(etcd.endpoints().into_iter().take(1), "billing");
    let watching = of_one.poll(Duration::from_secs(3600)).build().expect("endpoints");
    let writing = EtcdStore::builder(etcd.endpoints(), "billing").build().expect("endpoints");
    writing.import(&list(&["first"])).await.expect("the first list");
    let mut watch = watching.watch().await.expect("a watch");
    let lease = writing.acquire("a test").await.expect("the lease");

    // What comes while that node is away is compacted away before it is back.
    etcd.kill(0).await;
    let mut revision = Revision::new(1);
    for id in ["second", "third"] {
        let next = writing.publish(&lease, revision, &list(&[id]), None).await;
        revision = next.expect("published");
    }
    let answer = etcd.ask("kv/range", json!({ "key": "AA==" })).await;
    let newest = answer["header"]["revision"].as_str().expect("a revision").to_owned();
    etcd.ask("kv/compaction", json!({ "revision": newest, "physical": true })).await;
    etcd.restart(0).await;

    timeout(PATIENCE, watch.changed()).await.expect("a hint behind the compaction");
    let fourth = writing.publish(&lease, revision, &list(&["fourth"]), None).await;
    let fourth = fourth.expect("published");
    timeout(PATIENCE, async {
        while watch.list().is_none_or(|document| document.revision < fourth) {
            watch.changed().await;
        }
    })
    .await
    .expect("hints go on, with the list that they tell of");
    assert_eq!(watch.list(), None, "it is given once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_lease_was_lost_is_listed_again_with_its_last_report() {
    let etcd = Etcd::start().await;
    // Long enough to be kept on a busy machine: what is lost by itself is written again.
    let term = Duration::from_secs(5);
    let store = EtcdStore::builder(etcd.endpoints(), "billing").lease(term);
    let store = store.build().expect("endpoints");
    let first = InstanceReport::new("invoices", "i-1");
    let registration = store.register(&first).await.expect("registered");
    let usage = json!({ "revision": 7, "secrets": [], "promotions": 0 });
    let usage: UsageReport = serde_json::from_value(usage).expect("a usage report");
    let report = first.next(usage);
    store.report(&registration, &report).await.expect("reported");

    let patience = Instant::now() + PATIENCE;
    let leases = loop {
        // A node tells of those that it knows: it need not be up to date.
        let leases = etcd.ask("lease/leases", json!({})).await;
        if let Some(leases) = leases["leases"].as_array().filter(|leases| !leases.is_empty()) {
            break leases.clone();
        }
        assert!(Instant::now() < patience, "the instance has no lease: {leases}");
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(leases.len(), 1, "an instance has one lease: {leases:?}");
    etcd.ask("lease/revoke", json!({ "ID": leases[0]["ID"] })).await;

    let patience = Instant::now() + PATIENCE;
    loop {
        let listed = store.instances().await.expect("readable");
        if let [one] = listed.as_slice() {
            assert_eq!(one.report, Ok(report.clone()));
            break;
        }
        assert!(Instant::now() < patience, "it does not come back: {listed:?}");
        sleep(Duration::from_millis(50)).await;
    }
    // At rest nothing is written: the leases are kept, and the revision of the store stays.
    let revision = async || {
        let answer = etcd.ask("kv/range", json!({ "key": "AA==" })).await;
        answer["header"]["revision"].as_str().expect("a revision").to_owned()
    };
    // A lease that was not kept in time, on a busy machine, is written again: not each time.
    let mut restless = 0;
    loop {
        let before = revision().await;
        sleep(term + Duration::from_secs(3)).await;
        if revision().await == before {
            break;
        }
        restless += 1;
        assert!(restless < 3, "something is written at rest");
    }
    assert_eq!(store.instances().await.expect("readable").len(), 1, "its lease was not kept");
    store.unregister(registration).await.expect("removed");
    assert!(store.instances().await.expect("readable").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_keeps_its_lease_over_one_stream_and_over_another_node_when_that_breaks() {
    let mut etcd = Etcd::start().await;
    let short = EtcdStore::builder(etcd.endpoints(), "billing").lease(Duration::from_secs(3));
    let store = short.build().expect("endpoints");
    let report = InstanceReport::new("invoices", "i-1");
    let registration = store.register(&report).await.expect("registered");

    let keep = "grpc_method=\"LeaseKeepAlive\"";
    // By node: the messages that came, and the streams that they came over.
    let kept = async |etcd: &Etcd| {
        let nodes = etcd.metrics().await.expect("nodes that answer");
        let count = nodes.iter().map(|node| {
            let messages = node.sum("grpc_server_msg_received_total", keep);
            (messages as u32, node.sum("grpc_server_started_total", keep) as u32)
        });
        count.collect::<Vec<_>>()
    };
    let patience = Instant::now() + PATIENCE;
    let before = loop {
        let now = kept(&etcd).await;
        // Another leader, as there may be one on a busy machine, ends the stream that is there.
        if now.iter().any(|(messages, streams)| *messages >= streams + 3) {
            break now;
        }
        assert!(Instant::now() < patience, "no stream keeps the lease for long: {now:?}");
        sleep(Duration::from_millis(100)).await;
    };

    let its = (0..before.len()).max_by_key(|node| before[*node].0).expect("a node");
    etcd.kill(its).await;
    let patience = Instant::now() + PATIENCE;
    while kept(&etcd).await.iter().all(|(messages, _)| *messages < 4) {
        assert!(Instant::now() < patience, "no other node keeps it");
        sleep(Duration::from_millis(100)).await;
    }
    let patience = Instant::now() + PATIENCE;
    while store.instances().await.expect("readable").len() != 1 {
        assert!(Instant::now() < patience, "it is not listed");
        sleep(Duration::from_millis(100)).await;
    }
    store.unregister(registration).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_kept_while_a_write_under_it_waits() {
    let etcd = Etcd::start().await;
    let store = store(&etcd, "billing");
    let lease = store.acquire("a test").await.expect("the lease");
    let mut saving = std::pin::pin!(store.save_journal(&lease, b"a journal"));
    // Begun, and then not polled, as a program does that keeps the lease between two turns of its work.
    assert!(futures_util::poll!(saving.as_mut()).is_pending(), "it is done without a wait");
    let kept = timeout(PATIENCE, store.renew(&lease)).await;
    kept.expect("it waits for the write, which waits for it").expect("the lease is held");
    saving.await.expect("saved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_be_given_no_more_than_it_needs() {
    let etcd = Etcd::start().await;
    let as_user = |user: &str, password: &str| {
        let builder = EtcdStore::builder(etcd.endpoints(), "billing");
        builder.user(user, password.to_owned()).build().expect("endpoints")
    };
    // As docs/stores/etcd.md says.
    allow(&etcd, "rotator", "r-password", &[("READWRITE", "/keyswap/v1/", true)]).await;
    let program = [
        ("READ", "/keyswap/v1/billing/ring", false),
        ("READWRITE", "/keyswap/v1/billing/instances/", true),
    ];
    allow(&etcd, "program", "p-password", &program).await;
    etcd.ask("auth/user/add", json!({ "name": "root", "password": "root-password" })).await;
    etcd.ask("auth/role/add", json!({ "name": "root" })).await;
    etcd.ask("auth/user/grant", json!({ "user": "root", "role": "root" })).await;
    etcd.ask("auth/enable", json!({})).await;

    let rotator = as_user("rotator", "r-password");
    let revision = rotator.import(&list(&["first"])).await.expect("the rotator may write");
    let program = as_user("program", "p-password");
    let joined = join(program.clone(), "invoices", FallbackPolicy::default()).await;
    let (ring, member) = joined.expect("a program may register, read, watch and report");
    let member = tokio::spawn(member);
    let mut changes = ring.subscribe();
    let lease = rotator.acquire("a test").await.expect("the lease");
    rotator.save_journal(&lease, b"a journal").await.expect("the rotator may write");
    rotator.publish(&lease, revision, &list(&["second"]), None).await.expect("published");
    timeout(PATIENCE, changes.changed()).await.expect("it follows");
    let patience = Instant::now() + PATIENCE;
    loop {
        let instances = rotator.instances().await.expect("readable");
        let reported = instances[0].report.as_ref().expect("a report").revision;
        if reported == Some(revision.next()) {
            break;
        }
        assert!(Instant::now() < patience, "it does not report: {instances:?}");
        sleep(Duration::from_millis(50)).await;
    }
    let error = program.journal().await.expect_err("the journal is not for programs");
    assert!(error.is_permissions(), "{error}");
    let error = program.acquire("a program").await.expect_err("the lease is not for programs");
    assert!(error.is_permissions(), "{error}");

    for (store, what) in [
        (as_user("program", "wrong-password"), "a wrong password"),
        (EtcdStore::builder(etcd.endpoints(), "billing").build().expect("endpoints"), "no user"),
    ] {
        let error = store.published().await.expect_err(what);
        assert!(error.is_permissions(), "{what}: {error}");
        let shown = format!("{error} {error:?} {store:?}");
        assert!(
            shown.contains("user and password") && !shown.contains("wrong-password"),
            "{shown}"
        );
    }
    member.abort();
}

/// A user with a role of its own, which has these permissions.
async fn allow(etcd: &Etcd, name: &str, password: &str, permissions: &[(&str, &str, bool)]) {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    etcd.ask("auth/user/add", json!({ "name": name, "password": password })).await;
    etcd.ask("auth/role/add", json!({ "name": name })).await;
    for (kind, key, below) in permissions {
        let mut permission = json!({ "permType": kind, "key": encode(key) });
        if *below {
            permission["range_end"] = json!(encode(&format!("{}0", key.trim_end_matches('/'))));
        }
        etcd.ask("auth/role/grant", json!({ "name": name, "perm": permission })).await;
    }
    etcd.ask("auth/user/grant", json!({ "user": name, "role": name })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_works_on_etcd_and_says_when_no_node_answers() {
    let mut etcd = Etcd::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let configuration = format!(
        "[client]\nid = \"billing\"\n[authority]\nkind = \"hydra\"\nurl = \"http://127.0.0.1:1\"\n\
         admin_url = \"http://127.0.0.1:1\"\nscope = \"read\"\n[store.etcd]\nendpoints = {:?}\n\
         [[application]]\nname = \"invoices\"\n",
        etcd.endpoints()
    );
    std::fs::write(directory.path().join("keyswap.toml"), configuration).expect("a configuration");
    std::fs::write(directory.path().join("secret"), "the-present-secret").expect("a secret");
    let keyswap = async |arguments: &[&str]| {
        let output = Command::new(installed("KEYSWAP_BIN"))
            .args(arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("the command can be started");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let place = format!("client billing, the etcd store at {}", etcd.endpoints().join(", "));
    let (code, said) = keyswap(&["status"]).await;
    for part in [place.as_str(), "list      none yet", "`keyswap init`", "instances none"] {
        assert!(code == Some(0) && said.contains(part), "{part:?} is not in: {said}");
    }
    let (code, said) = keyswap(&["init", "--secret-file", "secret"]).await;
    assert!(code == Some(0) && said.contains("the etcd store at http://127.0.0.1:"), "{said}");
    let registered =
        store(&etcd, "billing").register(&InstanceReport::new("invoices", "i-1")).await;
    let registered = registered.expect("registered");
    let (code, said) = keyswap(&["status"]).await;
    assert!(code == Some(0) && said.contains("i-1"), "{code:?} {said}");
    let (code, said) = keyswap(&["hold", "--by", "a person", "--reason", "a test"]).await;
    assert_eq!(code, Some(0), "{said}");
    // A hold, and an instance that has read nothing.
    let (code, said) = keyswap(&["status"]).await;
    for part in ["hold      by a person, until `keyswap hold --release`: a test", "not read yet"] {
        assert!(code == Some(0) && said.contains(part), "{part:?} is not in: {said}");
    }
    let (code, said) = keyswap(&["status", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert!(
        code == Some(0)
            && place.ends_with(
                json["store"].as_str().expect("a store").trim_end_matches(" (keys /keyswap/v1/)")
            ),
        "{said}"
    );
    let (code, said) = keyswap(&["history", "verify"]).await;
    assert_eq!(code, Some(0), "{said}");
    drop(registered);

    for node in 0..etcd.size() {
        etcd.kill(node).await;
    }
    let (code, said) = keyswap(&["status"]).await;
    assert_ne!(code, Some(0), "{said}");
    assert!(
        said.contains("the connection was refused") && said.contains("see that etcd runs"),
        "{said}"
    );
    assert!(!said.contains("the-present-secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_newer_version_is_left_alone_and_programs_keep_theirs() {
    use base64::Engine as _;
    let etcd = Etcd::start().await;
    let store = store(&etcd, "billing");
    store.import(&list(&["first"])).await.expect("the first list");
    let (ring, follow) =
        Follow::start(store.clone(), FallbackPolicy::default()).await.expect("it can be read");
    let mut status = follow.status();
    let following = tokio::spawn(follow.run());
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let newer = r#"{"keyswap": 2, "revision": 2, "secrets": {"b": "hunter2"}}"#;
    let key = encode("/keyswap/v1/billing/ring");
    etcd.ask("kv/put", json!({ "key": key, "value": encode(newer) })).await;
    let problem = timeout(PATIENCE, async {
        loop {
            // A look that was not answered is told as well.
            if let Some(problem) = status.changed().await
                && problem.contains("is of version")
            {
                break problem;
            }
        }
    });
    let problem = problem.await.expect("told");
    let lease = store.acquire("a test").await.expect("the lease");
    let published = store.publish(&lease, Revision::new(1), &list(&["other"]), None).await;
    let refused = published.expect_err("it is not known what is there").to_string();
    let read = store.published().await.expect_err("it is not known").to_string();
    for text in [&problem, &refused, &read] {
        for part in ["/keyswap/v1/billing/ring", "is of version 2", "use a newer keyswap"] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        assert!(!text.contains("hunter2") && !text.contains("backup"), "{text}");
    }
    assert_eq!(ring.snapshot().published().preferred().id().as_str(), "first");
    let found = etcd.ask("kv/range", json!({ "key": key })).await;
    assert_eq!(found["kvs"][0]["value"], encode(newer), "it was written over");
    following.abort();
}
