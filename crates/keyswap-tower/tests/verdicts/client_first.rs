//! Which refusals prove that a code or a refresh token is as good as before.

use keyswap_core::Verdict;
use keyswap_tower::{ClientFirst, Profile};

use crate::cases::{read_exactly, recorded, refusals, written};

#[test]
fn servers_that_are_known_to_look_at_the_client_first_say_so_with_every_refusal() {
    let mut seen = [0; 4];
    for case in refusals() {
        let verdict = read_exactly(&case.profile, &case.head, &case.body);
        let body = String::from_utf8_lossy(&case.body);
        let (known, count) = match case.profile {
            Profile::Keycloak => (true, &mut seen[0]),
            Profile::Hydra => (true, &mut seen[1]),
            Profile::OidcProvider => (true, &mut seen[2]),
            // Its older versions look for the code first, and have other words for a wrong secret.
            Profile::Zitadel => (body.contains(r#""invalid secret""#), &mut seen[3]),
            _ => {
                assert_eq!(verdict, Verdict::Refused, "{}: {}", case.profile, case.name);
                continue;
            }
        };
        let expected = if known { Verdict::RefusedBeforeGrant } else { Verdict::Refused };
        assert_eq!(verdict, expected, "{}: {}", case.profile, case.name);
        *count += usize::from(known);
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn auto_proves_nothing_about_the_grant_since_another_server_may_use_the_same_words() {
    for case in refusals() {
        let verdict = read_exactly(&Profile::Auto, &case.head, &case.body);
        assert_eq!(verdict, Verdict::Refused, "{}: {}", case.profile, case.name);
    }
}

#[test]
fn the_word_of_a_user_changes_refusals_and_nothing_else() {
    for case in recorded().into_iter().chain(written()) {
        let verdict = read_exactly(&ClientFirst(case.profile), &case.head, &case.body);
        let expected = match case.expected {
            Verdict::Refused => Verdict::RefusedBeforeGrant,
            other => other,
        };
        assert_eq!(verdict, expected, "{}: {}", case.profile, case.name);
    }
}
