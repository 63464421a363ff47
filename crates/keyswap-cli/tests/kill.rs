//! `kill -9` of the rotating process at any moment, under load: the rotation is taken up, or taken back,
//! and ends, and no program that signs in meanwhile notices.

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{DevServer, Programs, Running, STATES, Site, eventually};

/// How often processes are killed: once in each state, then once more in the one that follows, some
/// times around the change itself, and from there on at any moment.
const KILLS: usize = 44;

fn since_the_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Small and repeatable: the moments need no better randomness (splitmix64).
struct Moments(u64);

impl Moments {
    /// From the clock, so that each run looks at other moments; `KEYSWAP_TEST_SEED` repeats one.
    fn new() -> Self {
        let seed = match std::env::var("KEYSWAP_TEST_SEED") {
            Ok(seed) => seed.parse().expect("KEYSWAP_TEST_SEED is a number"),
            Err(_) => since_the_epoch().as_nanos() as u64,
        };
        println!("KEYSWAP_TEST_SEED={seed} repeats these moments");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros() as u64))
    }
}

fn rotate(site: &Site, command: &str) -> Running {
    // With everything that the log can say, since it is searched for secrets.
    site.command(&[command, "--patience", "20s"]).environment("RUST_LOG", "trace").spawn()
}

/// What tells the rotation of the journal from others: the id of its new secret.
fn rotation(site: &Site) -> Option<String> {
    Some(site.journal()?["new"]["id"].as_str().unwrap().to_owned())
}

/// What there was before a rotation began.
struct Begun {
    /// The secret that it retires.
    old: String,
    /// The [`rotation`] of the journal.
    before: Option<String>,
}

impl Begun {
    fn now(site: &Site) -> Self {
        Self { old: site.published()[0].clone(), before: rotation(site) }
    }

    /// Whether the journal tells of the rotation that began then.
    fn is_journaled(&self, site: &Site) -> bool {
        rotation(site) != self.before
    }
}

/// Waits for a state of this rotation, or a later one, as long as the process runs.
fn until_state(site: &Site, running: &mut Running, begun: &Begun, wanted: &str) {
    let position = STATES.iter().position(|state| *state == wanted).unwrap();
    eventually(wanted, || {
        site.vault.look();
        site.published_is_in_the_journal(&begun.old);
        let new = begun.is_journaled(site);
        let state = site.state().unwrap_or_default();
        let reached = STATES.iter().position(|other| *other == state) >= Some(position);
        (running.ended() || new && (reached || state == "done")).then_some(())
    });
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// When the journal says this, and up to so much later.
    In(&'static str, Duration),
    /// At any time within so much.
    Within(Duration),
    Never,
}

impl Moment {
    fn kill(self, running: &mut Running, site: &Site, begun: &Begun, moments: &mut Moments) {
        let longest = match self {
            Self::In(state, longest) => {
                until_state(site, running, begun, state);
                longest
            }
            Self::Within(longest) => longest,
            Self::Never => return,
        };
        if !longest.is_zero() {
            let end = Instant::now() + moments.within(longest);
            let over = || (Instant::now() >= end || running.ended()).then_some(());
            eventually("the moment", over);
        }
        running.kill();
    }
}

/// How a rotation is disturbed.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// When `rotate` is killed.
    first: Moment,
    /// When the command after it is.
    then: Moment,
    /// After one kill of so many a person takes it back.
    back_one_in: Option<u64>,
}

/// The rounds to begin with.
fn planned() -> Vec<Round> {
    let at = |state| Moment::In(state, Duration::ZERO);
    let forward = |first, then| Round { first, then, back_one_in: None };
    let pairs = STATES.iter().zip(STATES.iter().skip(1));
    let mut planned: Vec<_> = pairs.map(|(first, then)| forward(at(*first), at(*then))).collect();
    planned.push(forward(at("retired"), Moment::Never));
    // Between the intent in the journal and the answer that the process has read.
    let around_the_change = Moment::In("cutting_over", Duration::from_millis(40));
    planned.extend([forward(around_the_change, Moment::Never); 5]);
    // What was sent last may be a change without an answer, and the next rotation begins after it.
    planned.extend(
        ["cutting_over", "cut_over"]
            .map(|state| Round { back_one_in: Some(1), ..forward(at(state), Moment::Never) }),
    );
    planned
}

/// Makes the journal as it is when the time for requests in flight has passed: a rotation that lost an
/// answer keeps the next one from beginning for ten minutes.
///
/// Says whether the last one did.
fn let_ten_minutes_pass(site: &Site) -> bool {
    if !put_back(site, &["/change", "/rollback/forward"], false) {
        return false;
    }
    site.command(&["rotate"]).run().says(3, &["had no answer", "Nothing was changed"]);
    put_back(site, &["/change", "/rollback/forward"], true)
}

/// The same for a rotation on its way back, which waits as long before its end.
fn let_the_way_forward_be_over(site: &Site) {
    put_back(site, &["/rollback/forward"], true);
}

/// Puts the changes that have no answer ten minutes back, and says whether there is one for which ten
/// minutes have not passed.
fn put_back(site: &Site, changes: &[&str], really: bool) -> bool {
    const TEN_MINUTES: u64 = 600_000;
    let now = since_the_epoch().as_millis() as u64;
    let mut journal = site.journal().unwrap();
    let mut found = false;
    for change in changes {
        let Some(change) = journal.pointer_mut(change) else { continue };
        let sent = change["last_sent"].as_u64().unwrap();
        if change["unresolved"] == true && sent + TEN_MINUTES > now {
            found = true;
            change["last_sent"] = (sent - TEN_MINUTES - 1000).into();
        }
    }
    if found && really {
        let text = serde_json::to_vec_pretty(&journal).unwrap();
        std::fs::write(site.client_directory().join("rotation.json"), text).unwrap();
    }
    found
}

/// Whether a rotation in this state can be taken back.
fn can_go_back(site: &Site) -> bool {
    let journal = site.journal().unwrap();
    let state = journal["state"].as_str().unwrap();
    journal["rollback"].is_null() && !["retiring", "retired", "done"].contains(&state)
}

/// One rotation from its beginning to its end, killed on the way. Gives the state that the journal told of
/// after each kill.
fn killed_and_resumed(
    site: &Site,
    Round { first, then: mut next, back_one_in }: Round,
    at_any: Moment,
    moments: &mut Moments,
) -> (Vec<String>, bool) {
    let mut killed_in = Vec::new();
    let begun = Begun::now(site);
    let mut running = rotate(site, "rotate");
    first.kill(&mut running, site, &begun, moments);
    loop {
        let output = running.wait();
        site.published_is_in_the_journal(&begun.old);
        let journaled = begun.is_journaled(site);
        let found = if journaled { site.state().unwrap() } else { "no state yet".to_owned() };
        match output.status.code() {
            None => killed_in.push(found.clone()),
            Some(0) => break,
            Some(_) => panic!("killed in {killed_in:?}, and then {output:#?}"),
        }
        if ["done", "rolled_back"].contains(&found.as_str()) {
            // Killed between the last word of the journal and its own end.
            site.command(&["resume"]).run().says(1, &["nothing to resume"]);
            break;
        }
        // Before the first word of the journal nothing has happened, and nothing is there to resume.
        let command = match journaled {
            true if can_go_back(site) && back_one_in.is_some_and(|of| moments.below(of) == 0) => {
                // The process that was killed may have sent what nobody had an answer to. This one could
                // not end before that cannot come any more, so it is killed and followed by another.
                next = at_any;
                "rollback"
            }
            true => {
                let_the_way_forward_be_over(site);
                "resume"
            }
            false => "rotate",
        };
        running = rotate(site, command);
        next.kill(&mut running, site, &begun, moments);
        next = if moments.below(3) == 0 { at_any } else { Moment::Never };
    }
    assert!(begun.is_journaled(site));
    let history = site.history();
    let end = history.last().map(String::as_str);
    let back = site.journal().unwrap()["rollback"].is_object();
    if back {
        assert_eq!(end, Some("rolled_back"), "{history:?}");
        assert_eq!(site.published(), std::slice::from_ref(&begun.old));
        assert!(site.accepts(&begun.old, 12), "the old secret is in force");
    } else {
        site.is_rotated_from(&begun.old);
        assert_eq!(end, Some("done"), "{history:?}");
    }
    (killed_in, back)
}

#[test]
fn a_rotation_that_is_killed_at_any_moment_is_resumed_and_no_request_fails() {
    let mut moments = Moments::new();
    let server = DevServer::start();
    let site = &server.site;
    site.configure("instances = 1", "instances = 2");
    site.import();
    let programs = Programs::start(site, "billing", 2, 40);

    // One that nobody disturbs, to know how long it takes.
    let began = Instant::now();
    let old = site.published()[0].clone();
    rotate(site, "rotate").wait().ends_with(0);
    site.is_rotated_from(&old);
    let whole = began.elapsed();
    // Less than the patience of a rotation that waits: where it ends by itself, nobody kills it.
    let at_any = Moment::Within(whole.min(Duration::from_secs(10)));

    let mut planned = planned().into_iter();
    let (mut rotations, mut lost_answers, mut taken_back, mut killed_in) = (1, 0, 0, Vec::new());
    while killed_in.len() < KILLS {
        assert!(rotations < 4 * KILLS, "{} kills in {rotations} rotations", killed_in.len());
        rotations += 1;
        lost_answers += usize::from(let_ten_minutes_pass(site));
        let at_any_time = Round { first: at_any, then: at_any, back_one_in: Some(2) };
        let round = planned.next().unwrap_or(at_any_time);
        let (killed, back) = killed_and_resumed(site, round, at_any, &mut moments);
        killed_in.extend(killed);
        taken_back += usize::from(back);
    }

    let (requests, failed, saved) = programs.stop();
    println!(
        "{rotations} rotations of {whole:?}; {requests} requests, {failed} failed, {saved} saved"
    );
    println!(
        "{} times killed, {lost_answers} answers lost, {taken_back} taken back: {killed_in:?}",
        killed_in.len()
    );
    assert_eq!(failed, 0, "of {requests} requests");
    assert!(requests > 1000 && saved > 0, "{requests} requests, {saved} saved: the load was real");
    // The client's and the management client's, and a new one of each rotation.
    assert!(site.vault.len() >= 2 + rotations, "every secret was searched for");
    server.stop();
}
