//! `keyswap plan`, and what `keyswap rotate` does with it: the examples of its page, the plan that is shown and asked
//! about, the one that is named, and the ages and windows of rotations that run by themselves.

mod common;

use common::{CLIENT, Embedded, Example, Output, Site, examples};

const PAGE: &str = include_str!("../../../docs/plan.md");

fn site_with_secret() -> Embedded {
    let embedded = Embedded::start();
    embedded.site.import();
    embedded.idle_instance();
    embedded
}

/// With the waits of a real server: nothing waits for them here.
fn with_usual_waits(embedded: Embedded) -> Embedded {
    let quick = "propagation_window = \"250ms\"\nquiet_period = \"250ms\"\n";
    embedded.site.configure(quick, "");
    embedded
}

/// What the reader of the example has in front of him.
fn set_up(heading: &str) -> Embedded {
    match heading {
        "What a rotation would do" | "For a program" | "A window for the change" => {
            with_usual_waits(site_with_secret())
        }
        "At a server that holds several secrets" => {
            let embedded = Embedded::okta();
            embedded.site.import();
            embedded.idle_instance();
            with_usual_waits(embedded)
        }
        "Where requests fail on the way" => {
            let embedded = Embedded::zitadel();
            embedded.site.import();
            embedded.idle_instance();
            with_usual_waits(embedded)
        }
        "Who is missing, and for whom a person speaks" => {
            let embedded = with_usual_waits(site_with_secret());
            let printer = "instances = 3\n\n[[application]]\nname = \"printer\"\nmanual = true";
            embedded.site.configure("instances = 1", printer);
            embedded
        }
        "Where a rotation does not begin" => {
            let embedded = site_with_secret();
            embedded.server().set_secret(CLIENT, "set-by-somebody-else-0123456789");
            embedded
        }
        other => panic!("nothing sets up the example {other:?}"),
    }
}

/// The arguments of a command of the page, of which one may be in quotes.
fn arguments(command: &str) -> Vec<String> {
    let mut parts = command.split('"');
    let mut all: Vec<String> = Vec::new();
    while let Some(plain) = parts.next() {
        all.extend(plain.split_whitespace().map(str::to_owned));
        all.extend(parts.next().map(str::to_owned));
    }
    all
}

/// The hash that a plan names, as a text or in JSON.
fn hash(text: &str) -> String {
    let is_hash = |word: &&str| {
        word.len() == 44 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    let mut words = text.split(|one: char| !one.is_ascii_hexdigit() && one != '-');
    words.find(is_hash).unwrap_or_else(|| panic!("no plan is named: {text}")).to_owned()
}

fn printed(embedded: &Embedded, output: &Output) -> String {
    let text = embedded.printed(output).replace(&embedded.site.url, "http://127.0.0.1:4400");
    let text = text.replace(&embedded.site.url.replace("http://", ""), "127.0.0.1:4400");
    let instances = embedded.site.client_directory().join("instances");
    let mut text = match output.status.success() {
        true => text.replace(&hash(&text), "HASH"),
        false => text,
    };
    for entry in std::fs::read_dir(instances).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let id = name.split_once('.').map_or(name.as_str(), |(id, _)| id);
        text = text.replace(id, "INSTANCE");
    }
    text
}

#[test]
fn each_example_of_the_page_prints_what_the_page_shows_and_changes_nothing() {
    let examples = examples(PAGE);
    assert!(examples.len() >= 7, "{}", examples.len());
    let mut differ = Vec::new();
    for Example { heading, command, printed: shown } in examples {
        let embedded = set_up(&heading);
        let arguments = arguments(&command);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        assert_eq!(arguments[..2], ["keyswap", "plan"]);
        let output = embedded.looks(&arguments[1..]);
        let text = printed(&embedded, &output);
        if text != shown {
            differ.push(format!("## {heading}\n{text}"));
        }
    }
    assert!(differ.is_empty(), "docs/plan.md should show:\n{}", differ.join("\n"));
}

#[test]
fn a_plan_and_verify_find_the_same_and_end_with_the_same_code() {
    for heading in ["What a rotation would do", "Where a rotation does not begin"] {
        let embedded = set_up(heading);
        let (plan, verify) =
            (embedded.looks(&["plan", "--json"]), embedded.looks(&["verify", "--json"]));
        assert_eq!(plan.status.code(), verify.status.code());
        let (plan, verify) = (&plan.json_lines()[0], &verify.json_lines()[0]);
        for field in ["client", "level", "findings", "not_looked_at"] {
            assert_eq!(plan[field], verify[field], "{field}");
        }
        assert_eq!(plan["plan"].is_null(), heading.starts_with("Where"));
    }
}

#[test]
fn a_plan_is_readable_in_40_columns() {
    let embedded = set_up("What a rotation would do");
    let shown = embedded.site.command(&["plan"]).at_terminal(40).ends_with(0);
    for line in shown.lines().map(str::trim_end) {
        let words = line.split_whitespace().count();
        assert!(line.chars().count() <= 40 || words <= 2, "{line:?} in {shown}");
    }
    assert!(shown.contains("client_secret") && shown.contains("NEW-SECRET"), "{shown}");
}

fn rotates(site: &Site, arguments: &[&str]) -> Output {
    site.command(&[&["rotate"], arguments].concat()).run()
}

#[test]
fn a_rotation_by_a_plan_does_it_once_and_then_says_what_has_moved() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let planned = hash(&embedded.looks(&["plan"]).stdout);
    assert_eq!(hash(&embedded.looks(&["plan", "--json"]).stdout), planned);

    let text = std::fs::read_to_string(site.configuration()).unwrap();
    site.configure("quiet_period = \"250ms\"", "quiet_period = \"300ms\"");
    rotates(site, &["--plan", &planned]).says(1, &["the configuration", "`keyswap plan`"]);
    assert_eq!(site.state(), None, "nothing began");
    std::fs::write(site.configuration(), text).unwrap();
    // What is asked for beside the configuration is part of it.
    let held = ["--plan", &planned, "--hold-at", "drained"];
    rotates(site, &held).says(1, &["what is asked for beside it"]);

    rotates(site, &["--plan", &planned]).ends_with(0);
    site.is_rotated_from(&site.first_secret());
    let again = rotates(site, &["--plan", &planned]);
    again.says(
        1,
        &["the published list (now revision", "the rotations before", "Nothing was changed"],
    );
    rotates(site, &["--plan", "soon"]).ends_with(2);
}

#[test]
fn a_plan_is_one_of_one_client() {
    let embedded = Embedded::of_several(&["billing", "orders"]);
    let plans = embedded.looks(&["plan", "--all"]);
    assert!(plans.stdout.contains("rotate --client billing --plan "), "{plans:#?}");
    let planned = hash(&plans.stdout);
    let site = &embedded.site;
    let both = ["--client", "billing", "--client", "orders", "--plan", &planned];
    rotates(site, &both).says(2, &["one client"]);
    rotates(site, &["--client", "orders", "--plan", &planned]).ends_with(1);
    rotates(site, &["--client", "billing", "--plan", &planned]).ends_with(0);
}

#[test]
fn at_a_terminal_a_rotation_shows_its_plan_and_begins_when_somebody_says_so() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let mut no = site.command(&["rotate"]).at_terminal(80);
    no.until_shown("begin? [y/N]");
    assert!(no.shown().contains("CHANGE at the server: set NEW"), "{}", no.shown());
    no.types("n");
    assert!(no.ends_with(1).contains("nothing was changed"));
    assert_eq!(site.state(), None);

    let mut yes = site.command(&["rotate"]).at_terminal(80);
    yes.until_shown("begin? [y/N]");
    yes.types("y");
    yes.ends_with(0);
    let second = site.published();
    assert_eq!(site.state().as_deref(), Some("done"));

    // Neither a script's word nor a plan that was looked at is asked about.
    let unasked = site.command(&["rotate", "--yes"]).at_terminal(80).ends_with(0);
    assert!(!unasked.contains("[y/N]"), "{unasked}");
    assert_ne!(site.published(), second);
    let planned = hash(&embedded.looks(&["plan"]).stdout);
    let unasked = site.command(&["rotate", "--plan", &planned]).at_terminal(80).ends_with(0);
    assert!(!unasked.contains("[y/N]"), "{unasked}");
}

#[test]
fn a_young_secret_is_left_as_it_is_and_what_tells_its_age_is_named() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    // Of an imported secret nothing tells, and it is rotated.
    let first = rotates(site, &["--if-older-than", "90d"]);
    assert!(first.ends_with(0).stderr.contains("nothing tells how old"), "{first:#?}");
    let second = site.published();
    assert_ne!(second, [site.first_secret()]);

    let young = rotates(site, &["--if-older-than", "90d"]);
    young.ends_with(0);
    assert!(young.stdout.contains("as the journal of the last rotation says"), "{young:#?}");
    assert!(young.stdout.contains("younger than 90d: nothing to do"), "{young:#?}");
    assert_eq!(site.published(), second);
    let json = rotates(site, &["--if-older-than", "90d", "--json"]).json_lines();
    assert_eq!((&json[0]["younger"], &json[0]["from"]), (&true.into(), &"journal".into()));

    // Without the journal the history tells.
    std::fs::remove_file(site.client_directory().join("rotation.json")).unwrap();
    let young = rotates(site, &["--if-older-than", "1w"]);
    assert!(young.ends_with(0).stdout.contains("as the history says"), "{young:#?}");
    rotates(site, &["--if-older-than", "1ms"]).ends_with(0);
    assert_ne!(site.published(), second);
    rotates(site, &["--if-older-than", "90"]).ends_with(2);
}

#[test]
fn a_rotation_that_hangs_is_told_whatever_the_age_of_the_secret_that_it_has_come_to() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    rotates(site, &["--hold-at", "drained"]).ends_with(3);
    let told = rotates(site, &["--if-older-than", "90d"]);
    told.says(1, &["a rotation is in state drained", "`keyswap resume`"]);
    assert!(told.stderr.contains("a rotation is under way"), "{told:#?}");
}

/// A window that is not open now, for 23 hours at least.
fn closed_window() -> String {
    let hour =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
            / 3600
            % 24;
    format!("daily {:02}:00-{:02}:00", (hour + 22) % 24, (hour + 23) % 24)
}

#[test]
fn outside_its_window_a_rotation_stages_and_waits_and_a_resumed_one_does_as_well() {
    let embedded = site_with_secret();
    let site = &embedded.site;
    let old = site.first_secret();
    let window = closed_window();
    let writes = || embedded.server().counts().management_writes;
    let waits = rotates(site, &["--window", &window, "--patience", "3s"]);
    waits.says(3, &["state adopted", "is held to daily", "which opens at", "`keyswap resume`"]);
    assert_eq!(site.published().len(), 2, "programs hold both");
    let resumed = site.command(&["resume", "--patience", "100ms"]).run();
    resumed.says(3, &["is held to daily"]);
    assert_eq!(writes(), 0);
    assert!(site.accepts(&old, 6));
    // The way back is open all the while.
    site.command(&["rollback", "--yes"]).run().ends_with(0);
    assert_eq!(site.published()[0], old);

    // In the configuration it counts for each rotation, unless the command names another one.
    site.configure("[policy]", &format!("[policy]\nwindow = \"{window}\""));
    rotates(site, &["--patience", "3s"]).says(3, &["is held to daily"]);
    site.command(&["rollback", "--yes"]).run().ends_with(0);
    rotates(site, &["--window", "daily 00:00-24:00"]).ends_with(0);
    site.is_rotated_from(&old);
    rotates(site, &["--window", "Sat"]).ends_with(2);
    site.configure(&window, "Sat 02:00-04:00 Europe/Atlantis");
    rotates(site, &[]).says(2, &["no time zone", "line"]);
}

#[test]
fn the_help_of_confirm_says_that_a_word_names_one_gate_and_one_instance_and_needs_a_reason() {
    let embedded = site_with_secret();
    let help = embedded.site.command(&["confirm", "--help"]).run().stdout;
    for part in
        ["--instance <ID>", "No other instance is meant, and no other gate", "--reason <TEXT>"]
    {
        let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "{part:?} is not in {help}");
    }
    let command = embedded.site.command(&["confirm", CLIENT, "--instance", "i"]);
    command.run().ends_with(2);
}
