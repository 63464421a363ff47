//! Where things are in etcd.

use crate::name;

/// Where everything is by default.
pub(super) const PREFIX: &str = "/keyswap/v1/";

/// The keys of one client, below a prefix that no other client id has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Keys {
    client: String,
}

impl Keys {
    /// `prefix` ends with a slash.
    pub(super) fn new(prefix: &str, client: &str) -> Self {
        Self { client: format!("{prefix}{}/", name::escape(client)) }
    }

    pub(super) fn ring(&self) -> String {
        self.below("ring")
    }

    pub(super) fn lock(&self) -> String {
        self.below("lock")
    }

    pub(super) fn hold(&self) -> String {
        self.below("hold")
    }

    /// The journal, or where its parts are.
    pub(super) fn journal(&self) -> String {
        self.below("journal")
    }

    pub(super) fn journal_parts(&self) -> String {
        self.below("journal/")
    }

    pub(super) fn journal_parts_of(&self, generation: &str) -> String {
        self.below(&format!("journal/{generation}/"))
    }

    pub(super) fn journal_part(&self, generation: &str, number: usize) -> String {
        self.below(&format!("journal/{generation}/{number:06}"))
    }

    /// Number and hash of the last record.
    pub(super) fn history_head(&self) -> String {
        self.below("history-head")
    }

    pub(super) fn history(&self) -> String {
        self.below("history/")
    }

    /// In the order of the keys, the records are in the order of their numbers.
    pub(super) fn record(&self, number: u64) -> String {
        self.below(&format!("history/{number:020}"))
    }

    pub(super) fn instances(&self) -> String {
        self.below("instances/")
    }

    /// The instance id holds no slash: see [`check_instance`](crate::written::check_instance).
    pub(super) fn instance(&self, application: &str, instance: &str) -> String {
        self.below(&format!("instances/{}/{instance}", name::escape(application)))
    }

    fn below(&self, name: &str) -> String {
        format!("{}{name}", self.client)
    }
}

/// The instance whose key this is.
pub(super) fn instance_of(key: &[u8]) -> String {
    let id = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(id).into_owned()
}

/// Where the keys end that begin with `prefix`, which ends with a slash: the next byte is a zero.
pub(super) fn end_of(prefix: &str) -> String {
    let mut end = prefix.trim_end_matches('/').to_owned();
    end.push('0');
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(keys: &Keys) -> Vec<String> {
        vec![
            keys.ring(),
            keys.lock(),
            keys.hold(),
            keys.journal(),
            keys.journal_part("1a", 2),
            keys.history_head(),
            keys.record(7),
            keys.instance("billing", "i-1"),
        ]
    }

    #[test]
    fn the_keys_are_those_of_the_documentation() {
        let keys = Keys::new(PREFIX, "https://a/b");
        assert_eq!(keys.ring(), "/keyswap/v1/https%3A%2F%2Fa%2Fb/ring");
        assert_eq!(
            keys.instance("an app/1", "i-0"),
            "/keyswap/v1/https%3A%2F%2Fa%2Fb/instances/an%20app%2F1/i-0"
        );
        assert_eq!(keys.record(1), "/keyswap/v1/https%3A%2F%2Fa%2Fb/history/00000000000000000001");
    }

    fn client() -> impl Strategy<Value = String> {
        prop_oneof!["[.%/2EFa~]{1,4}", any::<String>()]
    }

    proptest! {
        #[test]
        fn no_key_of_a_client_is_below_another_client(one in client(), other in client()) {
            prop_assume!(one != other);
            let below = Keys::new(PREFIX, &other).below("");
            for key in all(&Keys::new(PREFIX, &one)) {
                prop_assert!(!key.starts_with(&below), "{key} is below {below}");
            }
        }

        #[test]
        fn an_instance_is_found_again_whatever_its_application(
            application in any::<String>(), instance in "[A-Za-z0-9_-]{1,64}",
        ) {
            let keys = Keys::new(PREFIX, "billing");
            let key = keys.instance(&application, &instance);
            prop_assert_eq!(instance_of(key.as_bytes()), instance);
            prop_assert!(key >= keys.instances() && key < end_of(&keys.instances()));
        }

        #[test]
        fn records_are_in_the_order_of_their_numbers(one in any::<u64>(), other in any::<u64>()) {
            let keys = Keys::new(PREFIX, "billing");
            prop_assert_eq!(keys.record(one).cmp(&keys.record(other)), one.cmp(&other));
        }

        #[test]
        fn a_range_holds_what_begins_with_its_prefix_and_nothing_else(rest in "[ -~]{0,8}") {
            let keys = Keys::new(PREFIX, "billing");
            let (from, to) = (keys.journal_parts(), end_of(&keys.journal_parts()));
            let inside = format!("{from}{rest}");
            prop_assert!(inside >= from && inside < to);
            for outside in [keys.journal(), keys.history_head(), keys.ring(), keys.lock()] {
                prop_assert!(outside < from || outside >= to, "{outside}");
            }
        }
    }
}
