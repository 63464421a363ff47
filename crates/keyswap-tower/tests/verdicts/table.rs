//! The table of providers in `docs/providers.md`.

use http::response::Parts;
use keyswap_core::Verdict;
use keyswap_tower::Profile;

use crate::cases::{FORM, JSON, head, named, read};

/// The examples in a cell: `STATUS BODY` between backticks.
fn examples(cell: &str) -> Vec<(Parts, String)> {
    let mut examples = Vec::new();
    let mut rest = cell;
    while let Some(start) = rest.find('`') {
        let fence = rest[start..].chars().take_while(|letter| *letter == '`').count();
        let text = &rest[start + fence..];
        let end = text.find(&"`".repeat(fence)).expect("a code span ends");
        let (status, body) = text[..end].split_once(' ').expect("a status and a body");
        let content_type = if body.starts_with('{') { JSON } else { FORM };
        examples.push((head(status.parse().unwrap(), Some(content_type)), body.to_owned()));
        rest = &text[end + fence..];
    }
    examples
}

#[test]
fn the_table_of_providers_lists_each_profile_with_examples_that_are_read_as_it_says() {
    let page = include_str!("../../../../docs/providers.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let names: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let known: Vec<_> = Profile::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names, known);
    for (row, profile) in rows.iter().zip(named()) {
        assert_eq!(row.len(), 5, "{profile}: {row:?}");
        let (wrong, close) = (examples(row[2]), examples(row[3]));
        assert!(!wrong.is_empty() && !close.is_empty(), "{profile}");
        for (head, body) in wrong {
            for profile in [profile, Profile::Auto] {
                assert_eq!(
                    read(profile, &head, body.as_bytes()),
                    Verdict::Refused,
                    "{profile}: {body}"
                );
            }
        }
        for (head, body) in close {
            for profile in [profile, Profile::Auto] {
                let verdict = read(profile, &head, body.as_bytes());
                assert_eq!(verdict, Verdict::Inconclusive, "{profile}: {body}");
            }
        }
    }
}
