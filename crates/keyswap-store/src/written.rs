//! Lists, reports and holds as stores write them: JSON with a version.

use keyswap_core::{DocumentError, Revision, SecretDocument};
use serde::{Deserialize, Serialize};

use crate::{Hold, InstanceReport, StoreError, StoreErrorKind};

const VERSION: u64 = 1;

/// Why what a store holds is not taken, and what to do about it.
#[derive(Debug)]
pub(crate) struct Refused {
    reason: String,
    way_out: &'static str,
}

impl Refused {
    pub(crate) fn into_error(self, doing: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Invalid, doing).because(self.reason).way_out(self.way_out)
    }
}

#[derive(Deserialize)]
struct Header {
    keyswap: Option<u64>,
}

/// Unknown fields are let through: a fleet runs several versions of keyswap at once.
#[derive(Deserialize, Serialize)]
struct WrittenReport {
    keyswap: u64,
    #[serde(flatten)]
    report: InstanceReport,
}

#[derive(Deserialize, Serialize)]
struct WrittenHold {
    keyswap: u64,
    #[serde(flatten)]
    hold: Hold,
}

/// A list that keyswap published. The error lacks the place.
pub(crate) fn parse_list(text: &[u8], doing: &str) -> Result<SecretDocument, StoreError> {
    let invalid = || StoreError::new(StoreErrorKind::Invalid, doing);
    let document = SecretDocument::parse(text).map_err(|error| {
        let way_out = match error {
            // What is whole needs no backup.
            DocumentError::UnknownVersion { .. } => "nothing was changed",
            _ => "restore it from a backup; nothing was changed",
        };
        invalid().with_source(error).way_out(way_out)
    })?;
    if document.revision == Revision::INITIAL {
        return Err(invalid()
            .because("it has no revision, so that it is not a list that keyswap published")
            .way_out("take it away and import its secrets with `keyswap init`"));
    }
    Ok(document)
}

pub(crate) fn report(report: &InstanceReport) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&WrittenReport { keyswap: VERSION, report: report.clone() })
}

/// The report of this instance.
pub(crate) fn parse_report(text: &[u8], instance: &str) -> Result<InstanceReport, Refused> {
    let refuse = |reason| Refused {
        reason,
        way_out: "restart that program; its next report replaces this one",
    };
    let at = |error: serde_json::Error| match error.classify() {
        serde_json::error::Category::Eof => "the report ends in the middle".to_owned(),
        _ => format!("it is no report (line {}, column {})", error.line(), error.column()),
    };
    let header: Header = serde_json::from_slice(text).map_err(|error| refuse(at(error)))?;
    match header.keyswap {
        Some(VERSION) => {}
        Some(version) => {
            let reason = format!("the report is of version {version}, and {VERSION} is known here");
            return Err(Refused { reason, way_out: "use a newer keyswap" });
        }
        None => return Err(refuse("it has no version (\"keyswap\": 1)".to_owned())),
    }
    let written: WrittenReport = serde_json::from_slice(text).map_err(|error| refuse(at(error)))?;
    if written.report.instance != instance {
        return Err(refuse(format!("it is the report of instance {}", written.report.instance)));
    }
    Ok(written.report)
}

pub(crate) fn check_instance(id: &str, doing: &str) -> Result<(), StoreError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if id.is_empty() || id.len() > 64 || !id.bytes().all(allowed) {
        return Err(StoreError::new(StoreErrorKind::Invalid, doing)
            .because("an instance id is 1 to 64 characters of [A-Za-z0-9_-]"));
    }
    Ok(())
}

pub(crate) fn hold(hold: &Hold) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&WrittenHold { keyswap: VERSION, hold: hold.clone() })
}

/// A hold that cannot be read is an error and never none.
pub(crate) fn parse_hold(text: &[u8]) -> Result<Hold, Refused> {
    match serde_json::from_slice(text) {
        Ok(WrittenHold { keyswap: VERSION, hold }) => Ok(hold),
        Ok(WrittenHold { keyswap: version, .. }) => Err(Refused {
            reason: format!("the hold is of version {version}, and {VERSION} is known here"),
            way_out: "use a newer keyswap, or take the hold away: `keyswap hold --release`",
        }),
        _ => Err(Refused {
            reason: "it is no hold that this version of keyswap knows".to_owned(),
            way_out: "find out who put it, then take it away: `keyswap hold --release`",
        }),
    }
}
