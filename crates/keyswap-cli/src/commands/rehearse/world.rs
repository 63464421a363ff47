//! The world of one rotation of the rehearsal: its server, its store, its programs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use keyswap_admin::authority::Capabilities;
use keyswap_admin::crash::Act;
use keyswap_admin::rotation::{Gap, State, Timestamp};
use keyswap_admin::{Authority, Status};
use keyswap_core::{Generator, Secret, SecretList};
use keyswap_store::SecretStore;
use keyswap_testkit::{AuthorizationServer, Client};

use super::program::{Seen, TokenRequest};
use super::result::{Ended, Played};
use super::rotation::{Made, Rotation};
use super::scenario::Scenario;
use super::setup::{NODES, Setup, WINDOW};
use crate::authority::{Shared, registration_token};
use crate::commands::proxy::client::SignsIn;
use crate::commands::write_private;
use crate::configuration::Configuration;
use crate::exit::Failure;
use crate::store::{ConfiguredStore, Missing};
use crate::temporary::Temporary;

/// Sign-ins of all programs of one rotation together have this pause between them.
const EVERY: Duration = Duration::from_millis(15);
/// So long a rotation may take that comes to its end.
const LONGEST: Duration = Duration::from_secs(60);

/// What an undisturbed rotation tells of the others.
pub(super) struct Course {
    pub(super) states: Vec<State>,
    pub(super) acts: BTreeMap<Act, u32>,
    pub(super) capabilities: Capabilities,
}

/// Makes one rotation in a world of its own.
pub(super) async fn play(setup: &Setup, scenario: Scenario) -> Result<(Played, Course), Failure> {
    let place = Temporary::new("rehearsal")?;
    let (first, management) = (generated()?, generated()?);
    let (server, configuration) = serve(setup, place.path(), (&first, &management)).await?;
    let client = configuration.only()?;
    let store = ConfiguredStore::open(&client, Missing::Made)?;
    let list = SecretList::new([first.clone()]).map_err(failed)?;
    store.import(&list).await?;
    if setup.vendor.management.as_ref().is_some_and(|management| management.kept.is_some()) {
        registration_token(&client, Missing::Made)?.put(management.expose()).await?;
    }
    let shared = Shared::new(&configuration).await?;
    let authority = || shared.authority(&client);
    let capabilities = authority()?.capabilities();
    let signs_in = SignsIn::new(&client, &configuration.token_endpoint()?, http_client()?)?;
    let request = TokenRequest {
        url: configuration.token_endpoint()?.url.to_string(),
        form: setup.vendor.token_request(&server.url(), &setup.asks),
        every: EVERY * setup.programs().max(1),
    };
    let mut rotation = Rotation {
        scenario,
        server,
        store,
        signs_in,
        request,
        programs: Vec::new(),
        seen: Seen::default(),
        policy: client.rotation_policy(WINDOW).observation_period(WINDOW),
        accepts_gap: setup.vendor.gap && capabilities.has_gap(),
        person: None,
    };
    for (name, instances) in &setup.applications {
        for _ in 0..*instances {
            rotation.start_program(name).await?;
        }
    }
    let made = tokio::time::timeout(LONGEST, rotation.make(&authority)).await;
    let Made { died, met, ended, acts } = match made {
        Ok(made) => made?,
        Err(_) => {
            let reason = format!("it did not end within {} s", LONGEST.as_secs());
            Made::undisturbed(Ended::Stopped(reason), BTreeMap::new())
        }
    };
    let record = Status::read(&rotation.store).await?.record;
    let gaps = record.as_ref().map(|record| record.gaps().to_vec()).unwrap_or_default();
    let states = record.iter().flat_map(|record| &record.entered).map(|one| one.state).collect();
    let wrong = rotation.wrong(setup.client(), &first, &ended).await?;
    for program in std::mem::take(&mut rotation.programs) {
        rotation.seen.add(program.stop().await);
    }
    rotation.server.shutdown().await;
    let in_gap = rotation.seen.failed_at.iter().filter(|at| in_any(&gaps, **at)).count() as u64;
    let tally = rotation.seen.tally;
    let person = rotation.person;
    let played = Played { scenario, died, met, ended, person, tally, in_gap, wrong };
    Ok((played, Course { states, acts, capabilities }))
}

/// Whether a request that began then may have had no secret that the server takes.
fn in_any(gaps: &[Gap], at: Timestamp) -> bool {
    gaps.iter().any(|gap| {
        // A request of a program waits for its fallback before it is answered.
        let began_before = at.after(Duration::from_secs(6)) >= gap.from;
        began_before && gap.until.is_none_or(|until| at <= until)
    })
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}

fn generated() -> Result<Secret, Failure> {
    Generator::default().generate().map_err(failed)
}

fn http_client() -> Result<reqwest::Client, Failure> {
    keyswap_reqwest::client_builder().build().map_err(failed)
}

/// Starts the server, and writes the configuration for it.
async fn serve(
    setup: &Setup,
    directory: &Path,
    (first, management): (&Secret, &Secret),
) -> Result<(AuthorizationServer, Configuration), Failure> {
    let builder = AuthorizationServer::builder().nodes(NODES).propagation_window(WINDOW);
    let client = Client::new(setup.client(), first.expose());
    let builder = (setup.vendor.serve)(builder, client, &setup.asks, management.expose());
    let server = builder.start().await.map_err(failed)?;
    if let Some(management_secret) = &setup.vendor.management {
        write_private(&directory.join(management_secret.file), management.expose().as_bytes())?;
    }
    let path = directory.join("keyswap.toml");
    write_private(&path, setup.configuration(&server.url()).as_bytes())?;
    Ok((server, Configuration::load(&path)?))
}
