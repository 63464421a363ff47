//! What a Keycloak answers, asked of the embedded one here and of a real one by `tests/real`.

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// A Keycloak with the clients that the questions are about: [`CLIENTS`], and three whose service accounts have the
/// role `manage-clients`, `view-clients`, and none.
pub(super) struct Asked {
    /// The address, with the path that the server serves under.
    pub(super) base: String,
    pub(super) realm: String,
    pub(super) http: Client,
    /// The ids and secrets of the three.
    pub(super) manager: (&'static str, &'static str),
    pub(super) viewer: (&'static str, &'static str),
    pub(super) nobody: (&'static str, &'static str),
}

/// The secret of each of [`CLIENTS`].
pub(super) const SECRET: &str = "s3cret-one";

/// Clients as they are registered, each with [`SECRET`] where it has one.
pub(super) fn clients() -> [(&'static str, Value); 8] {
    let confidential = json!({"publicClient": false, "serviceAccountsEnabled": true});
    let with = |name: &str, value: Value| {
        let mut client = confidential.clone();
        client[name] = value;
        client
    };
    [
        ("web", confidential.clone()),
        ("changed", confidential.clone()),
        ("no-account", with("serviceAccountsEnabled", false.into())),
        ("disabled", with("enabled", false.into())),
        ("public", json!({"publicClient": true})),
        ("with-key", with("clientAuthenticatorType", "client-jwt".into())),
        (
            "basic-alone",
            with(
                "attributes",
                json!({"client.secret.authentication.allowed.method": "client_secret_basic"}),
            ),
        ),
        ("signs", with("clientAuthenticatorType", "client-secret-jwt".into())),
    ]
}

/// What an answer says of the secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Says {
    Accepted,
    Refused,
    Nothing,
}

/// A request to the token endpoint, and its answer.
pub(super) struct Case {
    pub(super) what: &'static str,
    basic: Option<(&'static str, &'static str)>,
    form: &'static str,
    pub(super) status: u16,
    /// The error and its description; nothing where a token comes.
    pub(super) error: Option<(&'static str, &'static str)>,
    #[allow(dead_code, reason = "only a real server is asked with a profile at hand")]
    pub(super) says: Says,
}

const CREDENTIALS: &str = "grant_type=client_credentials";
const REFRESH: &str = "grant_type=refresh_token";
const INVALID: &str = "Invalid client or Invalid client credentials";
const WRONG: Option<(&str, &str)> = Some(("unauthorized_client", INVALID));
const UNKNOWN: Option<(&str, &str)> = Some(("invalid_client", INVALID));
const NO_ASSERTION: Option<(&str, &str)> =
    Some(("invalid_client", "Parameter client_assertion_type is missing"));
const OTHER_METHOD: Option<(&str, &str)> = Some((
    "unauthorized_client",
    "Invalid method used to get client secret. Client requires method 'client_secret_basic' to obtain client secret \
     from the request",
));
const NOT_SUPPORTED: Option<(&str, &str)> =
    Some(("unsupported_grant_type", "Unsupported grant_type"));
const NO_GRANT: Option<(&str, &str)> =
    Some(("invalid_request", "Missing form parameter: grant_type"));

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    use Says::{Accepted, Nothing, Refused};
    let case = |what, basic, form, (status, error), says| Case { what, basic, form, status, error, says };
    let right = |id| Some((id, SECRET));
    let wrong = |id| Some((id, "wrong"));
    let no_refresh_token = Some(("invalid_request", "No refresh token"));
    vec![
        case("right, Basic", right("web"), CREDENTIALS, (200, None), Accepted),
        case("right, post", None, "grant_type=client_credentials&client_id=web&client_secret=s3cret-one", (200, None), Accepted),
        case("wrong, Basic", wrong("web"), CREDENTIALS, (401, WRONG), Refused),
        case("wrong, post", None, "grant_type=client_credentials&client_id=web&client_secret=wrong", (401, WRONG), Refused),
        case("no secret", None, "grant_type=client_credentials&client_id=web", (401, WRONG), Refused),
        case("post wins over Basic", right("web"), "grant_type=client_credentials&client_id=web&client_secret=wrong", (401, WRONG), Refused),
        case("and is taken", wrong("web"), "grant_type=client_credentials&client_id=web&client_secret=s3cret-one", (200, None), Accepted),
        // The wire does not tell these from a wrong secret in ways that last: no other secret helps.
        case("unknown client", right("unheard-of"), CREDENTIALS, (401, UNKNOWN), Refused),
        case("disabled client", right("disabled"), CREDENTIALS, (401, UNKNOWN), Refused),
        case("no client at all", None, CREDENTIALS, (401, UNKNOWN), Refused),
        case("no service account, right", right("no-account"), CREDENTIALS, (401, Some(("unauthorized_client", "Client not enabled to retrieve service account"))), Nothing),
        case("no service account, wrong", wrong("no-account"), CREDENTIALS, (401, WRONG), Refused),
        case("public client", right("public"), CREDENTIALS, (401, Some(("unauthorized_client", "Public client not allowed to retrieve service account"))), Nothing),
        case("a client with a key", right("with-key"), CREDENTIALS, (400, NO_ASSERTION), Nothing),
        case("a client that signs with its secret", right("signs"), CREDENTIALS, (400, NO_ASSERTION), Nothing),
        case("the wrong method, right", None, "grant_type=client_credentials&client_id=basic-alone&client_secret=s3cret-one", (401, OTHER_METHOD), Nothing),
        case("the wrong method, wrong", None, "grant_type=client_credentials&client_id=basic-alone&client_secret=wrong", (401, OTHER_METHOD), Nothing),
        case("the right method", right("basic-alone"), CREDENTIALS, (200, None), Accepted),
        // What a secret is proved with.
        case("no refresh token, right", right("web"), REFRESH, (400, no_refresh_token), Nothing),
        case("no refresh token, wrong", wrong("web"), REFRESH, (401, WRONG), Refused),
        case("no refresh token and no account, right", right("no-account"), REFRESH, (400, no_refresh_token), Nothing),
        case("no refresh token and no account, wrong", wrong("no-account"), REFRESH, (401, WRONG), Refused),
        case("no refresh token, disabled", right("disabled"), REFRESH, (401, UNKNOWN), Refused),
        case("no refresh token, unknown", right("unheard-of"), REFRESH, (401, UNKNOWN), Refused),
        case("no refresh token, with a key", right("with-key"), REFRESH, (400, NO_ASSERTION), Nothing),
        case("a bad refresh token, right", right("web"), "grant_type=refresh_token&refresh_token=x", (400, Some(("invalid_grant", "Invalid refresh token"))), Nothing),
        case("a bad refresh token, wrong", wrong("web"), "grant_type=refresh_token&refresh_token=x", (401, WRONG), Refused),
        case("a bad code, right", right("web"), "grant_type=authorization_code&code=x&redirect_uri=http://127.0.0.1/", (400, Some(("invalid_grant", "Code not valid"))), Nothing),
        case("a bad code, wrong", wrong("web"), "grant_type=authorization_code&code=x&redirect_uri=http://127.0.0.1/", (401, WRONG), Refused),
        case("unknown grant, right", right("web"), "grant_type=unheard-of", (400, NOT_SUPPORTED), Nothing),
        case("unknown grant, wrong", wrong("web"), "grant_type=unheard-of", (400, NOT_SUPPORTED), Nothing),
        case("no grant, wrong", wrong("web"), "scope=email", (400, NO_GRANT), Nothing),
        case("unknown scope", right("web"), "grant_type=client_credentials&scope=zz", (400, Some(("invalid_scope", "Invalid scopes: zz"))), Nothing),
    ]
}

impl Case {
    pub(super) fn request(&self, asked: &Asked) -> RequestBuilder {
        let request = asked.http.post(asked.token_endpoint(&asked.realm)).body(self.form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        match self.basic {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        }
    }

    /// Fails unless this is the answer.
    pub(super) fn assert_answered(&self, status: u16, body: &str) {
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(status, self.status, "{}: {body}", self.what);
        match self.error {
            Some((error, description)) => {
                let expected = json!({"error": error, "error_description": description});
                assert_eq!(body, expected, "{}", self.what);
            }
            None => {
                let mut names: Vec<_> = body.as_object().expect("an object").keys().collect();
                names.sort();
                let expected = [
                    "access_token",
                    "expires_in",
                    "not-before-policy",
                    "refresh_expires_in",
                    "scope",
                    "token_type",
                ];
                assert_eq!(names, expected, "{}", self.what);
            }
        }
    }
}

impl Asked {
    fn token_endpoint(&self, realm: &str) -> String {
        format!("{}/realms/{realm}/protocol/openid-connect/token", self.base)
    }

    fn clients(&self, realm: &str) -> String {
        format!("{}/admin/realms/{realm}/clients", self.base)
    }

    pub(super) async fn token(&self, (id, secret): (&str, &str)) -> String {
        let request = self.http.post(self.token_endpoint(&self.realm));
        let request = request.basic_auth(id, Some(secret)).body(CREDENTIALS);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.send().await.expect("the server answers");
        let body: Value = answer.json().await.expect("JSON");
        body["access_token"].as_str().unwrap_or_else(|| panic!("{id}: {body}")).to_owned()
    }

    async fn listed(&self, token: &str, client: &str) -> Response {
        let request = self.http.get(format!("{}?clientId={client}", self.clients(&self.realm)));
        request.bearer_auth(token).send().await.expect("the server answers")
    }

    /// The client, as whoever may change it sees it.
    pub(super) async fn client(&self, token: &str, client: &str) -> Value {
        let mut listed: Value = self.listed(token, client).await.json().await.expect("JSON");
        // The real one lists them in any order.
        for name in ["defaultClientScopes", "optionalClientScopes"] {
            if let Some(scopes) = listed[0].get_mut(name).and_then(Value::as_array_mut) {
                scopes.sort_by_key(Value::to_string);
            }
        }
        listed[0].take()
    }

    pub(super) async fn put(&self, token: &str, uuid: &str, update: &Value) -> Response {
        let request = self.http.put(format!("{}/{uuid}", self.clients(&self.realm)));
        request.bearer_auth(token).json(update).send().await.expect("the server answers")
    }

    async fn takes(&self, client: &str, secret: &str) -> bool {
        let request = self.http.post(self.token_endpoint(&self.realm)).body(CREDENTIALS);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.basic_auth(client, Some(secret)).send().await;
        answer.expect("the server answers").status() == 200
    }
}

async fn is(answer: Response, status: u16, body: Value) {
    assert_eq!((answer.status().as_u16(), answer.json::<Value>().await.ok()), (status, Some(body)));
}

/// What the admin API answers to whom.
pub(super) async fn the_admin_api_answers_as_it_does(asked: &Asked) {
    let manager = asked.token(asked.manager).await;
    let viewer = asked.token(asked.viewer).await;
    let nobody = asked.token(asked.nobody).await;
    let error = |text: &str| json!({ "error": text });
    let none = "00000000-0000-0000-0000-000000000000";

    is(asked.listed("garbage", "web").await, 401, error("HTTP 401 Unauthorized")).await;
    is(asked.listed(&nobody, "web").await, 403, error("HTTP 403 Forbidden")).await;
    is(asked.listed(&manager, "unheard-of").await, 200, json!([])).await;
    let elsewhere = asked.http.get(asked.clients("elsewhere")).bearer_auth(&manager).send().await;
    is(elsewhere.expect("an answer"), 404, error("Realm not found.")).await;
    let elsewhere = asked.http.post(asked.token_endpoint("elsewhere")).body(CREDENTIALS);
    let elsewhere = elsewhere.header("content-type", "application/x-www-form-urlencoded");
    let elsewhere = elsewhere.send().await.expect("an answer");
    is(elsewhere, 404, error("Realm does not exist")).await;
    let lost = asked.http.get(format!("{}/no/such/path", asked.base)).send().await;
    is(lost.expect("an answer"), 404, error("Unable to find matching target resource method"))
        .await;
    let new = json!({"secret": "new"});
    is(asked.put(&manager, none, &new).await, 404, error("Could not find client")).await;

    // What tells before the change that it would be refused.
    let web = asked.client(&viewer, "web").await;
    let access = json!({"view": true, "configure": false, "manage": false});
    assert_eq!((&web["access"], &web["clientId"]), (&access, &json!("web")));
    let uuid = web["id"].as_str().expect("an id");
    is(asked.put(&viewer, uuid, &new).await, 403, error("HTTP 403 Forbidden")).await;
    is(asked.put("garbage", uuid, &new).await, 401, error("HTTP 401 Unauthorized")).await;
    let web = asked.client(&manager, "web").await;
    let access = json!({"view": true, "configure": true, "manage": true});
    assert_eq!((&web["access"], &web["secret"]), (&access, &json!(SECRET)));
    for (id, name, value) in [
        ("public", "publicClient", json!(true)),
        ("disabled", "enabled", json!(false)),
        ("with-key", "clientAuthenticatorType", json!("client-jwt")),
        ("signs", "clientAuthenticatorType", json!("client-secret-jwt")),
        ("no-account", "serviceAccountsEnabled", json!(false)),
        ("web", "bearerOnly", json!(false)),
        ("web", "protocol", json!("openid-connect")),
    ] {
        assert_eq!(asked.client(&manager, id).await[name], value, "{id}");
    }
}

/// What an update does, and what it does not say that it does.
pub(super) async fn an_update_does_what_it_does(asked: &Asked) {
    let manager = asked.token(asked.manager).await;
    let mut before = asked.client(&manager, "changed").await;
    let uuid = before["id"].as_str().expect("an id").to_owned();
    let put = async |update: Value| asked.put(&manager, &uuid, &update).await.status().as_u16();

    assert_eq!(put(json!({"description": "ours", "attributes": {"a": "1", "b": "2"}})).await, 204);
    before["description"] = "ours".into();
    before["attributes"]["a"] = "1".into();
    before["attributes"]["b"] = "2".into();
    // Only what it names changes, and attributes are merged.
    assert_eq!(put(json!({"secret": "next", "attributes": {"b": ""}})).await, 204);
    before["secret"] = "next".into();
    before["attributes"].as_object_mut().expect("an object").remove("b");
    assert_eq!(asked.client(&manager, "changed").await, before);
    assert!(asked.takes("changed", "next").await && !asked.takes("changed", SECRET).await);
    assert_eq!(put(json!({"secret": null})).await, 204);
    assert_eq!(asked.client(&manager, "changed").await, before);

    // But authorization services are gone unless it says that they are on.
    assert_eq!(put(json!({"authorizationServicesEnabled": true})).await, 204);
    let on = asked.client(&manager, "changed").await;
    assert_eq!(on["authorizationServicesEnabled"], true);
    assert_eq!(put(json!({"secret": "third", "authorizationServicesEnabled": true})).await, 204);
    let still = asked.client(&manager, "changed").await;
    assert_eq!(
        (&still["authorizationServicesEnabled"], &still["secret"]),
        (&true.into(), &"third".into())
    );
    assert_eq!(put(json!({"secret": "fourth"})).await, 204);
    let off = asked.client(&manager, "changed").await;
    assert_ne!(off["authorizationServicesEnabled"], true, "it was left out");

    let longest = "x".repeat(255);
    assert_eq!(put(json!({"secret": longest})).await, 204);
    assert_eq!(put(json!({"secret": "x".repeat(256)})).await, 500);
    assert!(asked.takes("changed", &longest).await);
    let strange = asked.put(&manager, &uuid, &json!({"nosuch": 1})).await;
    assert_eq!(strange.status(), 400);
    let said: Value = strange.json().await.expect("JSON");
    assert!(
        said["error"].as_str().is_some_and(|text| text.contains("Unrecognized field \"nosuch\""))
    );
    let bad = asked.put(&manager, &uuid, &json!({"secret": {}})).await;
    let parse = json!({"error": "unknown_error", "error_description": "Cannot parse the JSON"});
    is(bad, 400, parse).await;
}
