//! `kind = "exec"`: a program of the user's that administers its server.

use std::time::Duration;

use keyswap_admin::Exec;
use keyswap_admin::authority::TokenEndpoint;
use serde::Deserialize;

use super::kind::{Connected, Connecting, Kind};
use super::table::Limit;
use super::{ConfiguredAuthority, say};
use crate::exit::Failure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecTable {
    command: Vec<String>,
    #[serde(default)]
    environment: Vec<String>,
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    timeout: Option<Duration>,
    requests_per_second: Option<f64>,
    share: Option<f64>,
}

impl Kind for ExecTable {
    const NAME: &'static str = "exec";
    const PROVED_WITH: Option<&'static str> = None;

    fn limit(&self) -> Limit {
        Limit { requests_per_second: self.requests_per_second, share: self.share }
    }

    /// Nobody knows where its server is.
    fn is_on_this_machine(&self) -> bool {
        false
    }

    /// Its program knows, and nobody else.
    fn token_endpoint(&self) -> Result<Option<TokenEndpoint>, Failure> {
        Ok(None)
    }

    fn cannot_be_rehearsed(&self) -> Option<&'static str> {
        Some(
            "a server of kind = \"exec\" cannot be rehearsed: your program alone knows what it is like, and it would be \
             asked to change the real one. Point the program at a server for tests, and rotate there; `keyswap plan` \
             and `keyswap verify` look at the real one and change nothing",
        )
    }

    /// The program, asked what its server can do. A path in the command is relative to the configuration, and
    /// the program runs there.
    async fn connect<'a>(&'a self, to: &mut Connecting<'a>) -> Result<Connected<'a>, Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::usage(
                "`command` of the authority names no program: command = [\"./our-server\"]",
            ));
        };
        let directory = to.configuration.directory();
        let directory = directory.canonicalize().map_err(|error| {
            let place = directory.display();
            Failure::failed(format!("the directory {place} cannot be used: {error}"))
        })?;
        let path = match program.contains('/') {
            true => directory.join(program),
            false => program.into(),
        };
        let name = program.clone();
        let mut exec = Exec::builder(path, "")
            .arguments(arguments)
            .directory(directory)
            .pace(to.pace.clone())
            .on_said(move |line| say(&name, line));
        for variable in &self.environment {
            exec = exec.environment(variable);
        }
        if let Some(timeout) = self.timeout {
            exec = exec.timeout(timeout);
        }
        let exec = exec.describe().await?;
        Ok(Box::new(move |client| Ok(ConfiguredAuthority::Exec(exec.another(client.id())))))
    }
}
