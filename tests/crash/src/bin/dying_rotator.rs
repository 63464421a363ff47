//! Rotates as it is told, and dies where it is told: a process of its own, so that its death is a real one.
//!
//! Its only argument is an [`Orders`] in JSON. What it did how often is the last line of its output.
#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use keyswap_admin::crash::{DyingAuthority, DyingStore, Fate};
use keyswap_admin::{
    Application, Auth0, Authority, Finished, Okta, RotateError, RotationPolicy, Rotator,
};
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_crash_tests::{
    APPLICATION, AUDIENCE, CLIENT, Command, INSTANCES, MANAGEMENT_CLIENT, OKTA_APPLICATION, Orders,
    Server, fate,
};
use keyswap_store::FileStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let orders = std::env::args().nth(1).ok_or("the orders are missing")?;
    let orders: Orders = serde_json::from_str(&orders)?;
    let fate = fate(orders.dies);
    let secret = Secret::new("management".parse()?, orders.management_secret.as_str())?;
    let ended = match orders.server {
        Server::Auth0 => {
            let authority = Auth0::builder(orders.url.parse()?, CLIENT)
                .management(MANAGEMENT_CLIENT, SecretRing::new(SecretList::new([secret])?))
                .management_audience(orders.management_audience.as_str())
                .audience(AUDIENCE)
                .propagation_window(orders.window())
                .build()?;
            rotate(authority, &orders, &fate).await?
        }
        Server::Okta => {
            let authority = Okta::builder(orders.url.parse()?, CLIENT)
                .application(OKTA_APPLICATION)
                .api_token(secret)
                .scope("read")
                .propagation_window(orders.window())
                .build()?;
            rotate(authority, &orders, &fate).await?
        }
    };
    println!("{}", serde_json::to_string(&fate.done())?);
    ended.map(drop).map_err(|error| error.to_string().into())
}

async fn rotate<A: Authority>(
    authority: A,
    orders: &Orders,
    fate: &Fate,
) -> Result<Result<Finished, RotateError>, Box<dyn Error>> {
    let window = orders.window();
    let store = DyingStore::new(FileStore::open(&orders.store, CLIENT)?, fate.clone());
    let mut rotator = Rotator::new(DyingAuthority::new(authority, fate.clone()), store)
        .patience(Duration::from_secs(30));
    Ok(match orders.command {
        Command::Resume => rotator.resume(None).await,
        Command::RollBack => rotator.rollback(None).await,
        Command::Rotate => {
            if let Some(deadline) = orders.compromised_ms {
                rotator = rotator.compromised(Duration::from_millis(deadline));
            }
            let application = Application::new(APPLICATION).instances(INSTANCES);
            let mut policy = RotationPolicy::new([application])
                .quiet_period(window)
                .poll_every(Duration::from_millis(30));
            policy.probes = 4;
            policy.in_flight_bound = 2 * window;
            rotator.run(policy).await
        }
    })
}
