//! The small commands: `generate`, `init`, `status`, and the help.

mod common;

use common::{CLIENT, Command, DevServer, Embedded, Programs, Vault, contents, mode};

fn directory() -> (tempfile::TempDir, Vault) {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    (directory, vault)
}

#[test]
fn generate_makes_a_secret_of_the_asked_form() {
    let (_directory, vault) = directory();
    let generate = |arguments: &[&str]| {
        let output = Command::new(&vault, &[&["generate"], arguments].concat()).run();
        output.ends_with(0);
        let secret = output.stdout.strip_suffix('\n').expect("one line").to_owned();
        assert!(!secret.contains('\n') && !output.stderr.contains(&secret));
        (secret, output.stderr.clone())
    };
    let (first, said) = generate(&[]);
    assert!(first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(said, "381 bits of entropy\n");
    assert_ne!(first, generate(&[]).0);
    let (short, said) = generate(&["--length", "43"]);
    assert!(short.len() == 43 && said.contains("256 bits"), "{said}");
    let (base64, said) = generate(&["--base64", "48"]);
    assert!(base64.len() == 64 && said.contains("384 bits"), "{said}");
    let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    assert!(base64.bytes().all(of_base64));
}

#[test]
fn generate_makes_no_weak_secret() {
    let (_directory, vault) = directory();
    for weak in [["--length", "42"], ["--base64", "31"]] {
        let output = Command::new(&vault, &[&["generate"][..], &weak].concat()).run();
        output.says(2, &["bits of entropy", "none below 256", "43 characters", "32 bytes"]);
        assert_eq!(output.stdout, "");
    }
    let output = Command::new(&vault, &["generate", "--length", "1025"]).run();
    output.says(2, &["1025 characters", "the most is 1024"]);
    let both = ["generate", "--length", "64", "--base64", "48"];
    Command::new(&vault, &both).run().ends_with(2);
}

#[test]
fn generate_writes_a_new_file_for_its_owner_and_keeps_an_old_one() {
    let (directory, vault) = directory();
    let file = directory.path().join("client-secret");
    let generate = || Command::new(&vault, &["generate", "--out"]).argument(&file).run();
    let output = generate();
    output.ends_with(0);
    assert!(output.stdout.is_empty() && output.stderr.contains("381 bits"), "{output:#?}");
    let secret = std::fs::read_to_string(&file).unwrap();
    assert_eq!(secret.trim_end().len(), 64);
    assert_eq!(mode(&file), 0o600);
    generate().says(1, &["client-secret", "File exists", "remove it first"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    let nowhere = directory.path().join("no/such/place");
    let output = Command::new(&vault, &["generate", "--out"]).argument(nowhere).run();
    output.says(1, &["no/such/place", "make its directory first"]);
}

#[test]
fn init_writes_a_commented_configuration_once() {
    let (directory, vault) = directory();
    let init = || {
        Command::new(&vault, &["init", "--client-id", "a \"quoted\" \\ id"])
            .directory(directory.path())
            .run()
    };
    init().ends_with(0);
    let file = directory.path().join("keyswap.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    assert!(text.lines().filter(|line| line.starts_with('#')).count() > 15, "{text}");
    let parsed: toml::Table = text.parse().unwrap();
    assert_eq!(parsed["client"]["id"].as_str(), Some("a \"quoted\" \\ id"));
    init().says(2, &["keyswap.toml is there already", "--secret-file", "--secret-stdin"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(contents(directory.path()).len(), 1, "no store is made without a secret");

    // Nothing is sent anywhere as long as something is to be filled in.
    let rotate = Command::new(&vault, &["rotate"]).directory(directory.path()).run();
    rotate.says(2, &["keyswap.toml, line ", "THE-TENANT", "fill it in"]);
}

#[test]
fn init_takes_the_present_secret_from_each_source_and_only_once() {
    let secret = "9sXw2Lk7Qp4Zt8Rb6Vn1";
    for source in ["file", "stdin", "environment"] {
        let (directory, vault) = directory();
        vault.add(secret);
        let file = directory.path().join("present");
        std::fs::write(&file, format!("{secret}\r\n")).unwrap();
        let init = || {
            let init = Command::new(&vault, &["init", "--client-id", CLIENT]);
            let init = match source {
                "file" => init.argument("--secret-file").argument(&file),
                "stdin" => init.argument("--secret-stdin").input(format!("{secret}\n")),
                _ => {
                    init.argument("--secret-env").argument("PRESENT").environment("PRESENT", secret)
                }
            };
            init.directory(directory.path()).run()
        };
        let output = init();
        output.ends_with(0);
        assert!(output.stdout.contains("present secret of client billing is s-"), "{output:#?}");
        let ring = directory.path().join("keyswap-store/billing/ring.json");
        let text = std::fs::read_to_string(&ring).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["secrets"][0]["value"], secret);
        assert_eq!(mode(&ring), 0o600);
        init().says(1, &["billing", "keyswap-store/billing/ring.json", "a list already", "rotate"]);
        assert_eq!(std::fs::read_to_string(&ring).unwrap(), text);
    }
}

#[test]
fn init_notices_that_the_configuration_names_another_client() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    let file = site.path("client-secret");
    let init = site.command(&["init", "--client-id", "orders", "--secret-file"]).argument(file);
    init.run().says(2, &["rotate.toml", "names the client billing", "--client-id says orders"]);
    assert!(!site.store().exists());
}

#[test]
fn status_shows_a_rotation_before_within_and_after() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    let status = || site.command(&["status"]).run().ends_with(0).stdout.clone();
    let json = || site.command(&["status", "--json"]).run().json_lines().remove(0);

    site.import();
    let text = status();
    for part in ["client billing", "revision 1", "rotation  none yet", "instances none"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    let before = json();
    assert_eq!(before["list"]["revision"], 1);
    assert_eq!(before["list"]["secrets"].as_array().unwrap().len(), 1);
    assert!(before["rotation"].is_null());
    let old = before["list"]["secrets"][0].as_str().unwrap().to_owned();

    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let programs = Programs::start(site, CLIENT, 1, 50);
    let within = json();
    assert_eq!(within["rotation"]["state"], "staged");
    assert_eq!(within["rotation"]["over"], false);
    assert_eq!(within["rotation"]["old"], old.as_str());
    let new = within["rotation"]["new"].as_str().unwrap().to_owned();
    assert_eq!(within["list"]["secrets"], serde_json::json!([old, new]));
    let text = status();
    for part in ["staged for", &new, &old, "`keyswap resume`", "billing/i-", "yes"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }

    site.command(&["resume"]).run().ends_with(0);
    let after = json();
    assert_eq!(after["rotation"]["state"], "done");
    assert_eq!(after["rotation"]["over"], true);
    assert_eq!(after["list"]["secrets"], serde_json::json!([new]));
    let instance = &after["instances"][0];
    assert_eq!(instance["live"], true);
    assert_eq!(instance["report"]["revision"], after["list"]["revision"]);
    let text = status();
    assert!(text.contains("done for") && !text.contains("keyswap resume"), "{text}");
    drop(programs);
}

#[test]
fn rotate_tells_each_state_in_words_and_as_json() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    embedded.idle_instance();
    let output = site.command(&["rotate"]).run();
    output.ends_with(0);
    assert!(output.stdout.starts_with("client billing: every instance holds s-"), "{output:#?}");
    let said: Vec<_> = output.stderr.lines().map(|line| line.split(' ').next().unwrap()).collect();
    for state in ["generated", "staged", "adopted", "cutting_over", "cut_over", "retired", "done"] {
        assert!(said.contains(&state), "{state}: {output:#?}");
    }
    let output = site.command(&["rotate", "--json"]).run();
    output.ends_with(0);
    assert_eq!(output.stderr, "");
    let lines = output.json_lines();
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["client"]), (&"finished".into(), &CLIENT.into()));
    assert!(last["states_ms"]["cut_over"].as_u64().unwrap() >= 250, "{last}");
}

#[test]
fn a_dev_server_that_is_started_again_holds_what_the_programs_hold() {
    let server = DevServer::start();
    let first = server.site.first_secret();
    server.site.import();
    let programs = Programs::start(&server.site, CLIENT, 1, 10);
    server.site.command(&["rotate"]).run().ends_with(0);
    server.site.is_rotated_from(&first);
    drop(programs);
    let server = server.restart();
    let site = &server.site;
    let second = site.published().remove(0);
    assert!(site.accepts(&second, 6) && !site.accepts(&first, 6));
    let _programs = Programs::start(site, CLIENT, 1, 10);
    site.command(&["rotate"]).run().ends_with(0);
    site.is_rotated_from(&second);
}

#[test]
fn a_dev_server_writes_for_its_owner_and_replaces_only_its_own_configuration() {
    let server = DevServer::start();
    for name in ["client-secret", "management-secret", "keyswap.toml"] {
        assert_eq!(mode(&server.site.path(name)), 0o600, "{name}");
    }
    let (directory, vault) = directory();
    let file = directory.path().join("keyswap.toml");
    std::fs::write(&file, "# mine\n").unwrap();
    let serve = Command::new(&vault, &["dev-server", "--listen", "127.0.0.1:0", "--directory"]);
    let refused = serve.argument(directory.path()).run();
    refused
        .says(1, &["keyswap.toml", "not written by `keyswap dev-server`", "another --directory"]);
    assert_eq!(contents(directory.path()).into_values().collect::<Vec<_>>(), [b"# mine\n"]);
}

#[test]
fn every_command_has_help_and_the_exit_codes_stand_in_it() {
    let (_directory, vault) = directory();
    let help = Command::new(&vault, &["--help"]).run().ends_with(0).stdout.clone();
    for code in
        ["0    done", "1    failed", "2 ", "3    waiting", "4 ", "5 ", "6 ", "130  interrupted"]
    {
        assert!(help.lines().any(|line| line.trim_start().starts_with(code)), "{code:?}: {help}");
    }
    assert!(!help.contains("demo-instance"), "{help}");
    let commands = [
        "confirm",
        "demo",
        "dev-server",
        "generate",
        "history",
        "hold",
        "init",
        "resume",
        "retire",
        "rollback",
        "rotate",
        "seal",
        "status",
    ];
    for command in commands {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{help}");
        let own = Command::new(&vault, &[command, "--help"]).run().ends_with(0).stdout.clone();
        assert!(own.contains("Usage: keyswap "), "{own}");
    }
    Command::new(&vault, &["--version"]).run().ends_with(0);
    Command::new(&vault, &[]).run().ends_with(2);
    Command::new(&vault, &["rotat"]).run().ends_with(2);
    // A secret is no argument, of any command.
    assert!(!help.contains("--secret "), "{help}");
    Command::new(&vault, &["init", "--secret", "9sXw2Lk7Qp4Zt8Rb6Vn1"]).run().ends_with(2);
}
