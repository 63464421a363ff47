//! What is taken of the configuration, and what the rotations of its rehearsal are like.

use std::time::Duration;

use keyswap_admin::{Application, ClientAuthentication};

use crate::configuration::OfClient;
use crate::embedded::{Asks, MANAGEMENT_CLIENT, Vendor, quoted};
use crate::exit::Failure;

pub(super) const NODES: usize = 3;
/// How long the nodes take to agree, programs may use an old secret, and a change may be on its way.
pub(super) const WINDOW: Duration = Duration::from_millis(300);

/// What all rotations of a rehearsal have in common.
pub(super) struct Setup {
    pub(super) vendor: &'static Vendor,
    pub(super) asks: Asks,
    authentication: Option<ClientAuthentication>,
    /// Each with the number of its instances.
    pub(super) applications: Vec<(String, u32)>,
}

impl Setup {
    /// As the configuration has it, with so many programs at most.
    pub(super) fn of(client: &OfClient<'_>, most: u32) -> Result<Self, Failure> {
        let mut asks = Asks::of(client);
        if asks.client == MANAGEMENT_CLIENT {
            // There is one of that name already.
            asks.client.push_str("-itself");
        }
        let declared = client.applications();
        let applications = declared.iter().map(|one| (one.name.as_str(), one.instances));
        Ok(Self {
            vendor: Vendor::of(&client.configuration.authority)?,
            asks,
            authentication: client.authentication(),
            applications: dealt_out(&applications.collect::<Vec<_>>(), most),
        })
    }

    /// What the server is like.
    pub(super) fn like(&self) -> &'static str {
        match self.asks.overlap {
            Some(false) => "a server like Ory Hydra, without rotated secrets",
            _ => self.vendor.like.trim_end_matches(','),
        }
    }

    /// Whether programs get tokens by a refresh token, which the embedded server looks at after the client.
    pub(super) fn by_refresh_token(&self) -> bool {
        self.vendor.refresh_token
    }

    pub(super) fn programs(&self) -> u32 {
        self.applications.iter().map(|(_, instances)| instances).sum()
    }

    pub(super) fn client(&self) -> &str {
        &self.asks.client
    }

    pub(super) fn configuration(&self, url: &str) -> String {
        let authentication = match self.authentication {
            Some(ClientAuthentication::Basic) => "authentication = \"basic\"\n",
            Some(_) => "authentication = \"post\"\n",
            None => "",
        };
        let window = format!("{}ms", WINDOW.as_millis());
        let mut text = format!(
            "[client]\nid = {}\n{authentication}\n[authority]\n{}\n\n[store]\ndirectory = \"store\"\n\n[policy]\n\
             propagation_window = \"{window}\"\nquiet_period = \"{window}\"\nin_flight_bound = \"{window}\"\n",
            quoted(self.client()),
            (self.vendor.authority)(url, &self.asks)
        );
        if self.by_refresh_token() {
            text += "\n[proxy]\nclient_first = true\n";
        }
        for (name, instances) in &self.applications {
            text +=
                &format!("\n[[application]]\nname = {}\ninstances = {instances}\n", quoted(name));
        }
        text
    }
}

/// So many instances of each application that they are not more than that together, and one at least.
fn dealt_out(applications: &[(&str, u32)], most: u32) -> Vec<(String, u32)> {
    let total: u64 = applications.iter().map(|(_, instances)| u64::from(*instances)).sum();
    let of = |instances: u32| match total <= u64::from(most) {
        true => instances,
        false => {
            let part = u64::from(instances) * u64::from(most) / total;
            u32::try_from(part).unwrap_or(most).max(1)
        }
    };
    applications.iter().map(|(name, instances)| ((*name).to_owned(), of(*instances))).collect()
}

/// The applications that cannot report, of which a rehearsal makes ones that can.
pub(super) fn manual(applications: &[Application]) -> Vec<&str> {
    applications.iter().filter(|one| one.manual).map(|one| one.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::dealt_out;

    #[test]
    fn a_fleet_is_made_smaller_application_by_application_and_none_is_left_out() {
        let dealt = |applications: &[(&str, u32)]| -> Vec<u32> {
            dealt_out(applications, 12).into_iter().map(|(_, instances)| instances).collect()
        };
        assert_eq!(dealt(&[("a", 3), ("b", 9)]), [3, 9]);
        assert_eq!(dealt(&[("a", 3000), ("b", 1000), ("c", 1)]), [8, 2, 1]);
        assert_eq!(dealt(&[("a", u32::MAX), ("b", u32::MAX)]), [6, 6]);
    }
}
