//! What Graph shows of an application and its secrets, which it calls passwords.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyswap_core::{Secret, SecretId};
use keyswap_oauth::Token;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::{Slot, SlotId};
use crate::rotation::Timestamp;

/// The fields of an application that are asked for.
pub(super) const FIELDS: &str = "id,appId,signInAudience,passwordCredentials,keyCredentials";
/// What the display name of a secret begins with that keyswap has added.
const LABEL: &str = "keyswap ";
/// A secret whose begin is further ahead was meant to begin later; up to that, clocks differ.
const CLOCKS_DIFFER: std::time::Duration = std::time::Duration::from_secs(600);

/// The display name of a secret: by that it is known also if nobody heard the answer to the request for it.
pub(super) fn label(id: &SecretId) -> String {
    format!("{LABEL}{id}")
}

/// The parts of an application that matter here. A hint is a part of a value: no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Application {
    app_id: String,
    sign_in_audience: Option<String>,
    password_credentials: Vec<Password>,
    #[serde(default)]
    key_credentials: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Password {
    key_id: SlotId,
    display_name: Option<String>,
    start_date_time: Option<String>,
    end_date_time: Option<String>,
    /// The first three characters of the value.
    hint: Option<Zeroizing<String>>,
}

impl Application {
    pub(super) fn is_of(&self, client: &str) -> bool {
        self.app_id.eq_ignore_ascii_case(client)
    }

    /// By what it authenticates, if not by a secret.
    pub(super) fn authenticates_otherwise(&self) -> Option<&'static str> {
        match (self.password_credentials.is_empty(), self.key_credentials.is_empty()) {
            (false, _) => None,
            (true, false) => Some("a certificate (keyCredentials)"),
            (true, true) => Some("a federated credential, or by nothing yet"),
        }
    }

    pub(super) fn takes_personal_accounts(&self) -> bool {
        // `AzureADandPersonalMicrosoftAccount` and `PersonalMicrosoftAccount`.
        let audience = self.sign_in_audience.as_deref();
        audience.is_some_and(|audience| audience.ends_with("PersonalMicrosoftAccount"))
    }

    /// Its secrets, without their values. Those that have expired stay in the list until somebody removes them.
    pub(super) fn slots(self, known: &[Secret], now: Timestamp) -> Vec<Slot> {
        let slot = |password: Password| {
            let begins = moment(password.start_date_time.as_deref());
            let ends = moment(password.end_date_time.as_deref());
            let is_ahead = begins.is_some_and(|begins| begins > now.after(CLOCKS_DIFFER));
            let active = !is_ahead && ends.is_none_or(|ends| ends > now);
            let name = password.display_name.as_deref().and_then(|name| name.strip_prefix(LABEL));
            let hint = password.hint.as_ref().filter(|hint| !hint.is_empty());
            let other =
                |secret: &&Secret| hint.is_some_and(|hint| !secret.expose().starts_with(&***hint));
            Slot::new(password.key_id)
                .active(active)
                .made_for(name.and_then(|name| name.parse().ok()))
                .ruling_out(known.iter().filter(other).map(|secret| secret.id().clone()))
                .expiring(ends)
        };
        self.password_credentials.into_iter().map(slot).collect()
    }
}

fn moment(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(Timestamp::from_utc)
}

/// What is said of the service principal of a client that has no application in the tenant.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Principal {
    service_principal_type: Option<String>,
}

impl Principal {
    pub(super) const FIELDS: &str = "appId,servicePrincipalType";

    pub(super) fn is_managed_identity(&self) -> bool {
        self.service_principal_type.as_deref() == Some("ManagedIdentity")
    }
}

/// The answer to a request for a secret. The value is in it: no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Added {
    pub(super) key_id: SlotId,
    pub(super) secret_text: Zeroizing<String>,
}

/// The application permissions of a token, if it is one that can be looked into. Graph's own are not promised to stay so,
/// so nothing rests on it but an earlier word of what Graph itself would refuse.
pub(super) fn roles(token: &Token) -> Option<Vec<String>> {
    roles_in(token.expose())
}

fn roles_in(token: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        roles: Vec<String>,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-27T10:00:00Z";

    fn application(passwords: &str) -> Application {
        let text = format!(r#"{{"appId":"1111","passwordCredentials":{passwords}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn slots(passwords: &str, known: &[Secret]) -> Vec<Slot> {
        application(passwords).slots(known, Timestamp::from_utc(NOW).unwrap())
    }

    fn secret(id: &str, value: &str) -> Secret {
        Secret::new(id.parse().unwrap(), value).unwrap()
    }

    #[test]
    fn a_secret_is_told_by_its_display_name_and_what_it_cannot_be_by_its_hint() {
        let passwords = r#"[
            {"keyId":"a","displayName":"keyswap s-1","hint":"abc","endDateTime":"2027-01-01T00:00:00Z"},
            {"keyId":"b","displayName":"made by hand","hint":"xyz"},
            {"keyId":"c","displayName":"keyswap not an id","hint":null},
            {"keyId":"d","displayName":null,"hint":""}]"#;
        let known = [secret("s-1", "abcdef"), secret("s-2", "xyz123")];
        let found = slots(passwords, &known);
        let id = |text: &str| text.parse::<SecretId>().unwrap();
        let made_for: Vec<_> = found.iter().map(|slot| slot.made_for.clone()).collect();
        assert_eq!(made_for, [Some(id("s-1")), None, None, None]);
        let ruled_out: Vec<_> = found.iter().map(|slot| slot.rules_out.clone()).collect();
        assert_eq!(ruled_out, [vec![id("s-2")], vec![id("s-1")], vec![], vec![]]);
        assert!(found.iter().all(|slot| slot.active && slot.holds.is_none()));
        assert_eq!(found[0].expires.unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(found[1].expires, None);
    }

    #[test]
    fn one_that_has_ended_or_begins_another_day_is_not_active() {
        let passwords = r#"[
            {"keyId":"ended","endDateTime":"2026-11-27T10:00:00.0000000Z"},
            {"keyId":"ends","endDateTime":"2026-11-27T10:00:01Z"},
            {"keyId":"begins","startDateTime":"2026-11-27T10:10:01Z"},
            {"keyId":"clocks differ","startDateTime":"2026-11-27T10:00:30Z"}]"#;
        let active: Vec<_> = slots(passwords, &[]).iter().map(|slot| slot.active).collect();
        assert_eq!(active, [false, true, false, true]);
    }

    #[test]
    fn what_authenticates_without_a_secret_is_told() {
        assert!(application(r#"[{"keyId":"a"}]"#).authenticates_otherwise().is_none());
        assert!(application("[]").authenticates_otherwise().unwrap().contains("federated"));
        let text = r#"{"appId":"1","passwordCredentials":[],"keyCredentials":[{"keyId":"k"}]}"#;
        let certificate: Application = serde_json::from_str(text).unwrap();
        assert!(certificate.authenticates_otherwise().unwrap().contains("certificate"));
        for (audience, personal) in [
            ("AzureADMyOrg", false),
            ("AzureADandPersonalMicrosoftAccount", true),
            ("PersonalMicrosoftAccount", true),
        ] {
            let of = Application { sign_in_audience: Some(audience.into()), ..application("[]") };
            assert_eq!(of.takes_personal_accounts(), personal, "{audience}");
        }
    }

    #[test]
    fn the_permissions_of_a_token_are_read_where_it_shows_them() {
        let token = |claims: &str| format!("head.{}.signature", URL_SAFE_NO_PAD.encode(claims));
        let roles = roles_in(&token(r#"{"aud":"x","roles":["Application.ReadWrite.All"]}"#));
        assert_eq!(roles.unwrap(), ["Application.ReadWrite.All"]);
        assert_eq!(roles_in(&token(r#"{"aud":"x"}"#)).unwrap(), Vec::<String>::new());
        for opaque in ["", "opaque", "a.b.c", &token("not json")] {
            assert!(roles_in(opaque).is_none(), "{opaque}");
        }
    }
}
