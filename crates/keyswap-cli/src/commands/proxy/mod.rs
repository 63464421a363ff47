//! `keyswap proxy`: a client secret for programs that cannot hold several themselves.
//!
//! Programs send their token requests here, and the layer that Rust programs use puts the secret on them.

mod answer;
mod asked;
pub(crate) mod client;
mod headers;
mod metrics;
mod refusal;
mod routes;
pub(super) mod serve;
mod tls;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use self::client::{Served, SignsIn};
use self::metrics::Metrics;
use self::routes::Routes;
use self::serve::Door;
use crate::arguments::{Chosen, Configured};
use crate::configuration::{Configuration, KEYSWAP, OfClient};
use crate::exit::Failure;

/// How long the first look at the stores may hold up the start.
const FIRST_LOOK: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "\
Examples:
  keyswap proxy
  keyswap proxy --all --listen 127.0.0.1:4480
  keyswap proxy --listen 0.0.0.0:4480 --beyond-loopback --tls-certificate proxy.pem --tls-key proxy.key

Programs send their token requests to the proxy, at the path that the token endpoint has, with any secret or
none. They need no other change; see docs/proxy.md. Whoever reaches the proxy gets tokens of the client.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Proxy {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4480", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The application that the proxy reports as, one that the configuration declares; needed where it declares several
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Serve /metrics and /healthz at this address as well, in clear text and to anybody, and nothing else there
    #[arg(long, value_name = "ADDRESS")]
    monitoring: Option<SocketAddr>,
    /// Listen where other machines can reach it, which the loopback interface is not; needs TLS
    #[arg(long, requires = "tls_certificate")]
    beyond_loopback: bool,
    /// Serve with TLS, with this certificate and those that it rests on (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Serve only programs that show a certificate of one of these authorities (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_client_authority: Option<PathBuf>,
    /// Print one JSON object, once it serves
    #[arg(long)]
    json: bool,
}

/// What is answered: an answer of the server, or one of the proxy's own.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A body that is all here.
pub(super) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// What all requests share.
struct Shared {
    clients: Vec<Arc<Served>>,
    routes: Routes,
    http: reqwest::Client,
    metrics: Metrics,
    /// `http` or `https`.
    scheme: &'static str,
    address: SocketAddr,
    beyond_loopback: bool,
    /// Where it is only looked at.
    monitoring: Option<SocketAddr>,
}

impl Shared {
    fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

pub(crate) async fn run(options: Proxy) -> Result<(), Failure> {
    if !options.listen.ip().is_loopback() && !options.beyond_loopback {
        return Err(Failure::usage(format!(
            "{} is not the loopback interface: whoever reaches the proxy gets tokens of the client. If that is meant, \
             add --beyond-loopback, and --tls-certificate with --tls-key",
            options.listen
        )));
    }
    let configuration = Arc::new(Configuration::load(&options.configured.config)?);
    configuration.check_filled_in()?;
    let chosen = configuration.chosen(&options.chosen)?;
    let endpoint = configuration.token_endpoint()?;
    let routes = Routes::new(&endpoint, &configuration.proxy).map_err(Failure::usage)?;
    let tls = match (&options.tls_certificate, &options.tls_key) {
        (Some(certificate), Some(key)) => {
            Some(tls::acceptor(certificate, key, options.tls_client_authority.as_deref())?)
        }
        _ => None,
    };
    let http = keyswap_reqwest::client_builder()
        .build()
        .map_err(|error| Failure::failed(format!("no HTTP client can be made: {error}")))?;
    let mut clients = Vec::new();
    let mut joining = Vec::new();
    for client in &chosen {
        let application = application(client, options.application.as_deref())?;
        let served = Arc::new(Served::new(client.id(), application));
        joining.push((Arc::clone(&served), SignsIn::new(client, &endpoint, http.clone())?));
        clients.push(served);
    }
    let (listener, address) = listen(options.listen, "--listen").await?;
    let monitoring = match options.monitoring {
        Some(address) => Some(listen(address, "--monitoring").await?),
        None => None,
    };
    if endpoint.url.port_or_known_default() == Some(address.port())
        && endpoint.url.socket_addrs(|| None).is_ok_and(|all| all.contains(&address))
    {
        return Err(Failure::usage(format!(
            "the token endpoint {} is the proxy itself: it has to be the server's",
            endpoint.url
        )));
    }
    let shared = Arc::new(Shared {
        clients,
        routes,
        http,
        metrics: Metrics::new()?,
        scheme: if tls.is_some() { "https" } else { "http" },
        address,
        beyond_loopback: options.beyond_loopback,
        monitoring: monitoring.as_ref().map(|(_, address)| *address),
    });

    let mut members = JoinSet::new();
    let mut first_looks = Vec::new();
    for (served, signs_in) in joining {
        let (first, looked) = oneshot::channel();
        first_looks.push(looked);
        members.spawn(served.stay(Arc::clone(&configuration), signs_in, first));
    }
    let patience = tokio::time::sleep(FIRST_LOOK);
    tokio::pin!(patience);
    for looked in first_looks {
        tokio::select! {
            Ok(outcome) = looked => outcome?,
            () = &mut patience => {}
        }
    }

    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    let answering = |door| {
        let shared = Arc::clone(&shared);
        move |request| {
            let shared = Arc::clone(&shared);
            async move { answer::answer(&shared, door, request).await }
        }
    };
    if let Some((listener, _)) = monitoring {
        let answer = answering(Door::Monitoring);
        serving.spawn(serve::serve(listener, None, answer, stopped.clone()));
    }
    serving.spawn(serve::serve(listener, tls, answering(Door::Programs), stopped));
    let interruption = crate::interruption();
    say(&options, &shared);
    interruption.await;
    stop.send_replace(true);
    // Whoever asks a second time means at once.
    tokio::select! {
        () = async { while serving.join_next().await.is_some() {} } => {}
        () = crate::interruption() => {}
    }
    // Only now, since the last answers came by these secrets.
    members.shutdown().await;
    Ok(())
}

/// Listens there, and says where that is: the system chooses a port for 0.
pub(super) async fn listen(
    address: SocketAddr,
    option: &str,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!(
            "{address} cannot be listened on: {error}; {option} names another address"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The application of a client that the proxy is one of.
fn application(client: &OfClient<'_>, named: Option<&str>) -> Result<String, Failure> {
    let declared = client.applications();
    let can_report: Vec<_> = declared
        .iter()
        .filter(|application| !application.manual && application.name != KEYSWAP)
        .map(|application| application.name.as_str())
        .collect();
    let list = can_report.join(", ");
    match (named, can_report.as_slice()) {
        (Some(named), _) if can_report.contains(&named) => Ok(named.to_owned()),
        (Some(named), _) => Err(Failure::usage(format!(
            "client {} has no application {named} that reports (without `manual`): declare it as [[application]], or \
             name one of: {list}",
            client.id()
        ))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(Failure::usage(format!(
            "client {} has no application that reports: declare the proxy as one, [[application]] with a `name` and \
             without `manual`",
            client.id()
        ))),
        (None, _) => Err(Failure::usage(format!(
            "client {} has several applications ({list}): say with --application which of them gets its tokens here",
            client.id()
        ))),
    }
}

/// What serves where. Nobody may listen, which is no reason to end.
fn say(options: &Proxy, shared: &Shared) {
    let url = shared.url();
    let monitoring = shared.monitoring.map(|address| format!("http://{address}/metrics"));
    let text = if options.json {
        let endpoints = shared.routes.endpoints().iter();
        let endpoints: serde_json::Map<_, _> = endpoints
            .map(|endpoint| (endpoint.name.to_owned(), format!("{url}{}", endpoint.path()).into()))
            .collect();
        let clients: Vec<_> = shared
            .clients
            .iter()
            .map(|client| json!({ "id": client.id, "application": client.application }))
            .collect();
        format!(
            "{}\n",
            json!({
                "event": "ready", "url": url, "endpoints": endpoints, "clients": clients, "monitoring": monitoring,
            })
        )
    } else {
        let mut text = String::new();
        for endpoint in shared.routes.endpoints() {
            let name = endpoint.name.replace('_', " ");
            let (path, server) = (endpoint.path(), &endpoint.url);
            text.push_str(&format!("{name:23}{url}{path}, for {server}\n"));
        }
        for client in &shared.clients {
            let without = match client.ring() {
                Ok(_) => String::new(),
                Err(reason) => format!("; no secrets yet: {reason}"),
            };
            let (id, application) = (&client.id, &client.application);
            text.push_str(&format!("{:23}{id}, as application {application}{without}\n", "client"));
        }
        if let Some(monitoring) = monitoring {
            text.push_str(&format!("{:23}{monitoring}\n", "monitoring"));
        }
        if shared.beyond_loopback && options.tls_client_authority.is_none() {
            text.push_str("warning: whoever reaches this address gets tokens (--tls-client-authority asks programs for a certificate)\n");
        }
        text + "ready; Ctrl-C ends it\n"
    };
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
