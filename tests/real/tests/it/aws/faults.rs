//! What AWS says when it does not do it, and what a person is told. A server that says so each time takes its place, since
//! moto lets everybody do everything.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keyswap_core::FallbackPolicy;
use keyswap_store::{AwsSecret, AwsStore, FileStore, Follow, SecretStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{CLIENT, list, value};

/// Answers every request with this error, and counts them.
async fn refusing(status: u16, kind: &str, message: &str) -> (AwsSecret, Arc<AtomicU32>) {
    let body = json!({ "__type": kind, "message": message });
    answering(move |_| (status, body.clone())).await
}

/// Answers each request with what `answer` makes of it.
async fn answering(
    answer: impl Fn(&str) -> (u16, Value) + Send + 'static,
) -> (AwsSecret, Arc<AtomicU32>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let requests = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 16 * 1024];
            // Requests are small: head and body come at once.
            let length = socket.read(&mut request).await.unwrap_or_default();
            counted.fetch_add(1, Ordering::SeqCst);
            let (status, body) = answer(&String::from_utf8_lossy(&request[..length]));
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n",
                body.len()
            );
            let _ = socket.write_all((head + &body).as_bytes()).await;
        }
    });
    (AwsSecret::named("prod/{client}").region("eu-west-1").endpoint(endpoint), requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_what_to_do_and_no_value() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let denied =
        "User: arn:aws:iam::1:user/x is not authorized to perform: secretsmanager:DescribeSecret";
    for (status, kind, message, permissions, said) in [
        (400, "AccessDeniedException", denied, true, "secretsmanager:DescribeSecret"),
        (400, "UnrecognizedClientException", "The security token is invalid.", true, "renew"),
        (400, "DecryptionFailure", "", true, "kms:Decrypt"),
        (400, "ThrottlingException", "Rate exceeded", false, "a little later"),
        (500, "InternalServiceError", "", false, "InternalServiceError"),
    ] {
        let (secret, requests) = refusing(status, kind, message).await;
        let file = FileStore::create(directory.path().join(kind), CLIENT).expect("a directory");
        let store = AwsStore::new(file.clone(), secret.clone());
        let error = store.import(&list(&["old"])).await.expect_err(kind);
        let shown = error.to_string();
        assert_eq!(error.is_permissions(), permissions, "{shown}");
        assert!(shown.contains(said) && shown.contains("the AWS secret prod/billing"), "{shown}");
        assert!(!format!("{error:?}").contains(&value("old")), "{error:?}");
        assert!(file.published().await.expect("readable").is_none(), "{kind}: it was imported");
        // What goes by is tried again, by the SDK; what does not is not.
        let tries = if permissions { 1 } else { 3 };
        assert_eq!(requests.load(Ordering::SeqCst), tries, "{kind}");
        let followed = Follow::start_aws(secret.of_client(CLIENT), FallbackPolicy::default()).await;
        assert_eq!(followed.map(drop).expect_err(kind).is_permissions(), permissions);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_repeats_of_a_value_that_it_refuses_is_not_shown() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = FileStore::create(directory.path().join("store"), CLIENT).expect("a directory");
    let (secret, _) = answering(|request| {
        let error =
            |kind: &str, message: &str| (400, json!({ "__type": kind, "message": message }));
        match request.to_lowercase().contains("secretsmanager.createsecret") {
            true => {
                error("ValidationException", "Value 'value-of-old' at 'secretString' is not good")
            }
            false => error("ResourceNotFoundException", "There is none."),
        }
    })
    .await;
    let error = AwsStore::new(file, secret).import(&list(&["old"])).await.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("ValidationException") && !shown.contains(&value("old")), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer_is_named_as_such() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = FileStore::create(directory.path().join("store"), CLIENT).expect("a directory");
    // Nobody listens there.
    let secret =
        AwsSecret::named("prod/billing").region("eu-west-1").endpoint("http://127.0.0.1:9");
    let error = AwsStore::new(file, secret).import(&list(&["old"])).await.expect_err("nobody");
    assert!(error.to_string().contains("AWS cannot be reached"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_function_of_aws_rotates_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = FileStore::create(directory.path().join("store"), CLIENT).expect("a directory");
    file.import(&list(&["old"])).await.expect("the first list");
    let (secret, _) = answering(|_| (200, json!({ "RotationEnabled": true }))).await;
    let store = AwsStore::new(file.clone(), secret);
    for error in [
        store.import(&list(&["old"])).await.map(drop).expect_err("an import"),
        store.acquire("a rotation").await.map(drop).expect_err("a rotation"),
    ] {
        assert!(
            error.to_string().contains("cancel-rotate-secret --secret-id prod/billing"),
            "{error}"
        );
    }
    // Whoever was refused does not keep the lease.
    file.acquire("another").await.map(drop).expect("the lease is free");
}
