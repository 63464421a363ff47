//! The traces of a rotation in OpenTelemetry: its states as spans, and what is sent to the server in them.
//!
//! ```text
//! cargo run -p keyswap-examples --bin opentelemetry
//! ```

use std::error::Error;
use std::time::Duration;

use keyswap::admin::{Application, Auth0, RotationPolicy, Rotator};
use keyswap::store::{FileStore, SecretStore, join};
use keyswap::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client};
use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const CLIENT: &str = "AaiyAPdpYdesoKnqjj8HJqRn4T5titww";
const OLD: &str = "Vq3hCc0Zc1JxSecretOfOctober";
const MANAGEMENT: &str = "mW4kSecretOfTheManagementClient";
const WINDOW: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In place of the exporter to your collector (opentelemetry-otlp), one that keeps the spans here.
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    // Info has the rotation and its states; debug has each request to the server as well.
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("rotator")))
        .with(tracing_subscriber::EnvFilter::new("keyswap_admin=debug"))
        .init();

    rotate().await?;

    provider.force_flush()?;
    let spans = exporter.get_finished_spans()?;
    let rotation = spans.iter().find(|span| span.name == "rotation run").ok_or("no rotation")?;
    print(rotation, "");
    let mut states: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id == rotation.span_context.span_id())
        .collect();
    states.sort_by_key(|span| span.start_time);
    for state in &states {
        print(state, "  ");
    }

    assert_eq!(states.first().map(|state| &*state.name), Some("generated"));
    assert_eq!(states.last().map(|state| &*state.name), Some("done"));
    assert!(spans.iter().all(|span| span.status == Status::Unset), "nothing went wrong");
    let everything = format!("{spans:?}");
    assert!(everything.contains("set_secret") && !everything.contains(OLD), "{everything}");
    Ok(())
}

/// A span, and the requests in it.
fn print(span: &SpanData, indent: &str) {
    let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
    println!("{indent}{:<14} {} ms", span.name, took.as_millis());
    for event in &span.events.events {
        let of = |key: &str| {
            let found = event.attributes.iter().find(|attribute| attribute.key.as_str() == key);
            found.map(|attribute| attribute.value.to_string())
        };
        if let (Some(request), Some(answer)) = (of("keyswap.request"), of("keyswap.answer")) {
            println!("{indent}  - {request}: {answer}");
        }
    }
}

/// A rotation at a server of its own.
async fn rotate() -> Result<(), Box<dyn Error>> {
    let server = AuthorizationServer::builder()
        .propagation_window(WINDOW)
        .client(Client::new(CLIENT, OLD).grant("https://api.example/"))
        .management_client(Client::management("rotator", MANAGEMENT))
        .start()
        .await?;
    let directory = tempfile::tempdir()?;
    let store = FileStore::create(directory.path().join("store"), CLIENT)?;
    store.import(&SecretList::new([Secret::new("october".parse()?, OLD)?])?).await?;
    let (_ring, member) = join(store.clone(), "billing", FallbackPolicy::default()).await?;
    let member = tokio::spawn(member);

    let management = Secret::new("management".parse()?, MANAGEMENT)?;
    let authority = Auth0::builder(server.url().parse()?, CLIENT)
        .management("rotator", SecretRing::new(SecretList::new([management])?))
        .audience("https://api.example/")
        .propagation_window(WINDOW)
        .build()?;
    let policy = RotationPolicy::new([Application::new("billing")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(50));
    Rotator::new(authority, store).run(policy).await?;
    member.abort();
    server.shutdown().await;
    Ok(())
}
