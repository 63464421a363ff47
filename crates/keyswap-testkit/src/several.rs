//! The secrets of a client at a server that holds several at once: each is active or not, and comes and goes.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::propagation::{Origin, Propagation};

/// Where one secret stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// Not there yet, or not any more.
    Absent,
    Inactive,
    Active,
}

/// What a vendor lets be done with the secrets of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How many there can be at once.
    pub(crate) most: usize,
    /// Whether one has to be deactivated before it is removed, and one stays active.
    pub(crate) deactivation: bool,
    /// Which one cannot be removed.
    pub(crate) stays: Option<Stays>,
    /// A name for one that is added.
    pub(crate) id: fn() -> String,
}

/// What a vendor keeps with a secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// A text of whoever asked for it.
    pub(crate) label: Option<String>,
    /// When it ends by itself.
    pub(crate) ends: Option<SystemTime>,
}

/// One of the secrets of a client.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) details: Details,
    pub(crate) created: SystemTime,
    pub(crate) updated: SystemTime,
    /// When a client last signed in with it, where the vendor tells that.
    pub(crate) used: Option<SystemTime>,
    standing: Propagation<Standing>,
}

impl Entry {
    /// What the management plane shows.
    fn standing(&self, now: Instant) -> Standing {
        *self.standing.target(now)
    }

    /// Whether the management plane shows it as active.
    pub(crate) fn is_active(&self, now: Instant) -> bool {
        self.standing(now) == Standing::Active
    }
}

/// What is done with the secrets of a client.
#[derive(Clone)]
pub(crate) enum Act {
    Add {
        id: String,
        secret: String,
        details: Details,
        active: bool,
    },
    Activate(String),
    Deactivate(String),
    Remove(String),
    /// A new one comes in front; of those behind it, the first five stay.
    Rotate {
        id: String,
        secret: String,
    },
    /// All but the one that came last go.
    ClearRotated,
    /// This value takes the place of all that there are.
    Only {
        id: String,
        secret: String,
    },
}

impl Act {
    /// Another one, active and with nothing but its value.
    fn added(id: String, secret: String) -> Self {
        Self::Add { id, secret, details: Details::default(), active: true }
    }
}

/// Why something cannot be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// There is no such secret.
    NoSuchSecret,
    /// There are as many as there can be.
    TooMany,
    /// It is the only active one.
    OnlyActive,
    /// It has to be deactivated first.
    StillActive,
    /// It is the last one, which stays.
    OnlyOne,
    /// It was added last.
    Newest,
}

/// Which one of a client's secrets a server never lets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stays {
    /// The last that is left.
    Last,
    /// The one that was added last.
    Newest,
}

/// Something whose answer was lost, and that is looked at later.
struct Late {
    at: Instant,
    act: Act,
    lags: Vec<Duration>,
}

/// All secrets of a client, in the order in which they were added.
pub(crate) struct Several {
    entries: Vec<Entry>,
    late: Vec<Late>,
    nodes: usize,
    rules: Rules,
}

/// As many are kept behind the one that came last, where that pushes out the others.
pub(crate) const MOST_ROTATED: usize = 5;

impl fmt::Debug for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.entries.iter().map(|entry| &entry.id);
        f.debug_list().entries(ids).finish()
    }
}

impl Several {
    /// One active secret, which every node knows from the start.
    pub(crate) fn new(rules: Rules, secret: String, nodes: usize, now: Instant) -> Self {
        let standing = Propagation::new(Standing::Active, nodes, now);
        let created = SystemTime::now();
        let (id, details) = ((rules.id)(), Details::default());
        let entry = Entry { id, secret, details, created, updated: created, used: None, standing };
        Self { entries: vec![entry], late: Vec::new(), nodes, rules }
    }

    /// A name for one that is added.
    pub(crate) fn new_id(&self) -> String {
        (self.rules.id)()
    }

    /// Those that the management plane shows.
    pub(crate) fn listed(&self, now: Instant) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.standing(now) != Standing::Absent)
    }

    /// Those that `node` shows, at a vendor whose management plane lags behind as well.
    pub(crate) fn listed_at(&self, node: usize, now: Instant) -> impl Iterator<Item = &Entry> {
        let there = move |entry: &&Entry| *entry.standing.held(node, now) != Standing::Absent;
        self.entries.iter().filter(there)
    }

    /// The one that was there from the start, as long as the management plane shows it.
    pub(crate) fn original(&self, now: Instant) -> Option<&Entry> {
        self.entries.first().filter(|entry| entry.standing(now) != Standing::Absent)
    }

    /// Whether it cannot be removed, as the one that stays.
    fn stays(&self, id: &str, now: Instant) -> Option<Stays> {
        self.rules.stays.filter(|stays| match stays {
            Stays::Last => self.listed(now).count() == 1,
            Stays::Newest => self.is_newest(id, now),
        })
    }

    /// Whether it came last of those that the management plane shows.
    pub(crate) fn is_newest(&self, id: &str, now: Instant) -> bool {
        self.listed(now).last().is_some_and(|entry| entry.id == id)
    }

    /// The name of the one that the client began with.
    pub(crate) fn first(&self) -> Option<&str> {
        self.entries.first().map(|entry| entry.id.as_str())
    }

    /// Whether it is the one that the client began with.
    pub(crate) fn is_first(&self, id: &str) -> bool {
        self.first() == Some(id)
    }

    /// Whether no other one was ever added.
    pub(crate) fn is_as_it_began(&self) -> bool {
        self.entries.len() == 1
    }

    /// One of those that the management plane shows.
    pub(crate) fn entry(&self, id: &str, now: Instant) -> Option<&Entry> {
        self.listed(now).find(|entry| entry.id == id)
    }

    /// A client has signed in with this value.
    pub(crate) fn note_use(&mut self, secret: &str) {
        let now = SystemTime::now();
        self.entries
            .iter_mut()
            .filter(|entry| entry.secret == secret)
            .for_each(|entry| entry.used = Some(now));
    }

    /// The values that `node` accepts.
    pub(crate) fn accepted(&self, node: usize, now: Instant) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(move |entry| *entry.standing.held(node, now) == Standing::Active)
            .map(|entry| entry.secret.as_str())
    }

    /// Why this cannot be done, if it cannot.
    pub(crate) fn refusal(&self, act: &Act, now: Instant) -> Option<Refusal> {
        let standing = |id: &str| self.entry(id, now).map(|entry| entry.standing(now));
        let active = || self.listed(now).filter(|entry| entry.is_active(now)).count();
        match act {
            Act::Add { .. } => {
                (self.listed(now).count() >= self.rules.most).then_some(Refusal::TooMany)
            }
            Act::Activate(id) => standing(id).is_none().then_some(Refusal::NoSuchSecret),
            Act::Deactivate(id) => match standing(id) {
                None => Some(Refusal::NoSuchSecret),
                Some(Standing::Active) if active() == 1 => Some(Refusal::OnlyActive),
                Some(_) => None,
            },
            Act::Remove(id) => match standing(id) {
                None => Some(Refusal::NoSuchSecret),
                Some(Standing::Active) if self.rules.deactivation => Some(Refusal::StillActive),
                Some(_) if self.stays(id, now) == Some(Stays::Last) => Some(Refusal::OnlyOne),
                Some(_) if self.stays(id, now) == Some(Stays::Newest) => Some(Refusal::Newest),
                Some(_) => None,
            },
            Act::Rotate { .. } | Act::ClearRotated | Act::Only { .. } => None,
        }
    }

    /// Does what [`refusal`](Self::refusal) has nothing against; the nodes follow. What stands already as it is wanted
    /// is no change.
    pub(crate) fn apply(&mut self, act: Act, origin: Origin, lags: &[Duration], now: Instant) {
        let (id, wanted) = match act {
            Act::Add { id, secret, details, active } => {
                let standing = Propagation::new(Standing::Absent, self.nodes, now);
                let created = SystemTime::now();
                self.entries.push(Entry {
                    id: id.clone(),
                    secret,
                    details,
                    created,
                    updated: created,
                    used: None,
                    standing,
                });
                (id, if active { Standing::Active } else { Standing::Inactive })
            }
            Act::Activate(id) => (id, Standing::Active),
            Act::Deactivate(id) => (id, Standing::Inactive),
            Act::Remove(id) => (id, Standing::Absent),
            Act::Rotate { id, secret } => {
                self.keep_newest(MOST_ROTATED, origin, lags, now);
                return self.apply(Act::added(id, secret), origin, lags, now);
            }
            Act::ClearRotated => return self.keep_newest(1, origin, lags, now),
            Act::Only { id, secret } => {
                self.keep_newest(0, origin, lags, now);
                return self.apply(Act::added(id, secret), origin, lags, now);
            }
        };
        let entry = self.entries.iter_mut().find(|entry| entry.id == id);
        if let Some(entry) = entry.filter(|entry| entry.standing(now) != wanted) {
            entry.standing.change(wanted, origin, now, lags, now);
            entry.updated = SystemTime::now();
        }
    }

    /// Removes all but so many, those that came last.
    fn keep_newest(&mut self, most: usize, origin: Origin, lags: &[Duration], now: Instant) {
        let ids: Vec<String> = self.listed(now).map(|entry| entry.id.clone()).collect();
        for id in ids.iter().rev().skip(most) {
            self.apply(Act::Remove(id.clone()), origin, lags, now);
        }
    }

    /// Something to be looked at when `after` has passed, as it were the request itself that is late.
    pub(crate) fn later(&mut self, act: Act, after: Duration, lags: Vec<Duration>, now: Instant) {
        self.late.push(Late { at: now + after, act, lags });
    }

    /// Looks at what was late and is due. What cannot be done any more is refused then, and nobody hears of it.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        let due = |late: &Vec<Late>| {
            let due = (0..late.len()).filter(|one| late[*one].at <= now);
            due.min_by_key(|one| late[*one].at)
        };
        while let Some(position) = due(&self.late) {
            let Late { at, act, lags } = self.late.remove(position);
            if self.refusal(&act, at).is_none() {
                self.apply(act, Origin::Api, &lags, at);
            }
        }
    }

    /// When every node shows what the management plane does, what is late included.
    pub(crate) fn settles_at(&self) -> Option<Instant> {
        let late = self
            .late
            .iter()
            .map(|late| late.at + late.lags.iter().max().copied().unwrap_or_default());
        self.entries.iter().map(|entry| entry.standing.settles_at()).chain(late).max()
    }

    /// How many changes by `origin` have become effective.
    pub(crate) fn effective(&self, origin: Origin, now: Instant) -> u64 {
        self.entries.iter().map(|entry| entry.standing.effective(origin, now)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn add(id: &str) -> Act {
        Act::added(id.to_owned(), format!("value-{id}"))
    }

    impl Several {
        fn accepts(&self, secret: &str, node: usize, now: Instant) -> bool {
            self.accepted(node, now).any(|held| held == secret)
        }
    }

    fn several(now: Instant) -> Several {
        let rules = Rules { most: 2, deactivation: true, stays: None, id: || "a".to_owned() };
        Several::new(rules, "value-a".to_owned(), 2, now)
    }

    #[test]
    fn each_node_takes_a_secret_up_and_lets_it_go_after_its_own_lag() {
        let start = Instant::now();
        let mut secrets = several(start);
        secrets.apply(add("b"), Origin::Api, &[Duration::ZERO, SECOND], start);
        assert_eq!(secrets.listed(start).count(), 2);
        assert!(secrets.accepts("value-b", 0, start) && !secrets.accepts("value-b", 1, start));
        let later = start + SECOND;
        assert!(secrets.accepts("value-b", 1, later) && secrets.accepts("value-a", 1, later));
        let deactivate = Act::Deactivate("a".to_owned());
        secrets.apply(deactivate, Origin::Api, &[SECOND, Duration::ZERO], later);
        assert!(secrets.accepts("value-a", 0, later) && !secrets.accepts("value-a", 1, later));
        assert_eq!(secrets.settles_at(), Some(later + SECOND));
        assert_eq!(secrets.effective(Origin::Api, later), 2);
    }

    #[test]
    fn what_the_vendor_refuses_is_refused() {
        let now = Instant::now();
        let lags = [Duration::ZERO; 2];
        let mut secrets = several(now);
        let refusal = |secrets: &Several, act: Act| secrets.refusal(&act, now);
        let a = || "a".to_owned();
        assert_eq!(refusal(&secrets, Act::Deactivate(a())), Some(Refusal::OnlyActive));
        assert_eq!(refusal(&secrets, Act::Remove(a())), Some(Refusal::StillActive));
        assert_eq!(refusal(&secrets, Act::Remove("x".into())), Some(Refusal::NoSuchSecret));
        secrets.apply(add("b"), Origin::Api, &lags, now);
        assert_eq!(refusal(&secrets, add("c")), Some(Refusal::TooMany));
        assert_eq!(refusal(&secrets, Act::Deactivate(a())), None);
        secrets.apply(Act::Deactivate(a()), Origin::Api, &lags, now);
        assert_eq!(refusal(&secrets, Act::Deactivate("b".into())), Some(Refusal::OnlyActive));
        assert_eq!(refusal(&secrets, Act::Deactivate(a())), None, "it is inactive already");
        assert_eq!(refusal(&secrets, add("c")), Some(Refusal::TooMany), "an inactive one counts");
        secrets.apply(Act::Remove(a()), Origin::Api, &lags, now);
        assert_eq!(refusal(&secrets, add("c")), None);
        assert_eq!(refusal(&secrets, Act::Activate(a())), Some(Refusal::NoSuchSecret));
    }

    #[test]
    fn one_that_comes_in_front_pushes_out_what_is_behind_the_fifth() {
        let now = Instant::now();
        let lags = [Duration::ZERO; 2];
        let mut secrets = several(now);
        let rotate = |id: &str| Act::Rotate { id: id.to_owned(), secret: format!("value-{id}") };
        ["b", "c", "d", "e", "f"]
            .iter()
            .for_each(|id| secrets.apply(rotate(id), Origin::Api, &lags, now));
        assert!(secrets.accepts("value-a", 0, now) && secrets.listed(now).count() == 6);
        secrets.apply(rotate("g"), Origin::Api, &lags, now);
        assert!(!secrets.accepts("value-a", 0, now) && secrets.listed(now).count() == 6);
        secrets.apply(Act::ClearRotated, Origin::Api, &lags, now);
        assert_eq!(secrets.accepted(0, now).collect::<Vec<_>>(), ["value-g"]);
        let only = Act::Only { id: "h".to_owned(), secret: "value-b".to_owned() };
        secrets.apply(only, Origin::Api, &lags, now);
        assert_eq!(secrets.accepted(0, now).collect::<Vec<_>>(), ["value-b"]);
    }

    #[test]
    fn where_nothing_is_deactivated_what_is_active_is_removed_and_a_node_lists_it_for_a_while() {
        let now = Instant::now();
        let rules =
            Rules { most: 3, deactivation: false, stays: Some(Stays::Last), id: || "a".to_owned() };
        let mut secrets = Several::new(rules, "value-a".to_owned(), 2, now);
        let last = secrets.refusal(&Act::Remove("a".to_owned()), now);
        assert_eq!(last, Some(Refusal::OnlyOne), "where the last one stays");
        secrets.apply(add("b"), Origin::Api, &[Duration::ZERO, SECOND], now);
        assert_eq!(secrets.refusal(&add("c"), now), None, "three fit");
        assert_eq!(secrets.listed_at(0, now).count(), 2);
        assert_eq!(secrets.listed_at(1, now).count(), 1, "this one follows later");
        let later = now + SECOND;
        assert_eq!(secrets.listed_at(1, later).count(), 2);
        let remove = Act::Remove("a".to_owned());
        assert_eq!(secrets.refusal(&remove, later), None);
        secrets.apply(remove, Origin::Api, &[Duration::ZERO, SECOND], later);
        assert_eq!(secrets.listed(later).count(), 1);
        assert_eq!(secrets.listed_at(1, later).count(), 2);
    }

    #[test]
    fn where_the_newest_stays_another_one_has_to_follow_it() {
        let now = Instant::now();
        let id = || "a".to_owned();
        let rules = Rules { most: 2, deactivation: false, stays: Some(Stays::Newest), id };
        let mut secrets = Several::new(rules, "value-a".to_owned(), 2, now);
        let remove = |id: &str| Act::Remove(id.to_owned());
        assert_eq!(secrets.refusal(&remove("a"), now), Some(Refusal::Newest));
        assert!(secrets.is_as_it_began());
        secrets.apply(add("b"), Origin::Api, &[Duration::ZERO; 2], now);
        assert_eq!(secrets.refusal(&remove("b"), now), Some(Refusal::Newest));
        assert_eq!(secrets.refusal(&remove("a"), now), None);
        secrets.apply(remove("a"), Origin::Api, &[Duration::ZERO; 2], now);
        assert!(secrets.is_first("a") && !secrets.is_first("b") && !secrets.is_as_it_began());
    }

    #[test]
    fn what_comes_late_is_looked_at_when_it_comes() {
        let start = Instant::now();
        let lags = vec![Duration::ZERO; 2];
        let mut secrets = several(start);
        secrets.later(add("late"), SECOND, lags.clone(), start);
        secrets.catch_up(start);
        assert_eq!(secrets.listed(start).count(), 1);
        secrets.catch_up(start + SECOND);
        assert!(secrets.accepts("value-late", 0, start + SECOND));

        let mut secrets = several(start);
        secrets.later(add("late"), SECOND, lags.clone(), start);
        secrets.apply(add("b"), Origin::Api, &lags, start);
        secrets.catch_up(start + SECOND);
        assert!(!secrets.accepts("value-late", 0, start + SECOND), "there was no room any more");
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", several(Instant::now())).contains("value-a"));
    }
}
