//! Which version of a secret has which staging label, which list that is, and by which calls it becomes another
//! one. No IO: each call is one of AWS's, so a process may be killed between any two of them.
//!
//! | place in the list | label |
//! | --- | --- |
//! | first | `AWSCURRENT` |
//! | second of two | `AWSPREVIOUS` if it was the first before, else `AWSPENDING` |
//! | second, third of more | `AWSPENDING`, `AWSPREVIOUS` |
//! | fourth and so on | `keyswap-4` and so on |
//!
//! A version that has several labels stands at the place of the first of them. On the way from one list to
//! another a version may have a label `keyswap-N` for a while, so that no version that is in both lists is ever
//! without one. A version of neither has none in the end: nobody finds a retired secret under a label.

use std::collections::BTreeMap;
use std::fmt::Write;

use keyswap_core::SecretId;
use sha2::{Digest, Sha256};

pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PENDING: &str = "AWSPENDING";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
/// Of the labels and of the ids of the versions that keyswap makes.
const OWN: &str = "keyswap-";
const FIRST_OWN: usize = 4;

/// The id of the version that holds this secret: 34 to 64 characters, as AWS wants of a `ClientRequestToken`. It
/// is made of the ids alone, so that a request that is sent again finds what the first one did.
pub(super) fn version(client: &str, secret: &SecretId) -> String {
    let mut hash = Sha256::new_with_prefix(b"keyswap: a version in AWS Secrets Manager\0");
    hash.update(client.len().to_be_bytes());
    hash.update(client);
    hash.update(secret.as_str());
    let mut id = format!("{OWN}{:.31}-", secret.as_str());
    for byte in &hash.finalize()[..12] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// Whether keyswap made this version.
pub(super) fn is_own(version: &str) -> bool {
    version.starts_with(OWN)
}

/// A place in the list; `None` for a label that is somebody else's.
fn place(label: &str) -> Option<usize> {
    match label {
        CURRENT => Some(1),
        PENDING => Some(2),
        PREVIOUS => Some(3),
        _ => {
            let place = label.strip_prefix(OWN)?.parse().ok()?;
            (place >= FIRST_OWN && own(place) == label).then_some(place)
        }
    }
}

fn own(place: usize) -> String {
    format!("{OWN}{place}")
}

fn label(place: usize) -> String {
    match place {
        1 => CURRENT.to_owned(),
        2 => PENDING.to_owned(),
        3 => PREVIOUS.to_owned(),
        _ => own(place),
    }
}

/// The labels that make a list, each with the version that has it. What other labels there are is left alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Stages(BTreeMap<usize, String>);

/// One call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Act {
    /// Makes this version, unless it is there, and gives it a label that no version has.
    Put { version: String, stage: String },
    /// Moves a label, gives one that no version has, or takes it away. AWS refuses it when the label is elsewhere by
    /// then: that is the compare-and-set.
    Move { stage: String, from: Option<String>, to: Option<String> },
}

/// A version that keyswap did not publish, where only one of its own should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Foreign {
    /// With `AWSCURRENT`: somebody may have put another value into force.
    Current(String),
    /// With `AWSPENDING`: another rotation is under way.
    Pending(String),
}

impl Stages {
    pub(super) fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let labels = labels.into_iter();
        Self(labels.filter_map(|(label, id)| Some((place(label)?, id.to_owned()))).collect())
    }

    /// The versions in the order of the list.
    pub(super) fn list(&self) -> Vec<&str> {
        let mut list: Vec<&str> = Vec::new();
        for version in self.0.values() {
            if !list.contains(&version.as_str()) {
                list.push(version);
            }
        }
        list
    }

    /// The version that is read as the preferred one.
    pub(super) fn current(&self) -> Option<&str> {
        self.holder(1)
    }

    /// What is there that keyswap did not publish, where `known` says of a version whether it did.
    pub(super) fn foreign(&self, known: impl Fn(&str) -> bool) -> Option<Foreign> {
        let current = self.current();
        if let Some(current) = current.filter(|current| !known(current)) {
            return Some(Foreign::Current(current.to_owned()));
        }
        // A rotation by a function of AWS's leaves the label at the version that it ended with.
        let pending = self.holder(2).filter(|pending| Some(*pending) != current);
        let pending = pending.filter(|pending| !is_own(pending))?;
        Some(Foreign::Pending(pending.to_owned()))
    }

    fn holder(&self, place: usize) -> Option<&str> {
        self.0.get(&place).map(String::as_str)
    }

    fn places<'a>(&'a self, version: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.0.iter().filter(move |(_, holder)| *holder == version).map(|(place, _)| *place)
    }

    fn has_any(&self, version: &str) -> bool {
        self.places(version).next().is_some()
    }

    fn has_only(&self, version: &str, place: usize) -> bool {
        self.places(version).eq([place])
    }

    /// What a call makes of it, as AWS documents it.
    fn apply(&mut self, act: &Act) {
        match act {
            Act::Put { version, stage } => {
                if self.0.is_empty() {
                    self.0.insert(1, version.clone());
                }
                self.0.extend(place(stage).map(|place| (place, version.clone())));
            }
            Act::Move { stage, from, to } => {
                let Some(place) = place(stage) else { return };
                match to {
                    Some(to) => self.0.insert(place, to.clone()),
                    None => self.0.remove(&place),
                };
                if let Some(from) = from.as_ref().filter(|_| place == 1) {
                    self.0.insert(3, from.clone());
                }
            }
        }
    }
}

/// The calls that make the list of these versions out of what is there. None if it is there.
///
/// Whatever is done of them, in their order: the preferred version is the one that was, or the one that is wanted, and
/// each version that was in the list and is wanted is in it.
pub(super) fn plan(present: &Stages, wanted: &[String]) -> Vec<Act> {
    let mut plan =
        Plan { targets: targets(present, wanted), now: present.clone(), acts: Vec::new() };
    plan.add_new_versions();
    plan.move_current();
    for position in 1..wanted.len() {
        plan.settle(position);
    }
    plan.take_away(plan.now.0.keys().copied().collect());
    plan.acts
}

/// Which label each version should have.
fn targets(present: &Stages, wanted: &[String]) -> Vec<(usize, String)> {
    let led = |version: &str| [1, 3].iter().any(|&place| present.holder(place) == Some(version));
    let place = |position: usize, version: &str| match position {
        1 if wanted.len() == 2 && led(version) => 3,
        _ => position + 1,
    };
    wanted.iter().enumerate().map(|(at, version)| (place(at, version), version.clone())).collect()
}

struct Plan {
    targets: Vec<(usize, String)>,
    now: Stages,
    acts: Vec<Act>,
}

impl Plan {
    fn act(&mut self, act: Act) {
        self.now.apply(&act);
        self.acts.push(act);
    }

    fn relabel(&mut self, place: usize, to: Option<&str>) {
        let from = self.now.holder(place).map(str::to_owned);
        self.act(Act::Move { stage: label(place), from, to: to.map(str::to_owned) });
    }

    /// A label that nobody has and nobody will have.
    fn spare(&self) -> usize {
        let mut places = FIRST_OWN..;
        let free =
            places.find(|place| self.now.holder(*place).is_none() && !self.is_target(*place));
        free.unwrap_or(usize::MAX)
    }

    fn is_target(&self, place: usize) -> bool {
        self.targets.iter().any(|(target, _)| *target == place)
    }

    fn position(&self, version: &str) -> Option<usize> {
        self.targets.iter().position(|(_, wanted)| wanted == version)
    }

    /// With a label that only keyswap has: putting a version takes its label from whoever has it, and compares
    /// nothing.
    fn add_new_versions(&mut self) {
        for (place, version) in self.targets.clone() {
            if self.now.has_any(&version) {
                continue;
            }
            let free = self.now.holder(place).is_none();
            let place =
                if free && (place == 1 || place >= FIRST_OWN) { place } else { self.spare() };
            self.act(Act::Put { version, stage: label(place) });
        }
    }

    fn move_current(&mut self) {
        let Some((_, lead)) = self.targets.first().cloned() else { return };
        if self.now.current() == Some(lead.as_str()) {
            return;
        }
        // AWS moves AWSPREVIOUS by itself to the version that loses AWSCURRENT.
        let stays = |version: &&str| *version != lead && self.position(version).is_some();
        let loser = self.now.holder(3).filter(stays).filter(|it| self.now.has_only(it, 3));
        if let Some(loser) = loser.map(str::to_owned) {
            self.relabel(self.spare(), Some(&loser));
        }
        self.relabel(1, Some(&lead));
    }

    /// Gives the version at this position its label, and then the one that had it, and so on, so that not more than one
    /// version at a time has a spare label for that.
    fn settle(&mut self, position: usize) {
        let mut next = Some(position);
        while let Some((place, version)) =
            next.take().map(|position| self.targets[position].clone())
        {
            if self.now.holder(place) == Some(version.as_str()) {
                return;
            }
            if let Some(holder) = self.now.holder(place).map(str::to_owned) {
                let position = self.position(&holder);
                if position.is_some() && self.now.has_only(&holder, place) {
                    self.relabel(self.spare(), Some(&holder));
                    next = position;
                }
            }
            self.relabel(place, Some(&version));
            self.take_away(self.now.places(&version).collect());
        }
    }

    /// Those of these labels that nobody should have.
    fn take_away(&mut self, labels: Vec<usize>) {
        for place in labels {
            if !self.is_target(place) {
                self.relabel(place, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn versions(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn done(present: &Stages, wanted: &[String]) -> Stages {
        let mut stages = present.clone();
        for act in plan(present, wanted) {
            stages.apply(&act);
        }
        stages
    }

    /// The labels after each of these lists was published, one after the other.
    fn walk(lists: &[&[&str]]) -> Vec<String> {
        let mut stages = Stages::default();
        let mut seen = Vec::new();
        for list in lists {
            stages = done(&stages, &versions(list));
            let labels =
                stages.0.iter().map(|(place, version)| format!("{}={version}", label(*place)));
            seen.push(labels.collect::<Vec<_>>().join(" "));
        }
        seen
    }

    #[test]
    fn a_rotation_walks_over_the_labels_that_other_tools_know() {
        let rotation: [&[&str]; 4] = [&["old"], &["old", "new"], &["new", "old"], &["new"]];
        assert_eq!(
            walk(&rotation),
            [
                "AWSCURRENT=old",
                "AWSCURRENT=old AWSPENDING=new",
                "AWSCURRENT=new AWSPREVIOUS=old",
                "AWSCURRENT=new"
            ]
        );
        let back: [&[&str]; 4] = [&["old", "new"], &["new", "old"], &["old", "new"], &["old"]];
        assert_eq!(walk(&back)[2..], ["AWSCURRENT=old AWSPREVIOUS=new", "AWSCURRENT=old"]);
    }

    #[test]
    fn a_retired_secret_that_returns_leads_at_once_and_leaves_no_label_behind() {
        let healed: [&[&str]; 5] = [
            &["old", "new"],
            &["returned", "new", "old"],
            &["new", "old", "returned"],
            &["new"],
            &["returned", "new"],
        ];
        assert_eq!(
            walk(&healed)[1..],
            [
                "AWSCURRENT=returned AWSPENDING=new AWSPREVIOUS=old",
                "AWSCURRENT=new AWSPENDING=old AWSPREVIOUS=returned",
                "AWSCURRENT=new",
                "AWSCURRENT=returned AWSPREVIOUS=new"
            ]
        );
    }

    #[test]
    fn no_call_takes_a_label_that_another_tool_may_have_taken_meanwhile() {
        let old = done(&Stages::default(), &versions(&["old"]));
        let calls = plan(&old, &versions(&["old", "new"]));
        let put = Act::Put { version: "new".to_owned(), stage: "keyswap-4".to_owned() };
        assert_eq!(calls[0], put, "a put compares nothing: it uses a label of keyswap's own");
        let pending =
            Act::Move { stage: PENDING.to_owned(), from: None, to: Some("new".to_owned()) };
        assert_eq!(calls[1], pending);
    }

    #[test]
    fn what_keyswap_did_not_publish_is_found_where_it_counts() {
        let foreign = |labels: &[(&str, &str)]| {
            let known = |version: &str| ["keyswap-a", "same-value"].contains(&version);
            Stages::new(labels.iter().copied()).foreign(known)
        };
        let own = (CURRENT, "keyswap-a");
        assert_eq!(foreign(&[(CURRENT, "b")]), Some(Foreign::Current("b".to_owned())));
        assert_eq!(foreign(&[own, (PENDING, "b")]), Some(Foreign::Pending("b".to_owned())));
        for fine in [
            &[own][..],
            &[own, (PENDING, "keyswap-left-behind")],
            &[own, (PREVIOUS, "b")],
            &[(CURRENT, "same-value"), (PENDING, "same-value")],
            &[own, ("somebody-elses", "b")],
            &[],
        ] {
            assert_eq!(foreign(fine), None, "{fine:?}");
        }
    }

    #[test]
    fn a_version_id_is_one_that_aws_takes_and_shows_the_secret() {
        let id = |text: &str| version("billing", &text.parse().unwrap());
        let (short, long) = (id("a"), id(&"z".repeat(64)));
        assert_eq!((short.len(), long.len()), (34, 64));
        assert!(id("s-09c1f25be3a7d840").starts_with("keyswap-s-09c1f25be3a7d840-"));
        assert_ne!(long, id(&"z".repeat(63)));
        assert_ne!(short, version("invoice", &"a".parse().unwrap()), "it is of one client");
        assert!(is_own(&short) && short.parse::<SecretId>().is_ok());
    }

    /// Whether AWS takes this call.
    fn takes(stages: &Stages, act: &Act) -> bool {
        let holder = |stage: &str| place(stage).and_then(|place| stages.holder(place));
        match act {
            Act::Put { version, stage } => !stages.has_any(version) && holder(stage).is_none(),
            Act::Move { stage, from, to } => {
                let there = to.as_ref().map_or(stage != CURRENT, |to| stages.has_any(to));
                holder(stage) == from.as_deref() && from != to && there
            }
        }
    }

    /// All of so many versions, in any order.
    fn of_each(many: usize) -> impl Strategy<Value = Vec<String>> {
        Just((0..many).map(|number| format!("keyswap-v{number}")).collect::<Vec<_>>())
            .prop_shuffle()
    }

    fn list(longest: usize) -> impl Strategy<Value = Vec<String>> {
        (of_each(10), 1..=longest).prop_map(|(mut all, length)| {
            all.truncate(length);
            all
        })
    }

    proptest! {
        #[test]
        fn any_list_becomes_any_other_and_reads_back_the_same(
            lists in prop::collection::vec(list(10), 1..6),
        ) {
            let mut stages = Stages::default();
            for wanted in lists {
                stages = done(&stages, &wanted);
                prop_assert_eq!(stages.list(), wanted.iter().map(String::as_str).collect::<Vec<_>>());
                prop_assert_eq!(stages.0.len(), wanted.len(), "one label a version");
                prop_assert!(plan(&stages, &wanted).is_empty());
            }
        }

        #[test]
        fn the_longest_list_takes_another_order_within_the_labels_that_aws_has_room_for(
            one in of_each(16),
            other in of_each(16),
        ) {
            let mut stages = done(&Stages::default(), &one);
            for act in plan(&stages.clone(), &other) {
                stages.apply(&act);
                prop_assert!(stages.0.len() <= 20, "{:?}", stages);
            }
            prop_assert_eq!(stages.list(), other.iter().map(String::as_str).collect::<Vec<_>>());
        }

        /// Publications that are cut off after any call, each followed by one of any list.
        #[test]
        fn after_any_call_the_list_has_what_it_needs_and_the_next_publication_goes_on(
            steps in prop::collection::vec((list(5), 0..12usize), 1..8),
            last in list(5),
        ) {
            let mut stages = Stages::default();
            for (wanted, calls) in steps.into_iter().chain([(last, usize::MAX)]) {
                let before = stages.clone();
                for act in plan(&before, &wanted).into_iter().take(calls) {
                    prop_assert!(takes(&stages, &act), "{:?} at {:?}", act, stages);
                    stages.apply(&act);
                    let now = stages.list();
                    for kept in before.list().into_iter().filter(|kept| wanted.iter().any(|wanted| wanted == kept)) {
                        prop_assert!(now.contains(&kept), "{} is lost at {:?}", kept, act);
                    }
                    for one in &now {
                        let known = before.list().contains(one) || wanted.iter().any(|wanted| wanted == one);
                        prop_assert!(known, "{} came back", one);
                    }
                    let current = stages.current();
                    let leads = current == before.current() || current == Some(wanted[0].as_str());
                    prop_assert!(leads, "{:?} leads at {:?}", current, act);
                    prop_assert!(stages.0.len() <= 20, "AWS takes 20 labels a secret: {:?}", stages);
                }
                if calls == usize::MAX {
                    prop_assert_eq!(stages.list(), wanted.iter().map(String::as_str).collect::<Vec<_>>());
                }
            }
        }
    }
}
