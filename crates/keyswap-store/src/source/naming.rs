//! Ids for secrets that come without one: stable for as long as a secret is in the list, never used for
//! another value, and never made of the value.

use std::collections::HashMap;
use std::fmt;

use keyswap_core::{InvalidSecret, InvalidSecretList, Secret, SecretId, SecretList};
use zeroize::Zeroizing;

/// Leaves room for the number within the 64 characters of an id.
const LONGEST_LABEL: usize = 40;

/// A value and where it stood.
pub(super) struct Found {
    /// The name of the file or variable.
    pub(super) label: String,
    /// What a person is told to look at if the value is not valid.
    pub(super) place: String,
    pub(super) value: Zeroizing<String>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Found").field(&self.place).finish()
    }
}

/// Gives ids of the form `LABEL.N`, for the Nth secret that was first seen under that label.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// The highest number given, by label.
    given: HashMap<String, u64>,
}

impl Naming {
    /// Makes a list of what was found. A secret that is in `known` keeps its id, wherever it stands now; one
    /// that was found twice counts once, at its first place.
    pub(super) fn name(
        &mut self,
        found: Vec<Found>,
        known: Option<&SecretList>,
    ) -> Result<SecretList, Unnamed> {
        // Applied when the list is good: a fault that is read again and again uses up no numbers.
        let mut given = self.given.clone();
        let mut secrets: Vec<Secret> = Vec::with_capacity(found.len());
        for Found { label, place, value } in found {
            if secrets.iter().any(|secret| secret.matches(&value)) {
                continue;
            }
            let before = known.and_then(|known| known.iter().find(|one| one.matches(&value)));
            let secret = match before {
                Some(secret) => secret.clone(),
                None => {
                    let id = fresh(&label, &mut given, known).ok_or(Unnamed::NoId)?;
                    Secret::new(id, value.as_str())
                        .map_err(|reason| Unnamed::Secret { place, reason })?
                }
            };
            secrets.push(secret);
        }
        let list = SecretList::new(secrets).map_err(Unnamed::List)?;
        self.given = given;
        Ok(list)
    }
}

fn fresh(
    label: &str,
    given: &mut HashMap<String, u64>,
    known: Option<&SecretList>,
) -> Option<SecretId> {
    let allowed = |character: char| {
        let allowed = character.is_ascii_alphanumeric() || "._-".contains(character);
        if allowed { character } else { '-' }
    };
    let label: String = label.chars().take(LONGEST_LABEL).map(allowed).collect();
    let number = given.entry(label.clone()).or_default();
    loop {
        *number += 1;
        let id: SecretId = format!("{label}.{number}").parse().ok()?;
        // A ring that was made elsewhere may hold such an id for another value.
        if known.is_none_or(|known| known.find(&id).is_none()) {
            return Some(id);
        }
    }
}

/// Why what was found makes no list.
#[derive(Debug)]
pub(super) enum Unnamed {
    NoId,
    Secret { place: String, reason: InvalidSecret },
    List(InvalidSecretList),
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoId => f.write_str("its name makes no id; give it another name"),
            Self::Secret { place, reason } => write!(f, "{place}: {reason}"),
            Self::List(reason) => reason.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn found(values: &[(&str, &str)]) -> Vec<Found> {
        let found = |(label, value): &(&str, &str)| Found {
            label: (*label).to_owned(),
            place: format!("the file {label}"),
            value: Zeroizing::new((*value).to_owned()),
        };
        values.iter().map(found).collect()
    }

    fn ids(list: &SecretList) -> String {
        list.ids().map(SecretId::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_secret_that_moves_to_another_file_keeps_its_id_and_a_new_one_gets_the_next() {
        let mut naming = Naming::default();
        let first = naming.name(found(&[("current", "a")]), None).unwrap();
        assert_eq!(ids(&first), "current.1");
        let moved = found(&[("current", "b"), ("previous", "a")]);
        let second = naming.name(moved, Some(&first)).unwrap();
        assert_eq!(ids(&second), "current.2 current.1");
        // Gone for a while, it is another secret: who knows where it has been.
        let third = naming.name(found(&[("current", "b")]), Some(&second)).unwrap();
        let again = found(&[("current", "b"), ("previous", "a")]);
        assert_eq!(ids(&naming.name(again, Some(&third)).unwrap()), "current.2 previous.1");
    }

    #[test]
    fn a_value_that_is_there_twice_counts_once() {
        let twice = found(&[("current", "a"), ("previous", "a")]);
        assert_eq!(ids(&Naming::default().name(twice, None).unwrap()), "current.1");
    }

    #[test]
    fn an_id_that_the_ring_has_for_another_value_is_passed_over() {
        let known = SecretList::new([Secret::new("a.1".parse().unwrap(), "x").unwrap()]).unwrap();
        let list = Naming::default().name(found(&[("a", "y")]), Some(&known)).unwrap();
        assert_eq!(ids(&list), "a.2");
    }

    #[test]
    fn a_name_of_any_characters_and_length_makes_an_id() {
        let long = "ä/ ".repeat(200);
        for (label, expected) in [("", ".1"), ("Größe €", "Gr--e--.1"), (&long, "------")] {
            let list = Naming::default().name(found(&[(label, "x")]), None).unwrap();
            assert!(ids(&list).starts_with(expected), "{label}: {list:?}");
        }
    }

    #[test]
    fn a_value_that_is_no_secret_is_named_by_its_place_and_uses_up_no_number() {
        let mut naming = Naming::default();
        let bad = found(&[("a", "good"), ("a", "hunter2\u{7}")]);
        let error = naming.name(bad, None).unwrap_err();
        assert!(error.to_string().contains("the file a: "), "{error}");
        assert!(error.to_string().contains("control character"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert_eq!(ids(&naming.name(found(&[("a", "x")]), None).unwrap()), "a.1");
    }

    proptest! {
        #[test]
        fn an_id_never_stands_for_two_values_and_stays_with_its_value(
            lists in prop::collection::vec(
                prop::collection::vec((0usize..3, 0usize..6), 1..=6), 1..30,
            ),
        ) {
            let mut naming = Naming::default();
            let mut known: Option<SecretList> = None;
            let mut owners: HashMap<SecretId, String> = HashMap::new();
            for list in lists {
                let text: Vec<_> = list.iter()
                    .map(|(label, value)| (format!("f{label}"), format!("v{value}")))
                    .collect();
                let pairs: Vec<_> = text.iter().map(|(l, v)| (l.as_str(), v.as_str())).collect();
                let next = naming.name(found(&pairs), known.as_ref()).unwrap();
                let mut order: Vec<&str> = Vec::new();
                for (_, value) in pairs {
                    if !order.contains(&value) {
                        order.push(value);
                    }
                }
                prop_assert_eq!(next.iter().map(Secret::expose).collect::<Vec<_>>(), order);
                for secret in &next {
                    let value = secret.expose().to_owned();
                    let owner = owners.entry(secret.id().clone()).or_insert(value);
                    prop_assert_eq!(owner.as_str(), secret.expose());
                    let before = known.as_ref().and_then(|known| known.iter().find(|one| *one == secret));
                    prop_assert!(before.is_none_or(|before| before.id() == secret.id()));
                }
                known = Some(next);
            }
        }
    }
}
