//! `[store.aws]`: the secrets in AWS Secrets Manager that hold the lists as well.

use serde::Deserialize;
use url::Url;

use super::is_on_this_machine;

/// Which secret each client has, and where. It is read in every build, so that one without AWS can say so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(any(feature = "aws", test)),
    expect(dead_code, reason = "only read where AWS is built in")
)]
pub(crate) struct AwsTable {
    #[serde(default = "secret")]
    pub(crate) secret: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<Url>,
    /// One for all clients, so that credentials are asked for once.
    #[cfg(feature = "aws")]
    #[serde(skip)]
    pub(crate) connected: std::sync::OnceLock<keyswap_store::AwsSecret>,
}

fn secret() -> String {
    "keyswap/{client}".to_owned()
}

/// Says what is wrong with it, where there are several clients or one.
pub(super) fn check(aws: &AwsTable, several: bool) -> Result<(), &'static str> {
    if aws.secret.is_empty() {
        return Err("the `secret` of [store.aws] is a name or an ARN");
    }
    if several && !aws.secret.contains("{client}") {
        return Err(
            "[store.aws] names one `secret` for several clients: put {client} in its name, \
                    which stands for the id of each",
        );
    }
    match &aws.endpoint {
        Some(endpoint) if endpoint.scheme() != "https" && !is_on_this_machine(endpoint) => {
            Err("the `endpoint` of [store.aws] begins with https://, since secrets are sent to it")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Configuration, template};

    fn with(clients: &[&str], aws: &str) -> Result<Configuration, String> {
        let text = template(Some("billing"))
            .replace("directory = \"keyswap-store\"", &format!("directory = \"store\"\n{aws}"));
        let client = "[client]\nid = \"billing\"";
        assert!(text.contains(client));
        let several = clients.iter().map(|id| format!("[[client]]\nid = \"{id}\"\n"));
        let text = text.replace(client, &several.collect::<String>());
        Configuration::parse(&text, Path::new("keyswap.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn each_client_has_a_secret_of_its_own() {
        let read = with(&["billing", "orders"], "aws = { region = \"eu-west-1\" }").unwrap();
        let aws = read.store.aws.unwrap();
        assert_eq!(
            (aws.secret.as_str(), aws.region.as_deref()),
            ("keyswap/{client}", Some("eu-west-1"))
        );
        let one = "aws = { secret = \"prod/billing\" }";
        assert_eq!(with(&["billing"], one).unwrap().store.aws.unwrap().secret, "prod/billing");
        let error = with(&["billing", "orders"], one).unwrap_err();
        assert!(error.contains("{client}"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (aws, said) in [
            ("aws = { secret = \"\" }", "a name or an ARN"),
            ("aws = { endpoint = \"http://aws.example\" }", "https://"),
            ("aws = { access_key = \"hunter2\" }", "unknown field"),
        ] {
            let error = with(&["billing"], aws).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
        with(&["billing"], "aws = { endpoint = \"http://127.0.0.1:5000\" }").unwrap();
    }
}
