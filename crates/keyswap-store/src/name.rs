//! The name of a client in a store: of its directory, or within a key.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// File systems take names of 255 bytes; some leave room for less.
const LONGEST: usize = 200;

/// A name that no other client id has: what is not `[A-Za-z0-9_.-]`, and a dot at the beginning, is
/// written as `%XX`. One that comes out too long is cut, and told apart by a hash behind a `~`.
pub(crate) fn escape(client: &str) -> String {
    let mut name = String::with_capacity(client.len());
    for (position, byte) in client.bytes().enumerate() {
        match byte {
            b'.' if position == 0 => name.push_str("%2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
                name.push(char::from(byte));
            }
            _ => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST - 65);
        name.push('~');
        for byte in Sha256::digest(client) {
            let _ = write!(name, "{byte:02x}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_client_id_of_a_known_server_stays_as_it_is() {
        assert_eq!(escape("3MVG9lKcPoNINVB.x_y-z"), "3MVG9lKcPoNINVB.x_y-z");
        assert_eq!(escape(".."), "%2E.");
        assert_eq!(escape("https://a/b"), "https%3A%2F%2Fa%2Fb");
    }

    fn client() -> impl Strategy<Value = String> {
        // Short ids over a small alphabet meet often; long ones are cut.
        prop_oneof!["[.%/2EFa~]{1,4}", "[.%/2EFa~é]{190,210}", any::<String>()]
    }

    proptest! {
        #[test]
        fn two_client_ids_never_share_a_name(one in client(), other in client()) {
            prop_assert_eq!(escape(&one) == escape(&other), one == other);
        }

        #[test]
        fn a_name_is_one_plain_path_component(client in client()) {
            let name = escape(&client);
            prop_assert!(!name.starts_with('.') && name.len() <= LONGEST, "{}", name);
            prop_assert!(!name.contains('/') && !name.contains('\0'), "{}", name);
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{}", name);
        }
    }
}
