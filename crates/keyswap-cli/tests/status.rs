//! `keyswap status` at a store in a directory: what a person sees of it, also where something is wrong.

mod common;

use common::{CLIENT, Embedded, Programs, eventually, set_mode};

fn row(status: &str, application: &str) -> Option<String> {
    status.lines().find(|line| line.contains(&format!("{application}/i-"))).map(str::to_owned)
}

#[test]
fn it_names_the_store_that_it_reads_in_words_and_as_json() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let place = format!("the file store at {}", site.store().display());
    let text = site.command(&["status"]).run();
    let head = text.ends_with(0).stdout.lines().next().unwrap().to_owned();
    assert_eq!(head, format!("client {CLIENT}, {place}"));
    let json = site.command(&["status", "--json"]).run().json_lines().remove(0);
    assert_eq!(json["store"], place);
}

#[test]
fn an_empty_store_a_missing_one_and_one_that_others_may_read_are_told_apart() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    let shown = site.store().display().to_string();
    let status = || site.command(&["status"]).run();
    status().says(1, &["cannot open the file store", &shown, "correct the path", "`keyswap init`"]);
    std::fs::create_dir(site.store()).unwrap();
    set_mode(&site.store(), 0o755);
    status().says(1, &[&shown, "mode 755", &format!("chmod 700 {shown}")]);
    set_mode(&site.store(), 0o700);
    let empty = status();
    for part in ["list      none yet", "`keyswap init`", "rotation  none yet", "instances none"] {
        assert!(empty.ends_with(0).stdout.contains(part), "{part:?} is not in: {empty:#?}");
    }
}

#[test]
fn an_interrupted_rotation_a_hold_and_an_instance_that_is_gone_or_paused_are_seen() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let status = || site.command(&["status"]).run().ends_with(0).stdout.clone();
    let programs = Programs::start(site, CLIENT, 1, 20);
    // It holds the first list, and never takes another.
    programs.signal("STOP");
    let mut rotating = site.command(&["rotate"]).spawn();
    site.until_state(&mut rotating, "staged");
    eventually("the list is out", || (site.published().len() == 2).then_some(()));
    rotating.kill();
    rotating.wait();
    let put = ["hold", "--by", "ada", "--reason", "release freeze", "--for", "1h"];
    site.command(&put).run().ends_with(0);
    let text = status();
    for part in ["list      revision 2: [s-", "rotation  staged for", "`keyswap resume`, if nobody"]
    {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(text.contains("hold      by ada, until ") && text.contains("freeze"), "{text}");
    let paused = row(&text, CLIENT).expect("a row");
    let columns: Vec<_> = paused.split_whitespace().collect();
    assert_eq!(columns[1..3], ["yes", "1"], "it lives, and holds the first list: {paused}");
    assert!(paused.contains(" ago"), "{paused}");

    programs.kill();
    let gone = eventually("the instance is gone", || {
        let row = row(&status(), CLIENT)?;
        row.split_whitespace().any(|word| word == "no").then_some(row)
    });
    assert!(gone.split_whitespace().any(|word| word == "1"), "{gone}");
}

#[test]
fn one_store_that_cannot_be_read_hides_none_of_the_others() {
    let embedded = Embedded::of_several(&["billing", "orders", "stock"]);
    let site = &embedded.site;
    let ring = site.store().join("orders/ring.json");
    set_mode(&ring, 0o644);
    let output = site.command(&["status", "--all"]).run();
    output.says(1, &["1 of 3 clients cannot be read: orders", "stands above"]);
    for client in ["billing", "stock"] {
        assert!(output.stdout.contains(&format!("client {client}, the file store at ")));
    }
    let why = output.stderr.lines().find(|line| line.starts_with("orders: ")).unwrap();
    assert!(why.contains(&ring.display().to_string()) && why.contains("chmod 600"), "{why}");
    let json = site.command(&["status", "--all", "--json"]).run();
    assert_eq!(json.ends_with(1).json_lines().len(), 2);
}
