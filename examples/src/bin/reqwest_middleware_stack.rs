//! The fallback middleware beside reqwest-retry and reqwest-tracing, and why in that order.
//!
//! ```text
//! cargo run -p keyswap-examples --bin reqwest_middleware_stack
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyswap::reqwest::{FallbackMiddleware, client_builder};
use keyswap::tower::{Authenticated, ClientSecretPost, Profile};
use keyswap::{Secret, SecretList, SecretRing};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Times};
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use reqwest_tracing::TracingMiddleware;
use tracing_subscriber::fmt::format::FmtSpan;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let log = Log::default();
    log.record();
    let server = AuthorizationServer::builder()
        .client(Client::new("billing", "Vq3hCc0Zc1JxSecretOfOctober").grant("https://api.example/"))
        .start()
        .await?;

    let october = Secret::new("october".parse()?, "Vq3hCc0Zc1JxSecretOfOctober")?;
    let november = Secret::new("november".parse()?, "yT7mXo2LrWq8SecretOfNovember")?;
    let ring = SecretRing::new(SecretList::new([october, november])?);
    let fallback =
        FallbackMiddleware::new(ring, ClientSecretPost::new("billing")).profile(Profile::Auth0);

    // Short, since nobody wants to wait for an example.
    let (least, most) = (Duration::from_millis(20), Duration::from_millis(100));
    let three = ExponentialBackoff::builder().retry_bounds(least, most).build_with_max_retries(3);

    // Outermost first:
    // - The retry sends the whole request again when the server is out of order or cannot be reached. It
    //   leaves a 401 alone: one that reaches it was refused with every secret. Each retry begins with the
    //   list of that moment.
    //   Under the fallback it would repeat a single attempt as it was made: after its pause with a secret
    //   that may be off the list by then, or with an assertion (`ClientSecretJwt`) that the server has seen.
    // - The fallback is right on what it has to see: the server's own answers.
    // - Tracing is innermost, and so has a span for each attempt, also for those that were refused. Around
    //   the fallback it would have one for each retry, and outermost one for the whole.
    //   Its spans hold no headers and no bodies. A span backend of your own that does must not stand under
    //   the fallback, where the secret is on the request.
    let client = ClientBuilder::new(client_builder().build()?)
        .with(RetryTransientMiddleware::new_with_policy(three))
        .with(fallback)
        .with(TracingMiddleware::default())
        .build();

    // The hardest moment: the secret was changed, and the server is out of order for two requests.
    server.set_secret("billing", "yT7mXo2LrWq8SecretOfNovember");
    server.inject(Fault::ServerError { endpoint: Endpoint::Token, status: 503 }, Times(2));

    let answer = client
        .post(server.token_endpoint())
        .form(&[("grant_type", "client_credentials"), ("audience", "https://api.example/")])
        .send()
        .await?
        .error_for_status()?;
    let authenticated = answer.extensions().get::<Authenticated>().cloned();
    let authenticated = authenticated.ok_or("the middleware did not sign the request")?;
    let spans = log.statuses()?;
    println!("attempts that tracing saw:  {}", spans.join(", "));
    println!("the caller saw one answer:  {}", answer.status());
    println!(
        "accepted with {}, at attempt {} of the last try",
        authenticated.id, authenticated.attempts
    );

    assert_eq!(spans, ["503", "503", "401", "200"], "the attempts");
    assert_eq!(
        (authenticated.id.as_str(), authenticated.attempts),
        ("november", 2),
        "the last try"
    );
    let text = log.text()?;
    assert!(!text.contains("SecretOf"), "the log shows a secret: {text}");
    server.shutdown().await;
    Ok(())
}

/// A log in memory, of everything that anybody says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn record(&self) {
        let log = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .init();
    }

    fn text(&self) -> Result<String, Box<dyn Error>> {
        let bytes = self.0.lock().map_err(|_| "somebody panicked with the lock")?;
        Ok(String::from_utf8(bytes.clone())?)
    }

    /// The HTTP status of each span that has one, in the order in which they ended.
    fn statuses(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let text = self.text()?;
        let ended = text.lines().filter(|line| line.contains(": close"));
        let statuses = ended.filter_map(|line| {
            let (_, rest) = line.rsplit_once("http.response.status_code=")?;
            rest.get(..3).map(str::to_owned)
        });
        Ok(statuses.collect())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().map_err(|_| io::Error::other("poisoned"))?;
        log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
