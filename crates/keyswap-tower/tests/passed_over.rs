//! What the log says of secrets that fit no request. In a file of its own, since a log that is read by one
//! test must be the only one of its process.

mod common;

use common::log::Log;
use common::*;
use keyswap_tower::{ClientIds, ClientSecretBasic, FallbackLayer};
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn there_is_one_warning_a_request_and_it_has_the_reason() {
    let (log, _guard) = Log::listen(tracing::Level::WARN);
    let ids = ClientIds::paired([("known".parse().unwrap(), "billing")]);
    let logged = async |list: &[&str]| {
        let layer = FallbackLayer::new(settled_ring(list), ClientSecretBasic::new(ids.clone()));
        let service = layer.layer(Server::accepting("known"));
        let status = service.oneshot(request()).await.unwrap().status().as_u16();
        (status, log.take())
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
