//! Rotations at a server that a program of somebody's own administers, with the real engine, store and processes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyswap_admin::authority::{
    AddAnswer, Authority, ChangeAnswer, ExecBuilder, Listed, NewSecret, Probe, ReadBack, SlotId,
};
use keyswap_admin::{
    Application, AuthorityError, AuthorityErrorKind, Exec, Finished, RotateError, RotateErrorKind,
    RotationPolicy, Rotator,
};
use keyswap_core::{FallbackPolicy, Secret, SecretList};
use keyswap_store::{FileStore, SecretStore, join};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exec/server.sh");
const OLD: &str = "old-secret-of-billing-0123456789";
const WINDOW: Duration = Duration::from_millis(50);

/// A server in a directory, a store, and an instance that reports.
struct World {
    directory: TempDir,
    store: FileStore,
    kind: &'static str,
    member: JoinHandle<()>,
}

impl World {
    async fn new(kind: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for part in ["slots", "inactive"] {
            std::fs::create_dir(directory.path().join(part)).unwrap();
        }
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        let policy = FallbackPolicy::default().propagation_window(WINDOW);
        let (_, member) = join(store.clone(), "billing-app", policy).await.unwrap();
        let member = tokio::spawn(member);
        let world = Self { directory, store, kind, member };
        std::fs::write(world.path("slots").join(world.first_slot()), OLD).unwrap();
        world
    }

    /// How the server names the secret that is there at first.
    fn first_slot(&self) -> &'static str {
        if self.holds_one() { "only" } else { "old.1" }
    }

    fn holds_one(&self) -> bool {
        self.kind.starts_with("one")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn builder(&self) -> ExecBuilder {
        let arguments = [Path::new(SERVER), self.directory.path(), Path::new(self.kind)];
        Exec::builder("sh", "billing").arguments(arguments)
    }

    async fn rotator(&self) -> Rotator<Exec, FileStore> {
        let exec = self.builder().describe().await.unwrap();
        let rotator = Rotator::new(exec, self.store.clone()).patience(Duration::from_secs(20));
        match self.kind {
            "one-generated" => rotator.accept_gap("a quiet night"),
            _ => rotator,
        }
    }

    /// Begins a rotation, or goes on with the one that there is.
    async fn go_on(&self) -> Result<Finished, RotateError> {
        let rotator = self.rotator().await;
        match rotator.run(policy()).await {
            Err(error) if matches!(error.kind(), RotateErrorKind::Unfinished) => {
                rotator.resume(None).await
            }
            other => other,
        }
    }

    /// What the program was asked, each request once.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("log")).unwrap();
        let mut asked: Vec<_> = text.lines().map(str::to_owned).collect();
        asked.sort();
        asked.dedup();
        asked
    }

    fn secrets_at_the_server(&self) -> Vec<String> {
        let of = |part: &str| {
            let files = std::fs::read_dir(self.path(part)).unwrap();
            files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        };
        of("slots").chain(of("inactive")).collect()
    }

    /// The server holds what the programs hold, and nothing else.
    async fn assert_rotated(&self) {
        let document = self.store.published().await.unwrap().unwrap();
        let published: Vec<_> =
            document.list.iter().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(self.secrets_at_the_server(), published);
        assert!(published.len() == 1 && published[0] != OLD);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.member.abort();
    }
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(25));
    policy.in_flight_bound = Duration::from_millis(100);
    policy
}

const KINDS: [&str; 4] = ["one-own", "one-generated", "two-own", "two-generated"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_follows_from_what_the_program_says_that_its_server_can_do() {
    for kind in KINDS {
        let world = World::new(kind).await;
        let finished = world.go_on().await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(!finished.rolled_back);
        world.assert_rotated().await;
        let change: &[&str] = match kind {
            "one-own" => &["set_secret"],
            "one-generated" => &["regenerate_secret"],
            _ => &["add_secret", "remove_secret", "set_active"],
        };
        let asked = world.asked();
        for request in change {
            assert!(asked.iter().any(|asked| asked == request), "{kind}: {asked:?}");
        }
        if kind.ends_with("own") {
            let made = &world.secrets_at_the_server()[0];
            // The longest that the server takes, of the letters and digits among its characters.
            assert_eq!(made.len(), 50, "{kind}");
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            assert!(made.bytes().all(plain), "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_dies_at_any_request_before_or_after_it_was_carried_out_costs_no_secret() {
    let of_kind = async |kind| {
        let model = World::new(kind).await;
        model.go_on().await.unwrap();
        for request in model.asked() {
            for moment in ["before", "after"] {
                let world = World::new(kind).await;
                let crash = world.path("crash");
                std::fs::write(&crash, format!("{request} {moment}")).unwrap();
                if request == "describe" {
                    let error = world.builder().describe().await.unwrap_err();
                    assert!(error.to_string().contains("signal: 9"), "{error}");
                }
                let mut tries = 0;
                while let Err(error) = Box::pin(world.go_on()).await {
                    tries += 1;
                    assert!(tries < 4, "{kind}, {request} {moment}: {error}");
                    // Whatever the error is, what the server accepts is in the store.
                    let kept = world.store.published().await.unwrap().unwrap();
                    let journal = world.store.journal().await.unwrap();
                    let journal = String::from_utf8(journal.unwrap_or_default().to_vec()).unwrap();
                    let held = world.secrets_at_the_server();
                    let known = |value: &String| {
                        journal.contains(value) || kept.list.iter().any(|one| one.matches(value))
                    };
                    assert!(kind == "one-generated" || held.iter().any(known), "{request}");
                }
                assert!(!crash.exists(), "{kind}: {request} was not asked");
                world.assert_rotated().await;
            }
        }
    };
    tokio::join!(
        Box::pin(of_kind("one-own")),
        Box::pin(of_kind("one-generated")),
        Box::pin(of_kind("two-own")),
        Box::pin(of_kind("two-generated"))
    );
}

/// A program of one line of shell, in which `$request` is what it was asked.
async fn exec(script: &str) -> Result<Exec, AuthorityError> {
    builder(script).describe().await
}

const ONE: &str = "\"secrets\":1,\"value_chosen_by\":\"caller\",\"propagation_window_seconds\":0";

fn builder(script: &str) -> ExecBuilder {
    let script = format!(
        "line=$(cat); field() {{ printf %s \"$line\" | sed -n 's/.*\"'$1'\":\"\\([^\"]*\\)\".*/\\1/p'; }}
        request=$(field request); value=$(field value)
        if [ \"$request\" = describe ]; then
        echo '{{\"keyswap\":1,\"outcome\":\"ok\",\"capabilities\":{{{ONE}}}}}'; exit; fi
        say() {{ echo '{{\"keyswap\":1,'\"$1\"'}}'; }}
        {script}"
    );
    Exec::builder("sh", "billing").arguments(["-c", &script])
}

fn secret(value: &str) -> Secret {
    Secret::new("new".parse().unwrap(), value).unwrap()
}

#[tokio::test]
async fn what_cannot_be_an_answer_is_named_with_the_way_out_and_leaves_a_change_open() {
    for (script, named) in [
        ("echo '<!DOCTYPE html><p>Bad Gateway'", "page (HTML or XML)"),
        ("echo hello", "not the one JSON object"),
        ("echo '{} {}'", "missing field `keyswap`"),
        ("say '\"outcome\":\"done\"'", "unknown variant `done`"),
        ("say '\"outcome\":\"applied\"'; echo more", "not the one JSON object"),
        ("say '\"outcome\":\"applied\"'; exit 3", "exit status: 3"),
        ("say '\"outcome\":\"applied\"'; kill -KILL $$", "signal: 9"),
        ("echo '{\"keyswap\":2,\"outcome\":\"applied\"}'", "speaks version 2"),
        (":", "it answered nothing"),
        ("echo oops >&2; exit 1", "It said: oops"),
        ("head -c 2000000 /dev/zero", "longer than 1048576 bytes"),
        ("yes", "longer than 1048576 bytes"),
        ("say '\"outcome\":\"accepted\"'", "does not know"),
        ("say '\"outcome\":\"error\",\"error\":\"busy\"'", "does not know"),
        ("say '\"outcome\":\"applied\",\"value\":\"another\"'", "names another secret"),
    ] {
        let exec = exec(script).await.unwrap();
        let answer = exec.set_secret(&secret("value-of-the-new-secret")).await;
        let ChangeAnswer::Unknown(reason) = answer else { panic!("{script}: {answer:?}") };
        assert!(reason.contains(named), "{script}: {reason}");
    }
    // The same to a question is an error, and to a proof nothing certain.
    let exec = exec("echo hello").await.unwrap();
    let error = exec.check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Unexpected);
    assert!(error.to_string().starts_with("the program sh, asked to check: "), "{error}");
    let Probe::Inconclusive(_) = exec.probe(&secret("value")).await else { panic!() };
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named_and_has_changed_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    let refused = async |named: &str| {
        let error = Exec::builder(&path, "billing").describe().await.unwrap_err();
        assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
        let text = error.to_string();
        let shown = path.display().to_string();
        assert!(text.contains(named) && text.contains(&shown) && text.contains("#!"), "{text}");
    };
    refused("No such file").await;
    std::fs::write(&path, "echo").unwrap();
    refused("Permission denied").await;

    // One that is gone after it has said what it can do.
    let link = directory.path().join("shell");
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    let script = format!(
        "cat >/dev/null; echo '{{\"keyswap\":1,\"outcome\":\"ok\",\"capabilities\":{{{ONE}}}}}'"
    );
    let exec = Exec::builder(&link, "billing").arguments(["-c", &script]).describe().await.unwrap();
    std::fs::remove_file(&link).unwrap();
    let answer = exec.set_secret(&secret("value-of-the-new-secret")).await;
    assert!(matches!(answer, ChangeAnswer::Refused(_)), "{answer:?}");
}

#[tokio::test]
async fn a_program_that_does_not_read_what_it_is_asked_is_told_so() {
    let script = format!(
        "case $(dd bs=40 count=1 2>/dev/null) in *describe*)
        echo '{{\"keyswap\":1,\"outcome\":\"ok\",\"capabilities\":{{{ONE}}}}}' ;; esac
        exec <&-"
    );
    // More than a pipe holds.
    let client = "x".repeat(200_000);
    let exec = Exec::builder("sh", client).arguments(["-c", &script]).describe().await.unwrap();
    let error = exec.check().await.unwrap_err().to_string();
    assert!(error.contains("it closed its standard input before it had read"), "{error}");
}

#[tokio::test]
async fn what_is_declared_has_to_hold_together() {
    let declared = async |capabilities: &str| {
        let script = format!(
            "cat >/dev/null; echo '{{\"keyswap\":1,\"outcome\":\"ok\",\"capabilities\":{{{capabilities}}}}}'"
        );
        Exec::builder("sh", "billing").arguments(["-c", &script]).describe().await
    };
    let exec = declared(ONE).await.unwrap();
    assert_eq!(exec.capabilities().slots, 1);
    assert!(exec.capabilities().chosen_by_caller && !exec.capabilities().read_back);
    for (from, to, named) in [
        ("\"secrets\":1,", "", "missing field `secrets`"),
        ("\"secrets\":1", "\"secrets\":0", "`secrets` is 1 or more"),
        ("\"secrets\":1", "\"secrets\":1,\"deactivation\":true", "`deactivation` is for"),
        ("\"secrets\":1", "\"secrets\":2,\"read_back\":true", "`read_back` is for"),
        ("\"caller\"", "\"nobody\"", "unknown variant `nobody`"),
        ("seconds\":0", "seconds\":-1", "`propagation_window_seconds` is from 0"),
        ("seconds\":0", "seconds\":1e9", "`propagation_window_seconds` is from 0"),
        ("\"secrets\":1", "\"secrets\":1,\"red_back\":true", "unknown field `red_back`"),
        ("\"secrets\":1", "\"secrets\":1,\"value\":{\"longest\":20}", "119 bits of entropy"),
    ] {
        let error = declared(&ONE.replace(from, to)).await.unwrap_err();
        assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
        assert!(error.to_string().contains(named), "{error}");
        assert!(error.to_string().contains("`capabilities`"), "{error}");
    }
    let missing = builder("").environment("KEYSWAP_TEST_IS_NOT_SET").describe().await.unwrap_err();
    assert!(missing.to_string().contains("KEYSWAP_TEST_IS_NOT_SET is not set"), "{missing}");
    let hurried = builder("").timeout(Duration::from_millis(1)).describe().await.unwrap_err();
    assert!(hurried.to_string().contains("100ms to 5m"), "{hurried}");
}

#[tokio::test]
async fn what_the_program_refuses_is_an_error_of_its_kind_and_in_its_words() {
    let new = secret("value-of-the-new-secret");
    for (error, kind) in [
        ("credentials", AuthorityErrorKind::Credentials),
        ("permission", AuthorityErrorKind::Permissions),
        ("no_such_client", AuthorityErrorKind::NoSuchClient),
        ("unsupported_client", AuthorityErrorKind::UnsupportedClient),
        ("configuration", AuthorityErrorKind::Configuration),
        ("refused", AuthorityErrorKind::Refused),
        ("unsupported", AuthorityErrorKind::Refused),
    ] {
        let words = "ask ada for the role";
        let script = format!(
            "case $request in *_*) o=not_applied ;; *) o=error ;; esac
            say '\"error\":\"{error}\",\"reason\":\"{words}\",\"outcome\":\"'$o'\"'"
        );
        let exec = exec(&script).await.unwrap();
        let said = exec.check().await.unwrap_err();
        assert_eq!(said.kind(), kind);
        assert_eq!(
            said.to_string(),
            format!("the program sh, asked to check for client billing: {error}: {words}")
        );
        let ChangeAnswer::Refused(said) = exec.set_secret(&new).await else { panic!("{error}") };
        assert_eq!(said.kind(), kind);
        let slot = SlotId::new("s1");
        let answers = [exec.set_active(&slot, false).await, exec.remove_secret(&slot).await];
        assert!(answers.iter().all(|answer| matches!(answer, ChangeAnswer::Refused(_))));
        let AddAnswer::Refused(_) = exec.add_secret(&NewSecret::Known(new.clone())).await else {
            panic!("{error}")
        };
        let AddAnswer::Refused(_) = exec.regenerate_secret(new.id()).await else { panic!() };
        let Listed::Unavailable(said) = exec.slots(&[]).await else { panic!() };
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_and_a_change_is_left_to_the_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let script = format!(
        "echo >>{0}; if [ $(wc -l <{0}) -lt 3 ]; then
        say '\"outcome\":\"error\",\"error\":\"busy\",\"retry_after_seconds\":0.01'
        else say '\"outcome\":\"ok\"'; fi",
        count.display()
    );
    exec(&script).await.unwrap().check().await.unwrap();
    assert_eq!(std::fs::read_to_string(&count).unwrap().len(), 3);
    std::fs::remove_file(&count).unwrap();
    let script = format!(
        "echo >>{}; say '\"outcome\":\"error\",\"error\":\"permission\",\"retry_after_seconds\":0.01'",
        count.display()
    );
    exec(&script).await.unwrap().check().await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&count).unwrap().len(), 1, "only one that is busy");

    for (error, seconds, expected) in [
        ("busy", ",\"retry_after_seconds\":7", Duration::from_secs(7)),
        ("busy", "", Duration::from_secs(2)),
        // Nothing reached the server, says the program.
        ("unreachable", "", Duration::from_secs(2)),
    ] {
        let script = format!("say '\"outcome\":\"not_applied\",\"error\":\"{error}\"{seconds}'");
        let exec = exec(&script).await.unwrap();
        let answer = exec.set_secret(&secret("value-of-the-new-secret")).await;
        let ChangeAnswer::RetryAfter(pause) = answer else { panic!("{error}: {answer:?}") };
        assert_eq!(pause, expected);
    }
}

#[tokio::test]
async fn an_empty_or_endless_name_of_a_secret_is_no_answer_and_one_without_a_value_no_secret() {
    let new = NewSecret::Awaited("new".parse().unwrap());
    for (fields, named) in [
        (",\"value\":\"generated-value-0123456789\"", "how the server names the secret"),
        (",\"slot\":\"\",\"value\":\"generated-value-0123456789\"", "with no text"),
        (",\"slot\":\"s1\"", "holds no secret"),
        (",\"slot\":\"s1\",\"value\":\"a\\\\u0000b\"", "holds no secret"),
    ] {
        let exec = exec(&format!("say '\"outcome\":\"applied\"{fields}'")).await.unwrap();
        let AddAnswer::Unknown(reason) = exec.add_secret(&new).await else { panic!("{fields}") };
        assert!(reason.contains(named), "{fields}: {reason}");
    }
    let silent = exec("say '\"outcome\":\"ok\"'").await.unwrap();
    let Listed::Unavailable(_) = silent.slots(&[]).await else { panic!() };
    let ReadBack::Unavailable(_) = silent.read_back(&[]).await else { panic!() };
}

/// Whether a process is there that still does something.
fn runs(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim().starts_with('Z'))
}

async fn until_gone(ids: &str) {
    for _ in 0..1000 {
        if !ids.split_whitespace().any(runs) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a process of {ids:?} is still there");
}

#[tokio::test]
async fn a_program_that_never_answers_is_ended_with_all_that_it_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let ids = directory.path().join("ids");
    let hang = format!("sleep 600 & echo $$ $! >{0}.new; mv {0}.new {0}; wait", ids.display());
    // A busy machine may need longer to start it.
    let mut started = None;
    for seconds in [3, 12, 48] {
        let patient = builder(&hang).timeout(Duration::from_secs(seconds));
        let Ok(exec) = patient.describe().await else { continue };
        let answer = exec.set_secret(&secret("value-of-the-new-secret")).await;
        let ChangeAnswer::Unknown(reason) = answer else { panic!("{answer:?}") };
        assert!(reason.contains(&format!("no answer within {seconds} s")), "{reason}");
        started = std::fs::read_to_string(&ids).ok();
        if started.is_some() {
            break;
        }
    }
    let started = started.expect("it was started");
    let own = started.split_whitespace().next().unwrap();
    assert!(!Path::new("/proc").join(own).exists(), "it is a zombie");
    until_gone(&started).await;

    // The same when nobody waits for the answer any more.
    std::fs::remove_file(&ids).unwrap();
    let exec = builder(&hang).describe().await.unwrap();
    let asked = tokio::spawn(async move { exec.check().await });
    while !ids.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asked.abort();
    until_gone(&std::fs::read_to_string(&ids).unwrap()).await;
}

#[tokio::test]
async fn an_answer_counts_although_something_that_was_left_running_holds_the_output_open() {
    let exec = exec("sleep 600 & say '\"outcome\":\"ok\"'").await.unwrap();
    exec.check().await.unwrap();
}

#[tokio::test]
async fn a_secret_is_on_standard_input_alone_and_what_the_program_says_of_it_is_hidden() {
    let directory = tempfile::tempdir().unwrap();
    let seen = directory.path().join("seen");
    let script = format!(
        "tr '\\0' '\\n' </proc/self/environ >{0}; tr '\\0' '\\n' </proc/self/cmdline >>{0}
        echo \"sends $value now, at $CARGO_MANIFEST_DIR\" >&2
        say '\"outcome\":\"not_applied\",\"reason\":\"'$value' is weak\"'",
        seen.display()
    );
    let said = Arc::<Mutex<Vec<String>>>::default();
    let heard = said.clone();
    let exec = builder(&script)
        .environment("CARGO_MANIFEST_DIR")
        .on_said(move |line| heard.lock().unwrap().push(line.to_owned()))
        .describe()
        .await
        .unwrap();
    let new = secret("value-of-the-new-secret");
    let ChangeAnswer::Refused(error) = exec.set_secret(&new).await else { panic!() };
    assert!(error.to_string().ends_with("refused: [secret] is weak"), "{error}");
    assert_eq!(said.lock().unwrap()[0], "sends [secret] now, at [secret]");
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(!seen.contains("value-of-the-new"), "{seen}");
    assert!(seen.contains("PATH=") && seen.contains("CARGO_MANIFEST_DIR="), "{seen}");
    assert!(!seen.contains("CARGO_PKG_NAME="), "only what was named: {seen}");
    assert!(!format!("{exec:?}").contains("CARGO"), "{exec:?}");
}

#[tokio::test]
async fn much_that_is_said_is_read_and_cut_off() {
    let said = Arc::<Mutex<Vec<String>>>::default();
    let heard = said.clone();
    let exec = builder("yes 'it goes on' | head -c 1000000 >&2; say '\"outcome\":\"ok\"'")
        .on_said(move |line| heard.lock().unwrap().push(line.to_owned()))
        .describe()
        .await
        .unwrap();
    exec.check().await.unwrap();
    let said = said.lock().unwrap();
    assert!(said.len() < 2000, "{}", said.len());
    assert_eq!(said.last().unwrap(), "(it said more, which is left out)");
}
