//! The page that `keyswap report` writes, in a real browser.

use std::path::{Path, PathBuf};

use keyswap_core::{Secret, SecretList};
use keyswap_real_tests::{browser, installed, seen};
use keyswap_store::{FileStore, SecretStore};
use serde_json::{Value, json};
use tokio::process::Command;

const HOSTILE: &str = "<script>document.title='pwned'</script><img src=http://127.0.0.1:9/x.png>";

async fn keyswap(arguments: &[&str]) -> String {
    let output = Command::new(installed("KEYSWAP_BIN")).args(arguments).output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A configuration for the store in this directory, of which nothing but the store is used here.
fn configure(directory: &Path, client: &str, store: &Path) -> PathBuf {
    let path = directory.join(format!("{client}.toml"));
    let text = format!(
        "[client]\nid = \"{client}\"\n\n[authority]\nkind = \"auth0\"\nurl = \"http://127.0.0.1:9\"\n\
         audience = \"https://api.example/\"\nmanagement_client_id = \"rotator\"\n\
         management_secret = {{ file = \"management-secret\" }}\n\n[store]\ndirectory = {store:?}\n\n\
         [[application]]\nname = \"billing\"\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

async fn report(configuration: &Path, page: &Path) {
    let (configuration, page) = (configuration.to_str().unwrap(), page.to_str().unwrap());
    keyswap(&["report", "--config", configuration, "--out", page]).await;
}

/// Looks at a page: it is not blank, asks for nothing, runs nothing, and fits each width.
async fn assert_fits(page: &Path, texts: &[&str]) -> Vec<Value> {
    let shots = page.with_extension("shots");
    std::fs::create_dir_all(&shots).unwrap();
    let looks = browser::look(page, &shots).await;
    let address = format!("file://{}", page.display());
    for look in &looks[1..] {
        let text = look["text"].as_str().unwrap();
        for part in texts {
            assert!(text.contains(part), "{part:?} is not in {look:#}");
        }
        let requests = look["requests"].as_array().unwrap();
        let elsewhere = requests.iter().filter_map(Value::as_str);
        let elsewhere: Vec<_> =
            elsewhere.filter(|url| *url != address && !url.starts_with("data:")).collect();
        assert!(elsewhere.is_empty(), "it asks for {elsewhere:?}");
        assert_eq!((&look["errors"], &look["scripts"]), (&json!([]), &json!(0)), "{look:#}");
        assert_eq!((&look["overflow"], &look["wide"]), (&json!(0), &json!([])), "{look:#}");
        let colours = look["colours"].as_u64().unwrap();
        assert!(
            colours > 50 && look["commonest"].as_f64().unwrap() < 0.99,
            "it is blank: {look:#}"
        );
    }
    assert_eq!(looks.len(), 6);
    let light =
        |name: &str| looks.iter().find(|look| look["name"] == name).unwrap()["background"].clone();
    assert_ne!(light("desk"), light("desk-dark"), "it knows of the dark");
    for look in &looks[1..] {
        let shot = shots.join(format!("{}.png", look["name"].as_str().unwrap()));
        assert!(std::fs::metadata(shot).unwrap().len() > 5_000);
    }
    looks
}

/// Where the pictures are kept after the test, if they are.
fn place(directory: &Path) -> PathBuf {
    let kept = std::env::var_os("KEYSWAP_SHOTS").map(PathBuf::from);
    let place = kept.unwrap_or_else(|| directory.to_owned());
    std::fs::create_dir_all(&place).unwrap();
    place.canonicalize().unwrap()
}

#[tokio::test]
async fn the_page_of_a_rotation_reads_well_on_a_telephone_a_desk_and_paper() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("demo");
    let place_of_store = store.to_str().unwrap();
    let demo =
        keyswap(&["demo", "--json", "--window", "500ms", "--directory", place_of_store]).await;
    let demo: Value = serde_json::from_str(demo.lines().last().unwrap()).unwrap();
    let client = std::fs::read_dir(&store).unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        entry.path().is_dir().then(|| entry.file_name().into_string().unwrap())
    });
    let client = client.expect("a client in the store");
    let page = place(directory.path()).join("rotation.html");
    report(&configure(directory.path(), &client, &store), &page).await;
    let texts =
        ["done", "cutting_over", "3 instances attested", "refused", "all are as they were written"];
    let looks = assert_fits(&page, &texts).await;
    assert!(demo["requests"].as_u64().unwrap() > 0 && demo["failed"] == 0);
    let version = looks[0]["version"].as_str().unwrap();
    seen::table(&format!(
        "| the page of `keyswap report` in | widths | requests elsewhere |\n| --- | --- | ---: |\n| {version} | 400, \
         720, 1280 | 0 |\n"
    ));
}

#[tokio::test]
async fn an_instance_that_is_called_script_runs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let client = "hostile";
    {
        let store = FileStore::create(&store, client).unwrap();
        let secret = Secret::new("s-old".parse().unwrap(), "hunter2-hunter2-hunter2").unwrap();
        store.import(&SecretList::new([secret]).unwrap()).await.unwrap();
        let lease = store.acquire("test").await.unwrap();
        for (position, state) in
            ["generated", "staged", "cutting_over", "retiring"].iter().enumerate()
        {
            let (at, used) = (1_795_802_292_021 + 3000 * position as u64, 40 * position);
            let row = |instance: usize| {
                json!({
                    "application": HOSTILE, "instance": format!("{HOSTILE}{instance}{}", "w".repeat(80)),
                    "instances": 1, "revision": 1, "old": [used, 0, 0], "new": [used, used, 0],
                })
            };
            let mut of_all = row(0);
            of_all.as_object_mut().unwrap().remove("instance");
            let line = json!({
                "at": at, "client": client, "holder": HOSTILE, "state": state, "old": "s-old",
                "new": "s-0123456789abcdef0123456789abcdef", "revision": 1,
                "uses": { "at": at, "applications": [of_all], "instances": (0..40).map(row).collect::<Vec<_>>() },
            });
            store.append_history(&lease, &line).await.unwrap();
        }
    }
    let page = place(directory.path()).join("hostile.html");
    report(&configure(directory.path(), client, &store), &page).await;
    let looks = assert_fits(&page, &["<script>document.title='pwned'</script>", "under way"]).await;
    assert!(
        !looks
            .iter()
            .any(|look| look["text"].as_str().is_some_and(|text| text.contains("hunter2")))
    );
}
