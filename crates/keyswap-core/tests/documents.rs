//! Documents of each version that was ever written. The files are never changed: whoever has one must be able to
//! read it with any later keyswap.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use keyswap_core::{Revision, SecretDocument};

/// What a file says: revision, how often to attest, ids and values.
type Said = (u64, Option<Duration>, &'static [(&'static str, &'static str)]);

const FILES: [(&str, Said); 3] = [
    ("1-by-hand.json", (0, None, &[("a", "Vq3hCc0Zc1Jx")])),
    (
        "1-published.json",
        (
            3,
            Some(Duration::from_millis(2500)),
            &[("s-09c1f25be3a7d840", "yT7mXo2LrWq8"), ("billing-2026", "Vq3hCc0Zc1Jx")],
        ),
    ),
    (
        "1-escaped.json",
        (u64::MAX, None, &[("quoted", "a \"quoted\" \\ value"), ("unicode", "schön-🔑-schön")]),
    ),
];

#[test]
fn a_document_of_each_version_is_read_as_it_was_meant() {
    let known: BTreeMap<_, _> = FILES.into_iter().collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let document = SecretDocument::parse(&std::fs::read(&path).unwrap()).unwrap();
        let (revision, attest_every, secrets) = known[name];
        assert_eq!(document.revision, Revision::new(revision), "{name}");
        assert_eq!(document.attest_every, attest_every, "{name}");
        let found = document.list.iter().map(|secret| (secret.id().as_str(), secret.expose()));
        assert!(found.eq(secrets.iter().copied()), "{name}");
        // In the version that is written now.
        assert_eq!(SecretDocument::parse(&document.to_json()).unwrap(), document, "{name}");
        files += 1;
    }
    assert_eq!(files, FILES.len());
}

#[test]
fn a_newer_version_is_refused_whatever_its_shape_with_what_reads_it() {
    for text in [
        r#"{"keyswap": 2, "revision": 3, "secrets": [{"id": "a", "value": "hunter2"}]}"#,
        r#"{"secrets": {"a": {"sealed": "hunter2"}}, "keyswap": 2}"#,
    ] {
        let error = SecretDocument::parse(text.as_bytes()).unwrap_err().to_string();
        let this = format!("this program (keyswap {}) knows version 1", env!("CARGO_PKG_VERSION"));
        for part in ["is of version 2", &this, "use a newer keyswap"] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}
