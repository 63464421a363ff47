//! `keyswap proxy`: programs that hold no secret get tokens, through a whole rotation and whatever else happens.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{AUDIENCE, CLIENT, Command, DevServer, Embedded, Running, Site, eventually};
use reqwest::{Certificate, Client, Identity, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const FORM: &str = "application/x-www-form-urlencoded";
const TOKEN: &str = "/oauth/token";

/// A running proxy.
struct Proxy {
    running: Running,
    url: String,
    runtime: Runtime,
}

impl Proxy {
    fn start(site: &Site) -> Self {
        Self::start_with(site, &[])
    }

    fn start_with(site: &Site, arguments: &[&str]) -> Self {
        let mut all = vec!["proxy", "--json"];
        if !arguments.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        let mut running = site.command(&[&all, arguments].concat()).spawn();
        let ready: Value = eventually("the proxy serves", || {
            assert!(!running.ended(), "{}", running.stderr());
            serde_json::from_str(running.stdout().strip_suffix('\n')?).ok()
        });
        assert_eq!(ready["event"], "ready");
        let url = ready["url"].as_str().unwrap().to_owned();
        assert_eq!(ready["endpoints"]["token_endpoint"], format!("{url}{TOKEN}"));
        Self { running, url, runtime: Runtime::new().unwrap() }
    }

    fn post(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        Client::new().post(format!("{}{TOKEN}", self.url)).header("content-type", FORM).body(body)
    }

    /// A request of a program that knows its id alone.
    fn token(&self) -> RequestBuilder {
        self.post(format!("{}&client_id={CLIENT}", grant()))
    }

    fn send(&self, request: RequestBuilder) -> (StatusCode, Value) {
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let (status, body) = (answer.status(), answer.bytes().await.unwrap());
            (status, serde_json::from_slice(&body).unwrap_or_default())
        })
    }

    fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Client::new().get(format!("{}{path}", self.url)))
    }

    fn end(self) {
        self.running.signal("TERM");
        self.running.wait().ends_with(0);
    }
}

fn grant() -> String {
    format!("grant_type=client_credentials&audience={AUDIENCE}")
}

/// The ways in which programs name the client: a dummy secret in the header, one in a form, one in JSON, and none.
fn ways(proxy: &Proxy) -> [RequestBuilder; 4] {
    let json = json!({
        "grant_type": "client_credentials", "audience": AUDIENCE, "client_id": CLIENT, "client_secret": "dummy",
    });
    let in_json = Client::new().post(format!("{}{TOKEN}", proxy.url));
    [
        proxy.post(grant()).basic_auth(CLIENT, Some("dummy")),
        proxy.post(format!("client_id={CLIENT}&client_secret=dummy&{}", grant())),
        in_json.header("content-type", "application/json").body(json.to_string()),
        proxy.post(grant()),
    ]
}

#[test]
fn programs_without_a_secret_get_tokens_through_a_whole_rotation() {
    let server = DevServer::start();
    let site = &server.site;
    site.import();
    let old = site.first_secret();
    let proxy = Proxy::start(site);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let programs = ways(&proxy).map(|request| {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        proxy.runtime.spawn(async move {
            let mut failures = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = request.try_clone().unwrap().send().await;
                match answer {
                    Ok(answer) if answer.status() == 200 => {
                        let body = answer.bytes().await.unwrap();
                        let answer: Value = serde_json::from_slice(&body).unwrap();
                        assert!(answer["access_token"].is_string(), "{answer}");
                    }
                    Ok(answer) => failures.push(format!(
                        "{}: {}",
                        answer.status(),
                        answer.text().await.unwrap()
                    )),
                    Err(error) => failures.push(error.to_string()),
                }
                done.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            failures
        })
    });
    let progress = |more: u64| {
        let wanted = done.load(Ordering::Relaxed) + more;
        eventually("the programs get on", || {
            (done.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    };
    progress(20);
    let status = site.command(&["status"]).run();
    assert!(status.stdout.contains("billing/i-"), "{status:#?}");
    site.command(&["rotate"]).run().ends_with(0);
    progress(20);
    stop.store(true, Ordering::Relaxed);
    let failures = programs.map(|program| proxy.runtime.block_on(program).unwrap()).concat();
    assert_eq!(failures, [""; 0], "of {} requests", done.load(Ordering::Relaxed));
    site.is_rotated_from(&old);
    proxy.end();
    assert!(site.status().instances.is_empty(), "it is no instance any more");
}

#[test]
fn what_is_no_token_request_of_a_client_here_is_refused_with_the_reason() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let proxy = Proxy::start(site);
    let at = |path: &str| Client::new().post(format!("{}{path}", proxy.url));
    let oversized = format!("a={}", "a".repeat(64 * 1024));
    let cases = [
        (proxy.post(format!("{}&client_id=nobody", grant())), 401, "invalid_client", "billing"),
        (proxy.token().header("authorization", "Bearer x"), 400, "invalid_request", "Basic"),
        (proxy.post("client_assertion=x"), 400, "invalid_request", "client_assertion"),
        (proxy.post(oversized), 413, "invalid_request", "65536 bytes"),
        (
            proxy.token().header("origin", "https://evil.example"),
            403,
            "invalid_request",
            "web page",
        ),
        (proxy.token().header("host", "evil.example"), 421, "invalid_request", "no forward proxy"),
        (proxy.token().header("content-encoding", "gzip"), 415, "invalid_request", "compressed"),
        (
            at("/oauth/token?client_secret=x").header("content-type", FORM),
            400,
            "invalid_request",
            "body",
        ),
        (at(TOKEN).body("x"), 415, "invalid_request", "Content-Type"),
        (Client::new().get(format!("{}{TOKEN}", proxy.url)), 405, "method_not_allowed", "POST"),
        (at("/api/v2/clients"), 404, "not_found", "POST /oauth/token"),
        (at("/oauth/revoke"), 404, "not_found", "GET /.well-known/openid-configuration"),
    ];
    for (request, status, error, reason) in cases {
        let (found, body) = proxy.send(request);
        assert_eq!((found.as_u16(), &body["error"]), (status, &json!(error)), "{body}");
        let description = body["error_description"].as_str().unwrap();
        assert!(description.contains(reason), "{description}");
    }
    let counts = embedded.server().counts();
    let reached = counts.token_accepted + counts.token_refused + counts.token_failed;
    assert_eq!(reached, 0, "none of it reached the server");

    // As a program would that takes it for a forward proxy.
    let host = proxy.url.strip_prefix("http://").unwrap();
    for line in [
        "CONNECT tenant.example:443",
        "GET http://tenant.example/",
        "POST http://tenant.example/oauth/token",
    ] {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nhost: tenant.example\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 421 ") && answer.contains("no forward proxy"),
            "{answer}"
        );
    }
    // What the server itself refuses comes back as it said it.
    let (status, body) = proxy.send(proxy.post("grant_type=unheard-of"));
    assert_eq!(
        (status.as_u16(), &body["error"]),
        (400, &json!("unsupported_grant_type")),
        "{body}"
    );
    proxy.end();
}

/// A server that answers as it is told, and keeps what it was asked.
struct Elsewhere {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Elsewhere {
    /// Each request is answered by what `answer` makes of its first line.
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).unwrap();
                let Some(first) = head.lines().next().map(str::to_owned) else { continue };
                heard.lock().unwrap().push(head + &String::from_utf8(body).unwrap());
                stream.get_mut().write_all(answer(&first).as_bytes()).unwrap();
            }
        });
        Self { url, asked }
    }
}

fn ok(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A site whose server is `elsewhere`.
fn site_at(elsewhere: &Elsewhere) -> Embedded {
    let embedded = Embedded::start();
    embedded.site.import();
    embedded.site.configure(&embedded.site.url, &elsewhere.url);
    embedded
}

#[test]
fn the_servers_metadata_name_the_proxy_for_its_endpoints_and_the_rest_as_it_is() {
    let own = Arc::new(Mutex::new(String::new()));
    let at = Arc::clone(&own);
    let elsewhere = Elsewhere::start(move |line| {
        let url = at.lock().unwrap();
        let document = json!({
            "issuer": format!("{url}/"), "token_endpoint": format!("{url}/oauth/token"),
            "revocation_endpoint": format!("{url}/oauth/revoke"), "jwks_uri": format!("{url}/keys"), "asked": line,
        });
        ok("content-type: application/json\r\ncache-control: max-age=15\r\n", &document.to_string())
    });
    own.lock().unwrap().clone_from(&elsewhere.url);
    let embedded = site_at(&elsewhere);
    let site = &embedded.site;
    let revoke =
        format!("[proxy]\nrevocation_endpoint = \"{}/oauth/revoke\"\n\n[policy]", elsewhere.url);
    site.configure("[policy]", &revoke);
    let proxy = Proxy::start(site);
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        let (status, document) = proxy.get(path);
        let expected = json!({
            "issuer": format!("{}/", elsewhere.url), "token_endpoint": format!("{}/oauth/token", proxy.url),
            "revocation_endpoint": format!("{}/oauth/revoke", proxy.url), "jwks_uri": format!("{}/keys", elsewhere.url),
            "asked": format!("GET {path} HTTP/1.1"),
        });
        assert_eq!((status.as_u16(), document), (200, expected));
    }
    // That endpoint takes the client's secret as well.
    let revoke =
        Client::new().post(format!("{}/oauth/revoke", proxy.url)).header("content-type", FORM);
    assert_eq!(proxy.send(revoke.body("token=x")).0, 200);
    let asked = elsewhere.asked.lock().unwrap().clone();
    let revoked = asked.last().unwrap();
    let secret = site.first_secret();
    assert!(revoked.starts_with("POST /oauth/revoke HTTP/1.1\r\n"), "{revoked}");
    assert!(
        revoked.ends_with(&format!("token=x&client_id={CLIENT}&client_secret={secret}")),
        "{revoked}"
    );
    proxy.end();
}

#[test]
fn the_server_gets_what_the_program_sent_with_the_secret_and_without_what_concerns_the_connection()
{
    let elsewhere = Elsewhere::start(|_| {
        ok("x-of-server: 1\r\nkeep-alive: timeout=5\r\n", "{\"access_token\":\"t\"}")
    });
    let embedded = site_at(&elsewhere);
    let proxy = Proxy::start(&embedded.site);
    let request = proxy
        .post(format!("client_secret=dummy-dummy&{}", grant()))
        .basic_auth(CLIENT, Some("another-dummy"))
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("x-yours", "2")
        .header("accept-encoding", "gzip")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let answer = proxy.runtime.block_on(request.send()).unwrap();
    assert_eq!(answer.headers()["x-of-server"], "1");
    assert!(!answer.headers().contains_key("keep-alive"));
    assert_eq!(proxy.runtime.block_on(answer.text()).unwrap(), "{\"access_token\":\"t\"}");
    let asked = elsewhere.asked.lock().unwrap().clone();
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    for sent in ["x-yours: 2\r\n", "traceparent: 00-0af", "accept-encoding: identity\r\n"] {
        assert!(asked.contains(sent), "{asked}");
    }
    for left_out in ["dummy", "x-mine", "gzip", "authorization"] {
        assert!(!asked.contains(left_out), "{left_out} in {asked}");
    }
    assert!(
        asked.ends_with(&format!(
            "&client_id={CLIENT}&client_secret={}",
            embedded.site.first_secret()
        ))
    );
    proxy.end();
}

#[test]
fn a_request_that_is_under_way_has_its_answer_before_the_proxy_ends() {
    let (answer, told) = mpsc::channel();
    let elsewhere = Elsewhere::start(move |_| {
        told.recv().unwrap();
        ok("", "{\"access_token\":\"t\"}")
    });
    let embedded = site_at(&elsewhere);
    let proxy = Proxy::start(&embedded.site);
    let under_way = proxy.runtime.spawn(proxy.token().send());
    eventually("the server is asked", || {
        (elsewhere.asked.lock().unwrap().len() == 1).then_some(())
    });
    proxy.running.signal("TERM");
    let address = proxy.url.strip_prefix("http://").unwrap().to_owned();
    eventually("nobody new is let in", || TcpStream::connect(&address).is_err().then_some(()));
    assert_eq!(embedded.site.status().instances.len(), 1, "it still uses the secret");
    answer.send(()).unwrap();
    let answer = proxy.runtime.block_on(under_way).unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    proxy.running.wait().ends_with(0);
    assert!(embedded.site.status().instances.is_empty());
}

#[test]
fn a_server_that_is_away_is_told_and_used_again_when_it_is_back() {
    let mut embedded = Embedded::start();
    embedded.site.import();
    let secret = embedded.site.first_secret();
    embedded.die();
    let proxy = Proxy::start(&embedded.site);
    let (status, body) = proxy.send(proxy.token());
    assert_eq!((status.as_u16(), &body["error"]), (502, &json!("temporarily_unavailable")));
    let (status, _) = proxy.get("/.well-known/openid-configuration");
    assert_eq!(status.as_u16(), 502);
    embedded.revive(&secret);
    assert_eq!(proxy.send(proxy.token()).0, 200);
    proxy.running.signal("TERM");
    let output = proxy.running.wait();
    assert!(
        output.stderr.contains("gave no answer") && output.stderr.contains("refused"),
        "{output:#?}"
    );
}

#[test]
fn a_store_that_is_away_at_the_start_is_joined_when_it_is_there_and_kept_when_it_goes() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    let proxy = Proxy::start(site);
    let (status, body) = proxy.send(proxy.token());
    assert_eq!((status.as_u16(), &body["error"]), (503, &json!("temporarily_unavailable")));
    assert!(body["error_description"].as_str().unwrap().contains("`keyswap init`"), "{body}");
    let (status, health) = proxy.get("/healthz");
    assert_eq!(
        (status.as_u16(), &health["clients"][CLIENT]["ready"]),
        (503, &json!(false)),
        "{health}"
    );
    site.import();
    eventually("it has the secret", || (proxy.send(proxy.token()).0 == 200).then_some(()));
    let (status, health) = proxy.get("/healthz");
    let expected =
        json!({ "ready": true, "clients": { CLIENT: { "ready": true, "revision": 1 } } });
    assert_eq!((status.as_u16(), health), (200, expected));
    std::fs::rename(site.store(), site.path("moved")).unwrap();
    assert_eq!(proxy.send(proxy.token()).0, 200, "with the list that it had last");
    std::fs::rename(site.path("moved"), site.store()).unwrap();
    proxy.running.signal("TERM");
    let output = proxy.running.wait();
    assert!(output.stderr.contains("no secrets yet"), "{output:#?}");
}

#[test]
fn several_clients_are_told_apart_by_the_id_of_the_request() {
    let embedded = Embedded::of_several(&["billing", "orders", "stock"]);
    let site = &embedded.site;
    site.command(&["proxy"]).run().says(2, &["several clients", "--client ID", "--all"]);
    let proxy = Proxy::start_with(site, &["--client", "billing", "--client", "orders"]);
    for (client, status) in [("billing", 200), ("orders", 200), ("stock", 401)] {
        let request = proxy.post(format!("{}&client_id={client}", grant()));
        assert_eq!(proxy.send(request).0.as_u16(), status, "{client}");
        let request = proxy.post(grant()).basic_auth(client, Some("x"));
        assert_eq!(proxy.send(request).0.as_u16(), status, "{client}");
    }
    let (status, body) = proxy.send(proxy.post(grant()));
    assert_eq!(status.as_u16(), 401);
    assert!(body["error_description"].as_str().unwrap().contains("billing, orders"), "{body}");
    proxy.end();
}

#[test]
fn the_application_that_it_reports_as_is_one_that_is_declared_and_reports() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let more = "[[application]]\nname = \"shop\"\n\n[[application]]\nname = \"printer\"\nmanual = true\n\n[policy]";
    site.configure("[policy]", more);
    let proxy =
        |more: &[&str]| site.command(&[&["proxy", "--listen", "127.0.0.1:0"], more].concat());
    proxy(&[]).run().says(2, &["billing, shop", "--application"]);
    for other in ["printer", "keyswap"] {
        proxy(&["--application", other]).run().says(2, &[other, "billing, shop"]);
    }
    let running = Proxy::start_with(site, &["--application", "shop"]);
    assert_eq!(site.status().instances[0].application, "shop");
    running.end();
}

#[test]
fn the_address_of_the_tokens_has_to_be_known_and_to_be_the_servers() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let proxy = || site.command(&["proxy", "--listen", "127.0.0.1:0"]);
    let original = std::fs::read_to_string(site.configuration()).unwrap();
    let exec = "[authority]\nkind = \"exec\"\ncommand = [\"false\"]\n\n[store]";
    let (head, rest) = (original.find("[authority]").unwrap(), original.find("[store]").unwrap());
    let by_program = format!("{}{exec}{}", &original[..head], &original[rest + "[store]".len()..]);
    std::fs::write(site.configuration(), &by_program).unwrap();
    proxy().run().says(2, &["[proxy]", "token_endpoint"]);
    let with = |line: &str| {
        let text = by_program.replace("[policy]", &format!("[proxy]\n{line}\n\n[policy]"));
        std::fs::write(site.configuration(), text).unwrap();
    };
    with("token_endpoint = \"http://auth.example/token\"");
    proxy().run().says(2, &["`token_endpoint`", "use https"]);
    with("token_endpint = \"https://auth.example/token\"");
    proxy().run().says(2, &["token_endpint"]);
    with(&format!("token_endpoint = \"{}{TOKEN}\"\nprofile = \"auth0\"", site.url));
    let running = Proxy::start(site);
    // Basic unless it is configured otherwise, which this server takes as well.
    assert_eq!(running.send(running.token()).0, 200);
    let address = running.url.strip_prefix("http://").unwrap().to_owned();
    site.command(&["proxy", "--listen", &address]).run().says(1, &[address.as_str(), "--listen"]);
    running.end();
    with(&format!("token_endpoint = \"http://{address}{TOKEN}\""));
    site.command(&["proxy", "--listen", &address]).run().says(2, &["the proxy itself"]);
}

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

#[test]
fn beyond_the_loopback_interface_it_serves_with_tls_alone_and_only_if_that_is_meant() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let everywhere = ["proxy", "--listen", "0.0.0.0:0"];
    let paths =
        ["proxy.pem", "proxy.key", "authority.pem", "program.pem", "program.key"].map(certificate);
    let [pem, key, authority, ..] = paths.each_ref().map(|path| path.to_str().unwrap());
    let tls = ["--tls-certificate", pem, "--tls-key", key];
    let run = |more: &[&str]| site.command(&[&everywhere, more].concat()).run();
    run(&[]).says(2, &["0.0.0.0", "--beyond-loopback"]);
    run(&tls).says(2, &["--beyond-loopback"]);
    assert!(run(&["--beyond-loopback"]).ends_with(2).stderr.contains("--tls-certificate"));
    let with = |certificate: &str, key: &str| {
        run(&["--beyond-loopback", "--tls-certificate", certificate, "--tls-key", key])
    };
    with(key, key).says(2, &["proxy.key holds no certificate"]);
    with(pem, pem).says(2, &["proxy.pem", "no private key"]);
    with(pem, paths[4].to_str().unwrap()).says(2, &["do not go together"]);
    with("absent.pem", key).says(2, &["absent.pem"]);

    let meant = [&["--listen", "0.0.0.0:0", "--beyond-loopback"][..], &tls].concat();
    let proxy = Proxy::start_with(site, &meant);
    let port = proxy.url.rsplit(':').next().unwrap().to_owned();
    let root = Certificate::from_pem(&std::fs::read(authority).unwrap()).unwrap();
    let client = || Client::builder().tls_certs_only([root.clone()]);
    let ask = |client: Client| {
        client
            .post(format!("https://localhost:{port}{TOKEN}"))
            .header("content-type", FORM)
            .body(grant())
    };
    assert_eq!(proxy.send(ask(client().build().unwrap())).0, 200);
    let plain = Client::new().post(format!("http://127.0.0.1:{port}{TOKEN}")).body(grant());
    assert!(proxy.runtime.block_on(plain.send()).is_err(), "not in clear text");
    proxy.end();

    // With an authority of programs, only theirs are served.
    let proxy =
        Proxy::start_with(site, &[&meant[..], &["--tls-client-authority", authority]].concat());
    let port = proxy.url.rsplit(':').next().unwrap().to_owned();
    let ask = |client: Client| {
        client
            .post(format!("https://localhost:{port}{TOKEN}"))
            .header("content-type", FORM)
            .body(grant())
    };
    let both =
        paths[3..].iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>().concat();
    let identity = Identity::from_pem(&both).unwrap();
    assert_eq!(proxy.send(ask(client().identity(identity).build().unwrap())).0, 200);
    assert!(
        proxy.runtime.block_on(ask(client().build().unwrap()).send()).is_err(),
        "a program without one"
    );
    proxy.end();
}

#[test]
fn a_person_is_told_where_programs_send_their_requests() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let mut running = site.command(&["proxy", "--listen", "127.0.0.1:0"]).spawn();
    let said = eventually("it serves", || {
        assert!(!running.ended(), "{}", running.stderr());
        let said = running.stdout();
        said.contains("ready").then_some(said)
    });
    assert!(said.starts_with("token endpoint         http://127.0.0.1:"), "{said}");
    assert!(said.contains(&format!("/oauth/token, for {}/oauth/token\n", site.url)), "{said}");
    assert!(said.contains("client                 billing, as application billing\n"), "{said}");
    running.signal("INT");
    running.wait().ends_with(0);
    Command::new(&site.vault, &["proxy", "--help"]).run().ends_with(0);
}

const PAGE: &str = include_str!("../../../docs/proxy.md");

/// The code blocks of the page in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let block = |part: &'static str| part.split("\n```").next().unwrap();
    PAGE.split(&format!("```{language}\n")).skip(1).map(block).collect()
}

#[test]
fn each_command_and_the_table_of_the_page_work() {
    let embedded = Embedded::start();
    let site = &embedded.site;
    site.import();
    let [table] = blocks("toml")[..] else { panic!("one table") };
    site.configure("[policy]", &format!("{table}\n\n[policy]"));
    let commands = blocks("sh");
    assert_eq!(commands.len(), 3);
    for command in commands {
        let arguments: Vec<_> = command
            .split_whitespace()
            .skip(1)
            .map(|word| match word.rsplit_once('.') {
                Some(("programs", "pem")) => {
                    certificate("authority.pem").to_str().unwrap().to_owned()
                }
                Some((_, "pem" | "key")) => certificate(word).to_str().unwrap().to_owned(),
                _ => word.replace(":4480", ":0"),
            })
            .collect();
        let mut arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        if !arguments.contains(&"--listen") {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        let mut running = site.command(&arguments).spawn();
        eventually(command, || {
            assert!(!running.ended(), "{}", running.stderr());
            running.stdout().ends_with("ready; Ctrl-C ends it\n").then_some(())
        });
        let said = running.stdout();
        assert!(
            said.contains("revocation endpoint") && said.contains("https://auth.example/token\n"),
            "{said}"
        );
        running.signal("TERM");
        running.wait().ends_with(0);
    }
}
