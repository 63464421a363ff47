//! The tables of providers in `docs/providers.md` and the README.

use http::response::Parts;
use keyswap_core::Verdict;
use keyswap_tower::Profile;

use crate::cases::{FORM, JSON, head, named, read, read_exactly};

const PAGE: &str = include_str!("../../../../docs/providers.md");
const README: &str = include_str!("../../../../README.md");
const CODES: &str = "## Codes and refresh tokens";

/// The cells of each row that begins with the name of a profile.
fn rows(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

fn providers() -> Vec<Vec<&'static str>> {
    rows(PAGE.split_once(CODES).expect("a section on codes").0)
}

fn profile_of(row: &[&str]) -> Profile {
    row[0].trim_matches('`').parse().unwrap()
}

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
    let rows = providers();
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

#[test]
fn the_table_on_codes_has_each_answer_that_proves_that_the_grant_was_left_alone_and_no_other() {
    let (_, section) = PAGE.split_once(CODES).expect("a section on codes");
    let listed: Vec<(Profile, String)> = rows(section)
        .iter()
        .flat_map(|row| examples(row[1]).into_iter().map(|(_, body)| (profile_of(row), body)))
        .collect();
    assert!(!listed.is_empty());
    let mut proofs = Vec::new();
    for (row, profile) in providers().iter().zip(named()) {
        for (head, body) in examples(row[2]) {
            match read_exactly(&profile, &head, body.as_bytes()) {
                Verdict::RefusedBeforeGrant => proofs.push((profile, body)),
                verdict => assert_eq!(verdict, Verdict::Refused, "{profile}: {body}"),
            }
        }
    }
    assert_eq!(listed, proofs);
}

/// Status and error code of each example, without what tells them from others.
fn in_brief(cell: &str) -> String {
    let mut brief: Vec<String> = Vec::new();
    for (head, body) in examples(cell) {
        let error = match serde_json::from_str::<serde_json::Value>(&body) {
            Ok(json) => {
                let error = json["error"].as_str().expect("an error code");
                let number = json["error_codes"][0].as_u64();
                number.map_or(format!("`{error}`"), |number| format!("`{error}` {number}"))
            }
            Err(_) => format!("`{}`", body.strip_prefix("error=").expect("an error code")),
        };
        let text = format!("{} {error}", head.status.as_u16());
        if !brief.contains(&text) {
            brief.push(text);
        }
    }
    brief.join(", ")
}

/// Whether a request with a code has a fallback there.
fn codes(profile: Profile, cell: &str) -> &'static str {
    let proof = |(head, body): &&(Parts, String)| {
        read_exactly(&profile, head, body.as_bytes()) == Verdict::RefusedBeforeGrant
    };
    let examples = examples(cell);
    match examples.iter().filter(proof).count() {
        0 => "at your word",
        all if all == examples.len() => "yes",
        _ => "newer versions",
    }
}

#[test]
fn the_table_in_the_readme_is_the_page_of_providers_in_brief() {
    let mut expected: Vec<String> = providers()
        .iter()
        .zip(named())
        .map(|(row, profile)| {
            let (brief, codes) = (in_brief(row[2]), codes(profile, row[2]));
            format!("| `{profile}` | {} | {brief} | {codes} | {} |", row[1], row[4])
        })
        .collect();
    expected.push("| `auto` | any of these | any of these | at your word | |".to_owned());
    let of_profile = |line: &&str| {
        let name = line.strip_prefix("| `").and_then(|line| line.split('`').next());
        name.is_some_and(|name| name.parse::<Profile>().is_ok())
    };
    let found: Vec<&str> = README.lines().filter(of_profile).collect();
    assert_eq!(found, expected, "it should be:\n{}", expected.join("\n"));
}
