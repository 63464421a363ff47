//! What is worth knowing of a client of Auth0 before its secret changes: what the management client may do, who
//! else depends on the secret, and what the tenant's log tells of its use.
//!
//! Sources: "Signing Algorithms" (docs.auth0.com: an application's HS256 tokens are signed with its client secret;
//! those for an API are signed with the API's own signing secret, which no rotation here touches), "Search log
//! events", "Log Search Query Syntax", and the log event types of token requests.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::StatusCode;
use serde::Deserialize;

use super::{Auth0, CONSOLE};
use crate::authority::http::with_segments;
use crate::finding::{Finding, Subject};

const FIELDS: &str = "client_id,jwt_configuration,grant_types";
/// Requests with the secret at the token endpoint, by which grant, that brought a token, and that did not.
const BROUGHT: [&str; 4] = ["seccft", "seacft", "sertft", "sepft"];
const FAILED: [&str; 4] = ["feccft", "feacft", "fertft", "fepft"];
/// How many records are asked for; the server gives no more at once.
const RECORDS: usize = 100;
/// How many addresses and programs are named.
const MOST_NAMED: usize = 4;

pub(super) async fn look(auth0: &Auth0) -> Vec<Finding> {
    let mut found = Vec::new();
    let scope = auth0.tokens.to_ask().await.ok().and_then(|token| token.scope().map(str::to_owned));
    found.extend(scope.as_deref().map(permissions));
    match auth0.read_client::<Dependants>(FIELDS).await {
        Ok(client) => found.extend(client.depend()),
        Err(error) => {
            found.push(Finding::unseen_use("who depends on the secret", &error.to_string()))
        }
    }
    found.push(used(auth0).await);
    found
}

fn permissions(scope: &str) -> Finding {
    let has = |name: &str| scope.split(' ').any(|one| one == name);
    if has("read:client_keys") || has("read:client_credentials") {
        let text = "the management client may read and change the client and its secret";
        return Finding::ok(Subject::Permissions, text);
    }
    Finding::warning(
        Subject::Permissions,
        format!(
            "the management client may change the secret and not read it, so after an answer that was lost only \
             token requests tell what the server holds: grant it read:client_keys ({CONSOLE})"
        ),
    )
}

/// The parts of a client that say who depends on its secret.
#[derive(Deserialize)]
struct Dependants {
    jwt_configuration: Option<Tokens>,
    grant_types: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tokens {
    alg: Option<String>,
}

impl Dependants {
    /// ID tokens that are signed with the secret. A client that gets tokens for itself alone gets none of them.
    fn depend(&self) -> Option<Finding> {
        let signs = self.jwt_configuration.as_ref().and_then(|tokens| tokens.alg.as_deref());
        let for_users = match &self.grant_types {
            None => true,
            Some(grants) => grants.iter().any(|grant| grant != "client_credentials"),
        };
        (signs == Some("HS256") && for_users).then(|| {
            Finding::warning(
                Subject::Use,
                "its ID tokens are signed with the client secret (HS256): from the change on, whoever verifies them \
                 with the old one refuses them, also programs that never ask for a token. Let them be signed with \
                 RS256 first (in the dashboard, at the application: Settings > Advanced Settings > OAuth), or let \
                 whoever verifies them try both secrets",
            )
        })
    }
}

/// The parts of a record that are told.
#[derive(Deserialize)]
struct Record {
    date: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
}

/// What the tenant's log has of the client's token requests. No gate of a rotation looks at that.
async fn used(auth0: &Auth0) -> Finding {
    let what = "what the tenant's log tells of its use";
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@:/".contains(&byte);
    if !auth0.client.bytes().all(plain) {
        return Finding::unseen_use(what, "its id cannot be searched for");
    }
    let url = match with_segments(&auth0.base, &["api", "v2", "logs"]) {
        Ok(mut url) => {
            let kinds: Vec<_> =
                BROUGHT.iter().chain(&FAILED).map(|kind| format!("type:{kind}")).collect();
            let query = format!("client_id:\"{}\" AND ({})", auth0.client, kinds.join(" OR "));
            url.query_pairs_mut()
                .append_pair("q", &query)
                .append_pair("sort", "date:-1")
                .append_pair("per_page", &RECORDS.to_string());
            url
        }
        Err(error) => return Finding::unseen_use(what, &error.to_string()),
    };
    let answer = match auth0.get(&url).await {
        Ok(answer) => answer,
        Err(error) => return Finding::unseen_use(what, &error.to_string()),
    };
    if answer.status == StatusCode::FORBIDDEN {
        let text = format!("{what} is not looked at: that needs read:logs ({CONSOLE})");
        return Finding::ok(Subject::Use, text);
    }
    match answer.json::<Vec<Record>>().filter(|_| answer.status.is_success()) {
        Some(records) => Finding::ok(Subject::Use, tell(&records)),
        None => Finding::unseen_use(what, &answer.said()),
    }
}

/// The newest first.
fn tell(records: &[Record]) -> String {
    let of = |kinds: &'static [&'static str]| {
        let is_one =
            |record: &&Record| record.kind.as_deref().is_some_and(|kind| kinds.contains(&kind));
        records.iter().filter(is_one).collect::<Vec<_>>()
    };
    let (brought, failed) = (of(&BROUGHT), of(&FAILED));
    let Some(last) = brought.first() else {
        return format!(
            "the tenant's log has no token that it got, for as long as the tenant keeps its log, and {} requests \
             that failed",
            failed.len()
        );
    };
    let addresses =
        brought.iter().filter_map(|record| record.ip.as_deref()?.parse::<IpAddr>().ok());
    let addresses: BTreeSet<String> = addresses.map(|address| address.to_string()).collect();
    let programs = brought.iter().filter_map(|record| shown(record.user_agent.as_deref()?));
    let programs: BTreeSet<String> = programs.collect();
    let most = if records.len() < RECORDS { "" } else { ", the newest ones" };
    format!(
        "the tenant's log has {} tokens that it got and {} requests that failed{most}: the last token {}, from {}, \
         by {}. Whoever is there and not in `keyswap status` is not waited for",
        brought.len(),
        failed.len(),
        date(last.date.as_deref()),
        named(&addresses, "an address that it does not say"),
        named(&programs, "programs that it does not name"),
    )
}

fn named(texts: &BTreeSet<String>, none: &str) -> String {
    let first: Vec<_> = texts.iter().take(MOST_NAMED).map(String::as_str).collect();
    match texts.len().saturating_sub(MOST_NAMED) {
        _ if first.is_empty() => none.to_owned(),
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A text of somebody else, as it may be shown.
fn shown(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|one| !one.is_control()).take(40).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// As RFC 3339 has it, or nothing.
fn date(text: Option<&str>) -> &str {
    let is_one = |text: &&str| {
        (10..=30).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TZ".contains(&byte))
    };
    text.filter(is_one).unwrap_or("at a time that it does not say")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depends(client: &str) -> bool {
        serde_json::from_str::<Dependants>(client).unwrap().depend().is_some()
    }

    #[test]
    fn id_tokens_depend_on_the_secret_where_it_signs_them_and_somebody_gets_them() {
        assert!(depends(
            r#"{"jwt_configuration":{"alg":"HS256"},"grant_types":["authorization_code"]}"#
        ));
        assert!(depends(r#"{"jwt_configuration":{"alg":"HS256"}}"#));
        assert!(!depends(
            r#"{"jwt_configuration":{"alg":"HS256"},"grant_types":["client_credentials"]}"#
        ));
        assert!(!depends(
            r#"{"jwt_configuration":{"alg":"RS256"},"grant_types":["authorization_code"]}"#
        ));
        assert!(!depends(r#"{"grant_types":["authorization_code"]}"#));
    }

    #[test]
    fn of_the_log_no_more_is_told_than_what_can_be_an_address_a_time_or_a_program() {
        let record = |ip: &str, agent: &str| Record {
            date: Some("2026-11-27T10:26:15.123Z".to_owned()),
            kind: Some("seccft".to_owned()),
            ip: Some(ip.to_owned()),
            user_agent: Some(agent.to_owned()),
        };
        let mut records =
            vec![record("10.0.0.7", "billing/1.2"), record("no address", "a\x1b[31m\nb")];
        records.push(Record { kind: Some("feccft".to_owned()), ..record("10.0.0.9", "other") });
        let text = tell(&records);
        assert!(text.contains("2 tokens that it got and 1 requests that failed"), "{text}");
        assert!(text.contains(
            "the last token 2026-11-27T10:26:15.123Z, from 10.0.0.7, by a[31mb, billing/1.2"
        ));
        assert!(
            !text.contains('\x1b') && !text.contains("10.0.0.9") && !text.contains("no address")
        );
        records[0].date = Some("<script>".to_owned());
        assert!(tell(&records).contains("at a time that it does not say"));
        let many: Vec<_> = (0..9).map(|number| record(&format!("10.0.0.{number}"), "x")).collect();
        assert!(tell(&many).contains("10.0.0.3 and 5 more"), "{}", tell(&many));
        assert!(tell(&[]).contains("has no token that it got"));
    }
}
