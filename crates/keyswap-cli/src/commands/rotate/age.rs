//! `--if-older-than`: whose secret is old enough to be rotated.

use std::time::Duration;

use keyswap_admin::Age;
use keyswap_admin::rotation::Timestamp;
use serde_json::json;

use crate::configuration::OfClient;
use crate::in_words::in_days;
use crate::store::open_store;

/// Those of these clients whose secret is older than this, or of which nothing tells. Says of the others why they stay
/// as they are.
pub(super) async fn older_than(
    limit: Duration,
    clients: &[OfClient<'_>],
    as_json: bool,
) -> Vec<String> {
    let mut older = Vec::new();
    for client in clients {
        let id = client.id();
        // What cannot be read is told by the rotation itself, beside what comes of the others.
        let aged = match open_store(client) {
            Ok(store) => keyswap_admin::age(&store).await.ok(),
            Err(_) => None,
        };
        let Some(aged) = aged else {
            older.push(id.to_owned());
            continue;
        };
        let (is_young, line) = against(limit, &aged, Timestamp::now());
        match (is_young, as_json) {
            (true, false) => println!("client {id}: {line}: nothing to do"),
            (true, true) => {
                let (at, from) = aged.since.unzip();
                let line = json!({ "client": id, "younger": true, "secret": aged.secret, "since": at, "from": from });
                println!("{line}");
            }
            (false, false) => eprintln!("client {id}: {line}"),
            (false, true) => {}
        }
        if !is_young {
            older.push(id.to_owned());
        }
    }
    older
}

/// Whether a secret is younger than this, and what tells that. A rotation that is under way has to be resumed,
/// whatever it has come to.
fn against(limit: Duration, aged: &Age, now: Timestamp) -> (bool, String) {
    let secret = &aged.secret;
    let Some((since, from)) = aged.since else {
        let line = format!(
            "nothing tells how old {secret} is, which no rotation of this store brought: it counts as older"
        );
        return (false, line);
    };
    let (old, limit_is) = (in_days(now.since(since)), in_days(limit));
    let is_young = now.since(since) < limit && !aged.under_way;
    let than = match (now.since(since) < limit, aged.under_way) {
        (true, true) => "a rotation is under way, and was not brought to its end".to_owned(),
        (true, false) => format!("younger than {limit_is}"),
        (false, _) => format!("{limit_is} or older"),
    };
    (is_young, format!("{secret} is {old} old, as {from} says (since {since}): {than}"))
}

#[cfg(test)]
mod tests {
    use keyswap_admin::AgeSource;

    use super::*;

    #[test]
    fn a_secret_is_younger_if_something_tells_so_and_no_rotation_hangs() {
        let now = Timestamp::from_milliseconds(100 * 86_400_000);
        let day = Duration::from_secs(86_400);
        let since = |days: u64| {
            Some((Timestamp::from_milliseconds((100 - days) * 86_400_000), AgeSource::History))
        };
        for (since, under_way, young, says) in [
            (
                since(10),
                false,
                true,
                "NEW is 10d old, as the history says (since 1970-04-01T00:00:00Z): younger than 90d",
            ),
            (since(90), false, false, "90d or older"),
            (since(95), false, false, "90d or older"),
            (since(10), true, false, "a rotation is under way"),
            (None, false, false, "nothing tells how old NEW is"),
        ] {
            let age: Age = keyswap_admin::Age::new("NEW".parse().unwrap(), since, under_way);
            let (is_young, line) = against(90 * day, &age, now);
            assert_eq!(is_young, young, "{line}");
            assert!(line.contains(says), "{line}");
        }
    }
}
