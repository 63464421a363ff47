//! What goes wrong, and what a person is told then: the right exit code, one paragraph that names the
//! thing, the reason and the next step, and nothing half-written.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use common::{
    CLIENT, Command, Embedded, Programs, Running, Site, Vault, contents, eventually, mode, set_mode,
};
use keyswap_testkit::{Endpoint, Fault, Times};

const REAL_SECRET: &str = "6oU3hYb2Qm8Zr1Tn5Wk9";

/// A directory of its own, and the secrets in it.
fn directory() -> (tempfile::TempDir, Vault) {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    vault.add(REAL_SECRET);
    (directory, vault)
}

/// Everything below the site but the lock file, which says who held it last.
fn without_lock(site: &Site) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut found = contents(&site.path(""));
    found.retain(|path, _| !path.ends_with("lock"));
    found
}

/// A site with a server and the present secret in the store.
fn site_with_secret() -> Embedded {
    let embedded = Embedded::start();
    embedded.site.import();
    embedded
}

fn rotate(site: &Site) -> Running {
    site.command(&["rotate"]).spawn()
}

fn resume(site: &Site) -> common::Output {
    site.command(&["resume"]).run()
}

#[test]
fn a_secret_that_is_none_is_refused_and_nothing_is_written() {
    let (directory, vault) = directory();
    let file = directory.path().join("secret");
    let long = REAL_SECRET.repeat(205);
    let with_tab = format!("{REAL_SECRET}\t{REAL_SECRET}");
    let two_lines = format!("{REAL_SECRET}\n{REAL_SECRET}\n");
    let cases: [(&[u8], &str); 6] = [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (long.as_bytes(), "is 4100 bytes long; the longest that is taken is 4096"),
        (with_tab.as_bytes(), "a control character at byte 20"),
        (two_lines.as_bytes(), "a control character at byte 20"),
        (b"abc\xff", "not UTF-8 text from byte 3"),
    ];
    for (secret, reason) in cases {
        std::fs::write(&file, secret).unwrap();
        let before = contents(directory.path());
        let init = |arguments: &[&str]| {
            let arguments = [&["init", "--client-id", CLIENT], arguments].concat();
            Command::new(&vault, &arguments).directory(directory.path())
        };
        let shown = file.display().to_string();
        let from_file = init(&["--secret-file", &shown]).run();
        from_file.says(2, &[&shown, reason, "the client secret and nothing else"]);
        let from_input = init(&["--secret-stdin"]).input(secret).run();
        from_input.says(2, &["standard input", reason, "the client secret and nothing else"]);
        let value = std::os::unix::ffi::OsStrExt::from_bytes(secret);
        let value: &std::ffi::OsStr = value;
        let from_environment =
            init(&["--secret-env", "PRESENT"]).environment("PRESENT", value).run();
        from_environment.says(2, &["environment variable PRESENT", reason]);
        assert_eq!(contents(directory.path()), before);
    }
    let init = ["init", "--client-id", CLIENT, "--secret-env", "NO_SUCH_VARIABLE"];
    let unset = Command::new(&vault, &init).directory(directory.path()).run();
    unset.says(2, &["NO_SUCH_VARIABLE", "is not set", "set it"]);
    let init = ["init", "--client-id", CLIENT, "--secret-file", "no-such-file"];
    let missing = Command::new(&vault, &init).directory(directory.path()).run();
    missing.says(2, &["no-such-file", "No such file"]);
    assert!(!directory.path().join("keyswap.toml").exists());
}

#[test]
fn a_secret_of_an_unnamed_client_is_not_stored() {
    let (directory, vault) = directory();
    let init = Command::new(&vault, &["init", "--secret-stdin"]).directory(directory.path());
    init.input(REAL_SECRET).run().says(2, &["keyswap.toml is not there", "--client-id"]);
    assert_eq!(contents(directory.path()).len(), 0);

    Command::new(&vault, &["init"]).directory(directory.path()).run().ends_with(0);
    let init = Command::new(&vault, &["init", "--secret-stdin"]).directory(directory.path());
    init.input(REAL_SECRET).run().says(2, &["keyswap.toml, line 4", "THE-CLIENT-ID", "fill it in"]);
    assert_eq!(contents(directory.path()).len(), 1);
}

#[test]
fn a_store_whose_files_are_not_as_they_should_be_is_refused_and_left_alone() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let ring = site.client_directory().join("ring.json");
    let text = std::fs::read_to_string(&ring).unwrap();
    let path = ring.display().to_string();
    let refused = |texts: &[&str]| {
        let before = without_lock(site);
        for command in ["rotate", "status"] {
            let texts = [&[path.as_str()], texts].concat();
            site.command(&[command]).run().says(1, &texts);
        }
        assert_eq!(without_lock(site), before);
    };

    std::fs::write(&ring, &text[..text.len() / 2]).unwrap();
    refused(&["ends in the middle", "restore it from a backup"]);
    std::fs::write(&ring, text.replace("\"keyswap\": 1", "\"keyswap\": 7")).unwrap();
    refused(&["version 7", "knows version 1", "newer keyswap"]);
    std::fs::write(&ring, text.replace("\"revision\"", "\"revison\"")).unwrap();
    refused(&["unknown", "near line", "`revision`"]);
    std::fs::write(&ring, "").unwrap();
    refused(&["is empty", "restore it from a backup"]);
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let secret = document["secrets"][0].clone();
    document["secrets"] = serde_json::json!([]);
    std::fs::write(&ring, document.to_string()).unwrap();
    refused(&["holds no secret", "at least one"]);
    let mut other = secret.clone();
    other["value"] = REAL_SECRET.into();
    document["secrets"] = serde_json::json!([secret, other]);
    std::fs::write(&ring, document.to_string()).unwrap();
    refused(&["twice", secret["id"].as_str().unwrap(), "its own id"]);
    std::fs::write(&ring, &text).unwrap();
    set_mode(&ring, 0o644);
    refused(&["mode 644", "chmod 600"]);
    std::fs::remove_file(&ring).unwrap();
    std::fs::create_dir(&ring).unwrap();
    refused(&["it is a directory", "move it out of the way"]);
    std::fs::remove_dir(&ring).unwrap();
    site.command(&["rotate"]).run().says(1, &["holds no secret", "import", "nothing was changed"]);

    std::fs::write(&ring, &text).unwrap();
    set_mode(&ring, 0o600);
    set_mode(&site.store(), 0o755);
    let shown = site.store().display().to_string();
    let open = site.command(&["rotate"]).run();
    open.says(1, &[&shown, "mode 755", "chmod 700"]);
    set_mode(&site.store(), 0o700);
    let moved = site.path("elsewhere");
    std::fs::rename(site.store(), &moved).unwrap();
    let missing = site.command(&["rotate"]).run();
    missing.says(1, &[&shown, "No such file", "correct the path", "`keyswap init`"]);
    std::fs::write(site.store(), "").unwrap();
    site.command(&["rotate"]).run().says(1, &[&shown, "not a directory", "name a directory"]);
    std::fs::remove_file(site.store()).unwrap();
    std::fs::rename(&moved, site.store()).unwrap();
    site.command(&["status"]).run().ends_with(0);
}

#[test]
fn a_damaged_journal_needs_a_person_and_is_kept() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let journal = site.client_directory().join("rotation.json");
    let text = std::fs::read_to_string(&journal).unwrap();
    let shown = site.store().display().to_string();
    let mut without_candidate: serde_json::Value = serde_json::from_str(&text).unwrap();
    without_candidate["new"]["value"] = format!("{REAL_SECRET}\t{REAL_SECRET}").into();
    let bad_candidate = without_candidate.to_string();
    without_candidate.as_object_mut().unwrap().remove("new");
    for (damaged, reason) in [
        (without_candidate.to_string(), "is damaged at line"),
        (bad_candidate, "a value that is not a secret: keep the file"),
        (text[..text.len() / 2].to_owned(), "is damaged at line"),
        (text.replace("\"keyswap_journal\": 3", "\"keyswap_journal\": 9"), "use a newer keyswap"),
    ] {
        std::fs::write(&journal, &damaged).unwrap();
        let published = site.published();
        for command in ["rotate", "resume", "rollback", "retire", "status"] {
            let said = site.command(&[command]).run();
            said.says(6, &[CLIENT, &shown, "journal", reason]);
            let leads_on = said.paragraph().ends_with("go on with `keyswap resume`");
            assert!(leads_on || command == "status", "{said:#?}");
        }
        let confirm = ["confirm", CLIENT, "--by", "ada", "--reason", "saw it"];
        site.command(&confirm).run().says(6, &[CLIENT, &shown, "journal", reason]);
        assert_eq!(std::fs::read_to_string(&journal).unwrap(), damaged);
        assert_eq!(site.published(), published, "both secrets are kept");
    }
    std::fs::write(&journal, text).unwrap();
    set_mode(&journal, 0o640);
    let open = site.command(&["resume"]).run();
    open.says(1, &["rotation.json", "mode 640", "chmod 600"]);
    set_mode(&journal, 0o600);
    site.command(&["status"]).run().ends_with(0);
}

#[test]
fn a_store_that_lost_its_list_in_mid_rotation_stops_it_until_the_list_is_put_back() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let programs = Programs::start(site, CLIENT, 1, 20);
    let ring = site.client_directory().join("ring.json");
    let kept = std::fs::read(&ring).unwrap();
    std::fs::remove_file(&ring).unwrap();
    let journal = site.journal();
    let shown = site.store().display().to_string();
    for command in ["resume", "rollback"] {
        let texts = [CLIENT, &shown, "lost the published list", "staged", "put the list back"];
        let stopped = site.command(&[command]).run();
        stopped.says(6, &texts).says(6, &["`keyswap resume`"]);
        assert_eq!(site.journal(), journal, "both secrets are kept");
    }
    site.command(&["rotate"]).run().says(1, &["has not come to its end", "`keyswap resume`"]);
    assert_eq!(embedded.server().counts().changes, 0);
    std::fs::write(&ring, kept).unwrap();
    set_mode(&ring, 0o600);
    resume(site).ends_with(0);
    site.is_rotated_from(&old);
    let (requests, failed, _) = programs.stop();
    assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");
}

#[test]
fn a_history_with_a_missing_line_stops_the_rotation_before_the_next_act() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let history = site.client_directory().join("history.jsonl");
    let whole = std::fs::read_to_string(&history).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    assert!(lines.len() > 1);
    let _programs = Programs::start(site, CLIENT, 1, 20);
    let shown = history.display().to_string();
    let (first, last) = (lines[..lines.len() - 1].join("\n"), lines[1..].join("\n"));
    for (cut, reason) in [(first, "it ends after line"), (last, "line 1: it says that it is")] {
        std::fs::write(&history, cut + "\n").unwrap();
        for command in ["resume", "rollback"] {
            site.command(&[command]).run().says(1, &[&shown, reason, "backup"]);
        }
        let published = site.published();
        assert!(published.len() == 2 && published.contains(&old), "both secrets are kept");
        assert_eq!(
            (site.state().as_deref(), embedded.server().counts().changes),
            (Some("staged"), 0)
        );
    }
    std::fs::write(&history, whole).unwrap();
    resume(site).ends_with(0);
    site.is_rotated_from(&old);
}

#[test]
fn a_configuration_with_a_mistake_is_refused_with_its_line() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let right = std::fs::read_to_string(site.configuration()).unwrap();
    let shown = site.configuration().display().to_string();
    let line_of = |text: &str, part: &str| {
        text.lines().position(|line| line.contains(part)).map(|line| format!(", line {}", line + 1))
    };
    let before = contents(&site.store());
    let refused = |from: &str, to: &str, at: Option<&str>, texts: &[&str]| {
        assert!(right.contains(from));
        let text = right.replace(from, to);
        std::fs::write(site.configuration(), &text).unwrap();
        let place = at.map(|part| line_of(&text, part).unwrap()).unwrap_or_default();
        let place = format!("{shown}{place}");
        for command in ["rotate", "resume", "status", "init"] {
            let mut run = site.command(&[command]);
            if command == "init" {
                run = run.argument("--secret-stdin").input(REAL_SECRET);
            }
            run.run().says(2, &[&[place.as_str()], texts].concat());
        }
        assert_eq!(contents(&site.store()), before);
    };
    let directory = "directory = \"keyswap-store\"";
    let misspelt = format!("directroy = \"x\"\n{directory}");
    refused(directory, &misspelt, Some("directroy"), &["unknown field `directroy`", "`directory`"]);
    refused(directory, "", None, &["[store] has neither a `directory` nor [store.etcd]"]);
    refused("[client]", "[client", Some("[client"), &[]);
    refused(
        "kind = \"auth0\"",
        "kind = \"other\"",
        Some("other"),
        &[
            "other",
            "auth0",
            "cognito",
            "entra",
            "fusionauth",
            "hydra",
            "keycloak",
            "okta",
            "zitadel",
        ],
    );
    refused("\"250ms\"\nquiet", "\"soon\"\nquiet", Some("soon"), &["duration"]);
    refused("instances = 1", "instances = 0", None, &["[[application]] number 1", "1 or more"]);
    let source = "{ file = \"management-secret\" }";
    let secret = format!("\"{REAL_SECRET}\"");
    site.vault.add(REAL_SECRET);
    let way_out = ["a secret never stands", "file = \"PATH\"", "env = \"NAME\""];
    refused(source, &secret, Some("[authority]"), &way_out);
    let secret = format!("{{ value = \"{REAL_SECRET}\" }}");
    refused(source, &secret, Some("[authority]"), &way_out);

    std::fs::write(site.configuration(), right.replace(CLIENT, "THE-CLIENT-ID")).unwrap();
    site.command(&["rotate"]).run().says(2, &[&shown, "line 2", "THE-CLIENT-ID", "fill it in"]);
    std::fs::remove_file(site.configuration()).unwrap();
    site.command(&["rotate"])
        .run()
        .says(2, &[&shown, "No such file", "`keyswap init`", "--config"]);
    std::fs::create_dir(site.configuration()).unwrap();
    site.command(&["rotate"]).run().says(2, &[&shown, "directory"]);
}

#[test]
fn a_name_that_there_is_not_is_told_with_the_one_that_may_have_been_meant() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let client = site.command(&["status", "--client", "biling"]).run();
    client.says(2, &["names no client biling; it names billing; did you mean billing?"]);
    let right = std::fs::read_to_string(site.configuration()).unwrap();
    for (from, to, meant) in [
        ("[store]", "[stroe]", "store"),
        ("url = ", "ulr = ", "url"),
        ("kind = \"auth0\"", "kind = \"auht0\"", "auth0"),
        ("instances = 1", "instance = 1", "instances"),
    ] {
        std::fs::write(site.configuration(), right.replacen(from, to, 1)).unwrap();
        let said = site.command(&["status"]).run();
        said.says(2, &["unknown ", &format!("; did you mean {meant}?")]);
    }
    let printer = "[[application]]\nname = \"printer\"\nmanual = true\n\n[policy]";
    std::fs::write(site.configuration(), right.replacen("[policy]", printer, 1)).unwrap();
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let confirm = |application: &str| {
        site.command(&["confirm", application, "--by", "ada", "--reason", "seen"]).run()
    };
    confirm("pirnter").says(1, &["pirnter is not declared", "; did you mean printer?"]);
    let unlike = confirm("warehouse");
    unlike.says(1, &["warehouse is not declared"]);
    assert!(!unlike.stderr.contains("did you mean"), "{unlike:#?}");
    // A command and an option, by the parser of the command line.
    for (arguments, meant) in
        [(&["rotat"][..], "'rotate'"), (&["rotate", "--patiense", "1s"], "'--patience'")]
    {
        let said = Command::new(&site.vault, arguments).run();
        assert!(said.ends_with(2).stderr.contains("similar"), "{said:#?}");
        assert!(said.stderr.contains(meant), "{said:#?}");
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_an_error_unless_it_names_a_file() {
    use std::os::unix::ffi::OsStrExt;
    let (directory, vault) = directory();
    let bytes = std::ffi::OsStr::from_bytes(b"bill\xffing");
    for arguments in [
        &[][..],
        &["status", "--client"],
        &["rotate", "--reason"],
        &["rotate", "--patience"],
        &["rotate", "--window"],
        &["rotate", "--plan"],
        &["rotate", "--hold-at"],
        &["confirm"],
        &["hold", "--until"],
        &["dev-server", "--listen"],
        &["dev-server", "--provider"],
        &["generate", "--length"],
    ] {
        let said = Command::new(&vault, arguments).argument(bytes).directory(directory.path());
        let said = said.run();
        let text = &said.ends_with(2).stderr;
        assert!(text.starts_with("error: ") && !text.contains("panicked"), "{said:#?}");
    }
    let file = Command::new(&vault, &["status", "--config"]).argument(bytes).run();
    file.says(2, &["cannot be read: No such file"]);
    // A user's name, which the environment has for us.
    let hold = ["hold", "--reason", "freeze"];
    let hold = Command::new(&vault, &hold).directory(directory.path()).environment("USER", bytes);
    let said = hold.run();
    assert!(!said.ends_with(2).stderr.contains("panicked"), "{said:#?}");
    assert_eq!(contents(directory.path()).len(), 0);
}

#[test]
fn a_dev_server_that_cannot_listen_leaves_nothing_behind() {
    let (directory, vault) = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = |address: &str| {
        let arguments = ["dev-server", "--listen", address, "--directory"];
        Command::new(&vault, &arguments).argument(directory.path().join("dev")).run()
    };
    serve(&address).says(1, &[&address, "another program uses this port", "choose another port"]);
    serve("0.0.0.0:0").says(2, &["0.0.0.0", "loopback only", "127.0.0.1"]);
    assert_eq!(contents(directory.path()).len(), 0);
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    // What is below a file can be written by nobody, whoever the tests run as.
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.configure("\"keyswap-store\"", "\"client-secret/store\"");
    let before = contents(&site.path(""));
    let shown = site.path("client-secret/store").display().to_string();
    let file = site.path("client-secret");
    let init = site.command(&["init", "--secret-file"]).argument(&file).run();
    init.says(1, &["cannot make the file store", &shown, "Not a directory", "in the way"]);
    site.command(&["rotate"]).run().says(1, &[&shown, "Not a directory"]);
    assert_eq!(contents(&site.path("")), before);

    site.configure("\"client-secret/store\"", "\"no/such/directory\"");
    let init = site.command(&["init", "--secret-file"]).argument(&file).run();
    init.says(1, &["cannot make the file store", "no/such/directory", "make it"]);
    assert_eq!(
        contents(&site.path("")).keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
}

#[test]
fn a_journal_that_cannot_be_written_stops_the_rotation_before_anything_is_published() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let published = site.published();
    // The history is written first.
    std::fs::create_dir(site.client_directory().join("history.jsonl")).unwrap();
    let stopped = site.command(&["rotate"]).run();
    stopped.says(1, &["history.jsonl", "it is a directory", "move it out of the way"]);
    assert_eq!(site.published(), published);
    assert!(site.journal().is_none());
    assert!(embedded.server().accepts(CLIENT, &published[0]));

    std::fs::remove_dir(site.client_directory().join("history.jsonl")).unwrap();
    let _programs = Programs::start(site, CLIENT, 1, 10);
    site.command(&["rotate"]).run().ends_with(0);
    site.is_rotated_from(&published[0]);
}

/// A rotation that is refused before it begins changes nothing.
fn refused_before_it_begins(site: &Site, code: i32, texts: &[&str]) {
    let before = without_lock(site);
    site.command(&["rotate"]).run().says(code, texts);
    assert_eq!(without_lock(site), before);
    assert!(site.journal().is_none());
}

#[test]
fn wrong_management_credentials_end_with_4() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    std::fs::write(site.path("management-secret"), REAL_SECRET).unwrap();
    let texts = [CLIENT, "management token", "401", "check the management client's id and secret"];
    refused_before_it_begins(site, 4, &texts);

    site.configure("{ file = \"management-secret\" }", "{ env = \"KEYSWAP_TEST_UNSET\" }");
    refused_before_it_begins(site, 2, &["KEYSWAP_TEST_UNSET", "is not set", "set it"]);
}

#[test]
fn a_missing_scope_ends_with_4_before_anything_is_changed() {
    for scopes in [&["read:clients", "read:client_keys"][..], &["update:client_keys"], &[]] {
        let embedded = Embedded::with_scopes(scopes);
        embedded.site.import();
        refused_before_it_begins(
            &embedded.site,
            4,
            &[CLIENT, "may not", "grant it the scopes", "update:client_keys"],
        );
    }
}

#[test]
fn a_client_that_does_not_exist_is_named() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.configure("id = \"billing\"", "id = \"biling\"");
    site.import();
    refused_before_it_begins(site, 1, &["has no client biling", "check the client id"]);
}

#[test]
fn a_server_that_answers_html_is_not_taken_for_one() {
    for (endpoint, status) in
        [(Endpoint::Token, 200), (Endpoint::Token, 502), (Endpoint::ReadClient, 200)]
    {
        let embedded = site_with_secret();
        let fault = Fault::Html { endpoint, status };
        embedded.server().inject(fault, Times::EVERY);
        let shown = status.to_string();
        refused_before_it_begins(
            &embedded.site,
            1,
            &[CLIENT, "127.0.0.1", &shown, "check that the address"],
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let mut embedded = site_with_secret();
    embedded.die();
    let texts = [CLIENT, "Connection refused", "check the tenant's address and the network"];
    refused_before_it_begins(&embedded.site, 1, &texts);
}

#[test]
fn a_secret_that_the_server_does_not_hold_is_not_rotated() {
    let embedded = site_with_secret();
    embedded.server().set_secret(CLIENT, REAL_SECRET);
    embedded.site.vault.add(REAL_SECRET);
    let texts = [
        "the server holds another secret",
        "set the client's secret at the server",
        "nothing was changed",
    ];
    refused_before_it_begins(&embedded.site, 1, &texts);
}

#[test]
fn with_no_rotation_to_resume_it_says_so() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    resume(site).says(1, &[CLIENT, "no rotation to resume", "begin one"]);
    let _programs = Programs::start(site, CLIENT, 1, 10);
    site.command(&["rotate"]).run().ends_with(0);
    resume(site).says(1, &[CLIENT, "is done", "nothing to resume"]);
}

#[test]
fn a_gate_names_whom_it_waits_for_and_resume_goes_on_when_they_are_there() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    site.configure("instances = 1", "instances = 2");
    let wait = |command: &str, texts: &[&str]| {
        let stopped = site.command(&[command, "--patience", "100ms"]).run();
        stopped.says(
            3,
            &[
                &[
                    CLIENT,
                    "still waiting in state staged, since 20",
                    "(since 20",
                    "`keyswap resume`",
                ],
                texts,
            ]
            .concat(),
        );
        assert_eq!(site.state().as_deref(), Some("staged"));
        assert_eq!(site.published()[0], old, "the old secret leads");
        assert_eq!(site.published().len(), 2, "both are published");
        assert!(embedded.server().accepts(CLIENT, &old), "the server was not asked to change it");
        assert_eq!(embedded.server().counts().changes, 0);
    };
    wait("rotate", &["billing: 0 of 2 expected instances"]);
    let unfinished = site.command(&["rotate"]).run();
    unfinished.says(1, &[CLIENT, "state staged", "has not come to its end", "`keyswap resume`"]);

    let programs = Programs::start(site, CLIENT, 1, 20);
    wait("resume", &["billing: 1 of 2 expected instances"]);
    let stranger = Programs::start(site, "nightly", 1, 20);
    wait("resume", &["billing: 1 of 2", "nightly/", "is not declared", "add the application"]);
    let more = Programs::start(site, CLIENT, 2, 20);
    wait("resume", &["nightly/", "is not declared"]);
    // The person follows the advice.
    site.configure("[policy]", "[[application]]\nname = \"nightly\"\n\n[policy]");
    resume(site).ends_with(0);
    site.is_rotated_from(&old);
    for programs in [programs, stranger, more] {
        let (requests, failed, _) = programs.stop();
        assert!(requests > 0 && failed == 0, "{failed} of {requests} failed");
    }
}

#[test]
fn only_one_rotator_is_at_work() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let mut first = rotate(site);
    first.until_stderr("Z: billing: 0 of 1");
    for command in ["rotate", "resume"] {
        let second = site.command(&[command]).run();
        second.says(3, &["client billing", "holds the lease", "process", "wait until it ends"]);
    }
    let import = site.command(&["init", "--secret-stdin"]).input(REAL_SECRET).run();
    import.says(3, &["holds the lease"]);
    assert!(!first.ended(), "the first is not disturbed");
    let _programs = Programs::start(site, CLIENT, 1, 10);
    first.wait().ends_with(0);
    site.is_rotated_from(&site.first_secret());
}

/// Begins a rotation whose change is applied, and kills the server before it answers. Gives the new
/// secret, which nobody but the journal and the programs hold.
fn with_an_answer_that_is_lost(embedded: &mut Embedded) -> String {
    let delay = Duration::from_secs(3600);
    embedded.server().inject(Fault::LatencyAfterChange { delay }, Times::ONCE);
    let mut rotating = rotate(&embedded.site);
    let server = embedded.server().clone();
    eventually("the change", || {
        assert!(!rotating.ended(), "{}", rotating.stderr());
        (server.counts().changes == 1).then_some(())
    });
    drop(server);
    embedded.die();
    let texts = [CLIENT, "whether the server took the change", "hold both", "`keyswap resume`"];
    rotating.wait().says(5, &texts);
    assert_eq!(embedded.site.state().as_deref(), Some("cutting_over"));
    let journal = embedded.site.journal().unwrap();
    journal["new"]["value"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_that_dies_with_the_answer_leaves_an_unknown_outcome_that_is_resolved_later() {
    // It took the change, or it lost it with everything else that was in its memory.
    for kept in [true, false] {
        let mut embedded = site_with_secret();
        let old = embedded.site.first_secret();
        let programs = Programs::start(&embedded.site, CLIENT, 1, 10);
        let new = with_an_answer_that_is_lost(&mut embedded);
        resume(&embedded.site).says(5, &["whether the server took the change", "`keyswap resume`"]);
        embedded.revive(if kept { &new } else { &old });
        resume(&embedded.site).ends_with(0);
        embedded.site.is_rotated_from(&old);
        assert_eq!(embedded.site.published(), [new], "no other secret was made");
        drop(programs);
    }
}

#[test]
fn a_third_secret_at_the_server_needs_a_person_and_then_the_rotation_goes_on() {
    for state in ["cut_over", "promoted"] {
        let embedded = site_with_secret();
        let site = &embedded.site;
        let old = site.first_secret();
        site.vault.add(REAL_SECRET);
        site.is_slow();
        embedded.idle_instance();
        let mut rotating = rotate(site);
        site.until_state(&mut rotating, state);
        embedded.server().set_secret(CLIENT, REAL_SECRET);
        let texts =
            [CLIENT, "neither the old secret nor the new one", "somebody else", "`keyswap resume`"];
        rotating.wait().says(6, &texts);
        let published = site.published();
        assert!(published.len() == 2 && published.contains(&old), "both are kept");
        let json = site.command(&["status", "--json"]).run();
        assert_eq!(json.json_lines()[0]["rotation"]["stuck"], "foreign_secret");
        let text = site.command(&["status"]).run();
        assert!(text.stdout.contains("stuck") && text.stdout.contains("then resume"), "{text:#?}");
        // As long as it is so, it stays so.
        resume(site).says(6, &texts);
        site.command(&["rotate"]).run().says(1, &["state stuck", "`keyswap resume`"]);

        // The person follows the advice: the server gets the new secret, which the programs hold.
        let journal = site.journal().unwrap();
        embedded.server().set_secret(CLIENT, journal["new"]["value"].as_str().unwrap());
        eventually("the nodes agree", || embedded.server().settled(CLIENT).then_some(()));
        resume(site).ends_with(0);
        site.is_rotated_from(&old);
    }
}

#[test]
fn what_keyswap_writes_is_for_its_owner_alone() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let _programs = Programs::start(site, CLIENT, 1, 10);
    site.command(&["rotate"]).run().ends_with(0);
    let check = |path: &Path| {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path), expected, "{}", path.display());
    };
    check(&site.store());
    contents(&site.store()).keys().for_each(|path| check(path));
}
