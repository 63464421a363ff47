//! `keyswap watch`: a rotation while it happens.

mod common;

use common::{CLIENT, Embedded, Programs, eventually};

#[test]
fn it_tells_of_each_state_and_of_who_is_waited_for_and_ends_with_the_rotation() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    // None is under way: there is nothing to watch, unless one is waited for.
    let none = site.command(&["watch"]).run();
    assert!(none.ends_with(0).stdout.contains("no rotation is under way"), "{none:#?}");
    let json = site.command(&["watch", "--next", "--json"]).spawn();
    let plain = site.command(&["watch", "--next"]).spawn();
    eventually("both watch", || {
        (json.stdout().contains("none") && plain.stdout().contains("no rotation")).then_some(())
    });
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    eventually("both tell who is missing", || {
        let plainly = plain.stdout().contains("waiting: billing: 0 of 1 expected instances");
        (plainly && json.stdout().contains(r#""reason":"instances""#)).then_some(())
    });
    let programs = Programs::start(site, CLIENT, 1, 40);
    let hold = ["hold", "--by", "ada", "--reason", "release freeze", "--for", "1h"];
    site.command(&hold).run().ends_with(0);
    eventually("the hold is told of", || plain.stdout().contains("held by ada").then_some(()));
    site.command(&["hold", "--release"]).run().ends_with(0);
    site.command(&["resume"]).run().ends_with(0);
    programs.stop();
    let (json, plain) = (json.wait(), plain.wait());
    let plain = &plain.ends_with(0).stdout;
    for part in [" staged: s-", " takes the place of s-", "billing: 1 live, 1 ready", " done: s-"] {
        assert!(plain.contains(part), "{part:?} is not in {plain}");
    }
    let lines = json.ends_with(0).json_lines();
    let last = lines.iter().rfind(|line| line["event"] == "entered").unwrap();
    assert_eq!(
        (&last["state"], &last["over"], &last["client"]),
        (&"done".into(), &true.into(), &CLIENT.into())
    );
    let waiting = lines.iter().find(|line| line["event"] == "waiting").unwrap();
    assert_eq!(waiting["missing"][0]["reason"], "instances");
}

#[test]
fn it_ends_with_6_when_a_person_has_to_look_and_with_130_when_it_is_interrupted() {
    let embedded = Embedded::start();
    embedded.site.import();
    let watching = embedded.site.command(&["watch", "--next"]).spawn();
    eventually("it watches", || watching.stdout().contains("no rotation").then_some(()));
    watching.signal("INT");
    watching.wait().says(130, &["no longer watched", "goes on by itself"]);

    let programs = Programs::start(&embedded.site, CLIENT, 1, 20);
    let mut rotating = embedded.site.command(&["rotate", "--hold-at", "drained"]).spawn();
    embedded.site.until_state(&mut rotating, "drained");
    rotating.wait().ends_with(3);
    let foreign = "6oU3hYb2Qm8Zr1Tn5Wk9";
    embedded.site.vault.add(foreign);
    embedded.server().set_secret(CLIENT, foreign);
    embedded.site.command(&["retire"]).run().ends_with(6);
    let watched = embedded.site.command(&["watch"]).run();
    watched.says(6, &["client billing", "a person has to look"]);
    assert!(watched.stdout.contains(" stuck: "), "{watched:#?}");
    drop(programs);
}
