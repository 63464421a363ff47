//! What `keyswap proxy` and `keyswap watch` tell whoever looks whether all is well.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use common::{AUDIENCE, CLIENT, Embedded, Programs, Running, Site, eventually};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/monitoring.md");
const ALERTS: &str = include_str!("../../../docs/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../docs/monitoring/grafana-dashboard.json");

/// A running proxy, and the addresses for programs and for monitoring.
struct Proxy {
    running: Running,
    programs: String,
    monitoring: String,
}

impl Proxy {
    fn start(site: &Site, log: &str) -> Self {
        // As the page has it, on ports of its own.
        let shown = PAGE.lines().find_map(|line| line.strip_prefix("keyswap proxy ")).unwrap();
        let shown = shown.replace(":9480", ":0");
        let own = ["proxy", "--json", "--listen", "127.0.0.1:0"];
        let arguments: Vec<_> = own.into_iter().chain(shown.split(' ')).collect();
        let mut running = site.command(&arguments).environment("RUST_LOG", log).spawn();
        let ready: Value = eventually("the proxy serves", || {
            assert!(!running.ended(), "{}", running.stderr());
            serde_json::from_str(running.stdout().strip_suffix('\n')?).ok()
        });
        let host = |url: &Value| url.as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let monitoring = host(&ready["monitoring"]);
        let monitoring = monitoring.strip_suffix("/metrics").unwrap().to_owned();
        Self { running, programs: host(&ready["url"]), monitoring }
    }

    /// Asks for a token, and gives the status.
    fn token(&self, path: &str) -> u16 {
        let body = format!("grant_type=client_credentials&audience={AUDIENCE}&client_id={CLIENT}");
        let head = format!(
            "POST {path} HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}",
            body.len()
        );
        self.ask(&self.programs, &head, &body).0
    }

    fn metrics(&self) -> String {
        let (status, text) = self.ask(&self.monitoring, "GET /metrics HTTP/1.1", "");
        assert_eq!(status, 200);
        text
    }

    fn ask(&self, host: &str, head: &str, body: &str) -> (u16, String) {
        ask(host, head, body)
    }
}

fn ask(host: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "{head}\r\nhost: {host}\r\nconnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A running watch, and its address for monitoring.
struct Watch {
    running: Running,
    monitoring: String,
}

impl Watch {
    /// As the page has it, on a port of its own.
    fn start(site: &Site) -> Self {
        let shown = PAGE.lines().find_map(|line| line.strip_prefix("keyswap watch ")).unwrap();
        let shown = format!("watch {} --json", shown.replace(":9464", ":0"));
        let mut running = site.command(&shown.split(' ').collect::<Vec<_>>()).spawn();
        let monitoring = eventually("the watch serves", || {
            assert!(!running.ended(), "{}", running.stderr());
            let ready = running.stdout();
            let ready = ready.lines().find(|line| line.contains("\"monitoring\""))?;
            let ready: Value = serde_json::from_str(ready).ok()?;
            let url = ready["monitoring"].as_str().unwrap().strip_prefix("http://").unwrap();
            Some(url.strip_suffix("/metrics").unwrap().to_owned())
        });
        Self { running, monitoring }
    }

    fn metrics(&self) -> String {
        let (status, text) = ask(&self.monitoring, "GET /metrics HTTP/1.1", "");
        assert_eq!(status, 200);
        text
    }

    /// Once these are among the samples.
    fn until(&self, wanted: &[(&str, f64)]) -> BTreeMap<String, f64> {
        eventually("the metrics are there", || {
            let samples = samples(&self.metrics());
            let is_there = |(name, value): &(&str, f64)| {
                samples.iter().any(|(one, is)| {
                    one.starts_with(name.trim_end_matches('}')) && (is - value).abs() < 1e-9
                })
            };
            wanted.iter().all(is_there).then_some(samples)
        })
    }
}

/// Each sample with its name and labels in their order.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(pair).collect()
}

fn names(samples: &BTreeMap<String, f64>) -> BTreeSet<&str> {
    samples.keys().map(|name| name.split('{').next().unwrap()).collect()
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("keyswap_") || word.starts_with("http_server_");
    words.filter(is_metric).collect()
}

#[test]
fn each_metric_of_the_dashboard_the_alerts_and_the_page_is_exported_and_no_other() {
    let embedded = Embedded::start();
    embedded.site.import();
    let proxy = Proxy::start(&embedded.site, "warn");
    assert_eq!(proxy.token("/oauth/token"), 200);
    // Each that a watch can tell of is there once a rotation was made, of the proxy and of a program.
    let programs = Programs::start(&embedded.site, CLIENT, 1, 20);
    embedded.site.command(&["rotate"]).run().ends_with(0);
    let watch = Watch::start(&embedded.site);
    let mut samples = samples(&proxy.metrics());
    samples
        .extend(watch.until(&[("keyswap_instances{", 2.0), ("keyswap_rotation_under_way", 0.0)]));
    let exported = names(&samples);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(dashboard["panels"].as_array().unwrap().len(), 16);
    for (what, text) in [("the dashboard", DASHBOARD), ("the alerts", ALERTS)] {
        let missing: Vec<_> =
            named(text).into_iter().filter(|name| !exported.contains(name)).collect();
        assert_eq!(missing, [""; 0], "{what} uses what is not exported: {exported:?}");
        assert!(named(text).len() > 5, "{what}");
    }
    let of_histogram = ["_bucket", "_count", "_sum"];
    let base = |name: &'_ str| -> String {
        let suffix = of_histogram.iter().find_map(|suffix| name.strip_suffix(suffix));
        suffix.unwrap_or(name).to_owned()
    };
    let documented: BTreeSet<_> = named(PAGE).into_iter().map(str::to_owned).collect();
    let exported: BTreeSet<_> = exported.into_iter().map(base).collect();
    assert_eq!(documented, exported);
    // What an alert asks to be done stands on the page, under its name.
    let alerts = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let table: Vec<_> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `Keyswap")?.split('`').next())
        .collect();
    assert_eq!(alerts.map(|name| name.strip_prefix("Keyswap").unwrap()).collect::<Vec<_>>(), table);
    drop(programs);
    for running in [proxy.running, watch.running] {
        running.signal("TERM");
        running.wait().ends_with(0);
    }
}

#[test]
fn a_watch_tells_of_the_rotation_and_of_programs_without_metrics_until_it_is_stopped() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let watch = Watch::start(site);
    let of = |metric: &str, labels: &str| format!("{metric}{{client_id=\"{CLIENT}\"{labels}}}");
    watch.until(&[
        (&of("keyswap_rotation_state", ",state=\"none\""), 1.0),
        (&of("keyswap_rotation_under_way", ""), 0.0),
        (&of("keyswap_published_revision", ""), 1.0),
    ]);
    // Nobody is there, so the rotation waits.
    site.command(&["rotate", "--patience", "1ms"]).run().ends_with(3);
    let waits = watch.until(&[
        (&of("keyswap_rotation_state", ",state=\"staged\",direction=\"forward\""), 1.0),
        (&of("keyswap_rotation_under_way", ""), 1.0),
        (&of("keyswap_rotation_missing", ""), 1.0),
    ]);
    let entered = waits[&of("keyswap_rotation_state_entered_timestamp_seconds", "")];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(entered > 1e9 && entered <= now.as_secs_f64(), "{entered}");
    let programs = Programs::start(site, CLIENT, 2, 20);
    site.command(&["resume"]).run().ends_with(0);
    // It goes on when the rotation is over.
    let done = watch.until(&[
        (&of("keyswap_rotation_state", ",state=\"done\""), 1.0),
        (&of("keyswap_rotation_missing", ""), 0.0),
        (&of("keyswap_instances_late", ",application=\"billing\""), 0.0),
    ]);
    let live = done.iter().filter(|(name, _)| name.starts_with("keyswap_instances{"));
    assert_eq!(live.map(|(_, count)| count).sum::<f64>(), 2.0, "{done:#?}");
    assert!(done[&of("keyswap_published_secret_age_seconds", "")] >= 0.0);
    let accepted = |name: &str| {
        name.starts_with("keyswap_instance_attempts{") && name.contains("\"accepted\"")
    };
    assert!(done.iter().any(|(name, count)| accepted(name) && *count > 0.0), "{done:#?}");
    site.vault.search("the metrics", &watch.metrics());

    assert_eq!(ask(&watch.monitoring, "GET /healthz HTTP/1.1", "").0, 200);
    assert_eq!(ask(&watch.monitoring, "POST /metrics HTTP/1.1", "").0, 405);
    assert_eq!(ask(&watch.monitoring, "GET /elsewhere HTTP/1.1", "").0, 404);
    // A list that cannot be read: that is told, and nothing old.
    let list = site.client_directory().join("ring.json");
    std::fs::write(&list, "{").unwrap();
    let blind = watch.until(&[(&of("keyswap_watch_up", ""), 0.0)]);
    assert_eq!(blind.len(), 1, "{blind:#?}");
    assert_eq!(ask(&watch.monitoring, "GET /healthz HTTP/1.1", "").0, 503);
    drop(programs);
    watch.running.signal("TERM");
    watch.running.wait().ends_with(0);
}

#[test]
fn what_programs_do_is_counted_by_route_and_status_and_by_secret_and_verdict() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    let proxy = Proxy::start(site, "warn");
    let ready = format!("keyswap_proxy_client_ready{{client_id=\"{CLIENT}\"}}");
    assert_eq!(samples(&proxy.metrics())[&ready], 0.0);
    site.import();
    eventually("it has the secret", || (samples(&proxy.metrics())[&ready] == 1.0).then_some(()));
    for _ in 0..3 {
        assert_eq!(proxy.token("/oauth/token"), 200);
    }
    assert_eq!(proxy.token("/elsewhere/hunter2"), 404);
    let text = proxy.metrics();
    assert!(
        !text.contains("hunter2") && text.contains("# TYPE keyswap_attempts_total counter"),
        "{text}"
    );
    site.vault.search("the metrics", &text);
    let samples = samples(&text);
    let document = std::fs::read(site.client_directory().join("ring.json")).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    let secret = document["secrets"][0]["id"].as_str().unwrap();
    let count = |route: &str, status: u16| {
        samples[&format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"POST\",http_route=\"{route}\",\
             http_response_status_code=\"{status}\"}}"
        )]
    };
    assert_eq!((count("/oauth/token", 200), count("", 404)), (3.0, 1.0));
    let attempts = |verdict: &str| {
        samples[&format!(
            "keyswap_attempts_total{{client_id=\"{CLIENT}\",secret_id=\"{secret}\",verdict=\"{verdict}\"}}"
        )]
    };
    assert_eq!((attempts("accepted"), attempts("refused")), (3.0, 0.0));
    assert_eq!(samples["http_server_active_requests"], 1.0, "the one that asks");

    // At the address for monitoring nobody gets a token.
    let (status, body) = proxy.ask(&proxy.monitoring, "POST /oauth/token HTTP/1.1", "");
    assert!(status == 404 && body.contains("GET /healthz, GET /metrics"), "{status} {body}");
    assert_eq!(proxy.ask(&proxy.monitoring, "GET /healthz HTTP/1.1", "").0, 200);
    assert_eq!(proxy.ask(&proxy.monitoring, "POST /metrics HTTP/1.1", "").0, 405);
    assert_eq!(proxy.ask(&proxy.programs, "GET /metrics HTTP/1.1", "").0, 200);
    proxy.running.signal("TERM");
    proxy.running.wait().ends_with(0);
}

#[test]
fn a_request_has_a_span_with_the_fields_that_opentelemetry_names() {
    let embedded = Embedded::start();
    embedded.site.import();
    let proxy = Proxy::start(&embedded.site, "keyswap=info");
    assert_eq!(proxy.token("/oauth/token"), 200);
    assert_eq!(proxy.token("/elsewhere/hunter2"), 404);
    proxy.running.signal("TERM");
    let output = proxy.running.wait();
    let spans: Vec<_> =
        output.stderr.lines().filter(|line| line.contains("http_request{")).collect();
    let [token, elsewhere] = spans[..] else { panic!("{output:#?}") };
    for field in [
        "otel.name=\"POST /oauth/token\"",
        "otel.kind=\"server\"",
        "http.request.method=\"POST\"",
        "http.route=\"/oauth/token\"",
        "url.scheme=\"http\"",
        "http.response.status_code=200",
        "keyswap.client_id=\"billing\"",
        "keyswap.secret_id=\"s-",
        "keyswap.attempts=1",
    ] {
        assert!(token.contains(field), "{field} is not in {token}");
    }
    assert!(elsewhere.contains("http.response.status_code=404"), "{elsewhere}");
    assert!(
        !elsewhere.contains("hunter2") && !elsewhere.contains("keyswap.client_id"),
        "{elsewhere}"
    );
}
