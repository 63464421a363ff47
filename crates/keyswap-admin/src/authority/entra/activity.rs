//! When each secret of an application was last used, as far as Microsoft tells it.
//!
//! Sources: the Graph reference of the beta (`reportRoot: list appCredentialSignInActivities`, the resource
//! `appCredentialSignInActivity`), "Usage and insights report" for the licence. How far the report is behind is not said,
//! so no gate of a rotation looks at it.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;

use super::super::http::with_segments;
use super::super::{Slot, SlotId};
use super::{Entra, application};
use crate::finding::{Finding, Subject};
use crate::rotation::Timestamp;

const WHAT: &str = "when each of its secrets was last used";
const PERMISSION: &str = "AuditLog.Read.All";

#[derive(Deserialize)]
struct Report {
    value: Vec<Activity>,
    #[serde(rename = "@odata.nextLink")]
    more: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Activity {
    key_id: SlotId,
    sign_in_activity: Option<SignIn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignIn {
    last_sign_in_date_time: Option<String>,
}

pub(super) async fn look(entra: &Entra) -> Finding {
    used(entra).await.unwrap_or_else(|why| Finding::unseen_use(WHAT, &why))
}

async fn used(entra: &Entra) -> Result<Finding, String> {
    let answer = entra.read(&entra.application_url, application::FIELDS).await;
    let application = answer.and_then(|answer| entra.application(&answer));
    let slots = application.map_err(|error| error.to_string())?.slots(&[], Timestamp::now());
    let mut url =
        with_segments(&entra.graph, &["beta", "reports", "appCredentialSignInActivities"])
            .map_err(|error| error.to_string())?;
    // The client id was looked at when the authority was made: it holds nothing that would end the text.
    url.query_pairs_mut().append_pair("$filter", &format!("appId eq '{}'", entra.client));
    let answer = entra.get(&url).await.map_err(|error| error.to_string())?;
    if answer.status == StatusCode::FORBIDDEN {
        let text = format!(
            "{WHAT} is not looked at: that needs the application permission {PERMISSION} of Microsoft Graph (in the \
             Microsoft Entra admin center, App registrations > the management client > API permissions, and admin \
             consent), and a tenant with Microsoft Entra ID P1 or P2"
        );
        return Ok(Finding::ok(Subject::Use, text));
    }
    let report = answer.json::<Report>().filter(|_| answer.status.is_success());
    let report = report.ok_or_else(|| answer.said())?;
    Ok(Finding::ok(Subject::Use, tell(&slots, &report)))
}

/// Each secret that is taken, those first that were used last.
fn tell(slots: &[Slot], report: &Report) -> String {
    let mut last = BTreeMap::<&SlotId, Timestamp>::new();
    for activity in &report.value {
        let time = activity.sign_in_activity.as_ref();
        let time = time.and_then(|sign_in| sign_in.last_sign_in_date_time.as_deref());
        if let Some(time) = time.and_then(Timestamp::from_utc) {
            // One secret has a line for each resource that it was used for.
            let known = last.entry(&activity.key_id).or_insert(time);
            *known = time.max(*known);
        }
    }
    let mut active: Vec<_> = slots.iter().filter(|slot| slot.active).collect();
    active.sort_by_key(|slot| std::cmp::Reverse(last.get(&slot.id)));
    let told = active.iter().map(|slot| {
        let name = match &slot.made_for {
            Some(id) => format!("{id} (key id {})", slot.id),
            None => format!("key id {}", slot.id),
        };
        match (last.get(&slot.id), &report.more) {
            (Some(time), _) => format!("{name}: {time}"),
            (None, None) => format!("{name}: not in the report"),
            (None, Some(_)) => format!("{name}: not in the first page of the report"),
        }
    });
    format!(
        "when each of its secrets was last used, by a report of Microsoft's that is behind by a time that it does not \
         say: {}",
        told.collect::<Vec<_>>().join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_that_was_used_last_is_told_first_and_one_that_is_not_taken_not_at_all() {
        let slot = |id: &str| Slot::new(SlotId::new(id));
        let slots = [
            slot("old"),
            slot("never"),
            slot("ended").active(false),
            slot("new").made_for(Some("s-2".parse().unwrap())),
        ];
        let report = r#"{"value":[
            {"keyId":"old","signInActivity":{"lastSignInDateTime":"2026-11-01T00:00:00Z"}},
            {"keyId":"new","signInActivity":{"lastSignInDateTime":"2026-11-27T09:00:00Z"}},
            {"keyId":"new","signInActivity":{"lastSignInDateTime":"2026-11-20T09:00:00Z"}},
            {"keyId":"ended","signInActivity":{"lastSignInDateTime":"2026-11-27T10:00:00Z"}},
            {"keyId":"never","signInActivity":null},
            {"keyId":"of another","signInActivity":{"lastSignInDateTime":"yesterday"}}]}"#;
        let mut report: Report = serde_json::from_str(report).unwrap();
        let text = tell(&slots, &report);
        let (_, told) = text.split_once("does not say: ").unwrap();
        let new = "s-2 (key id new): 2026-11-27T09:00:00Z";
        let told: Vec<_> = told.split("; ").collect();
        assert_eq!(
            told,
            [new, "key id old: 2026-11-01T00:00:00Z", "key id never: not in the report"]
        );
        report.more = Some(serde::de::IgnoredAny);
        assert!(tell(&slots, &report).ends_with("never: not in the first page of the report"));
    }
}
