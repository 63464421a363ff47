//! What the log says of secrets that fit no request. In a file of its own, since a log that is read by one
//! test must be the only one of its process.

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::*;
use keyswap_tower::{ClientIds, ClientSecretBasic, FallbackLayer};
use tower::{Layer, ServiceExt};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn there_is_one_warning_a_request_and_it_has_the_reason() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let ids = ClientIds::paired([("known".parse().unwrap(), "billing")]);
    let logged = async |list: &[&str]| {
        let layer = FallbackLayer::new(settled_ring(list), ClientSecretBasic::new(ids.clone()));
        let service = layer.layer(Server::accepting("known"));
        let status = service.oneshot(request()).await.unwrap().status().as_u16();
        let text = std::mem::take(&mut *log.0.lock().unwrap());
        (status, String::from_utf8(text).unwrap())
    };

    let (status, warning) = logged(&["staged", "another", "known"]).await;
    assert_eq!((status, warning.lines().count()), (200, 1), "{warning}");
    for part in ["secret=staged", "no client id is known", "passed over"] {
        assert!(warning.contains(part), "{warning}");
    }
    let (status, warning) = logged(&["staged", "another"]).await;
    assert_eq!((status, warning.lines().count()), (401, 1), "{warning}");
    assert!(warning.contains("a request goes out as it is"), "{warning}");
    assert_eq!(logged(&["known", "staged"]).await, (200, String::new()));
}
