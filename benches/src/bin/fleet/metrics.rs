//! What the nodes of etcd count themselves.

use keyswap_real_tests::Etcd;

use crate::Outcome;

/// The sums over all nodes, but where it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// Keys written, as one node applied them.
    pub(crate) puts: f64,
    /// Entries of the log, as one node applied them.
    pub(crate) proposals: f64,
    pub(crate) reads: f64,
    pub(crate) keep_alives: f64,
    /// Of processor time.
    pub(crate) seconds: f64,
    /// Resident memory in bytes.
    pub(crate) memory: f64,
    /// The database of one node in bytes.
    pub(crate) database: f64,
}

impl Counted {
    pub(crate) async fn read(etcd: &Etcd) -> Outcome<Self> {
        let mut nodes = Vec::new();
        for endpoint in etcd.endpoints() {
            nodes.push(reqwest::get(format!("{endpoint}/metrics")).await?.text().await?);
        }
        let all = |name: &str, label: &str| nodes.iter().map(|node| sum(node, name, label)).sum();
        let one = |name: &str| nodes.iter().map(|node| sum(node, name, "")).fold(0.0, f64::max);
        Ok(Self {
            puts: one("etcd_mvcc_put_total"),
            proposals: one("etcd_server_proposals_applied_total"),
            reads: all("grpc_server_handled_total", "grpc_method=\"Range\""),
            keep_alives: all("grpc_server_msg_received_total", "grpc_method=\"LeaseKeepAlive\""),
            seconds: all("process_cpu_seconds_total", ""),
            memory: all("process_resident_memory_bytes", ""),
            database: one("etcd_mvcc_db_total_size_in_bytes"),
        })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            puts: self.puts - before.puts,
            proposals: self.proposals - before.proposals,
            reads: self.reads - before.reads,
            keep_alives: self.keep_alives - before.keep_alives,
            seconds: self.seconds - before.seconds,
            memory: self.memory - before.memory,
            database: self.database - before.database,
        }
    }
}

/// The sum of a metric over its labels, of which one may be asked for.
fn sum(page: &str, name: &str, label: &str) -> f64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        (is_it && labels.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_taken_for_one_with_a_longer_name() {
        let page = "# TYPE a counter\na{m=\"Range\",c=\"OK\"} 2\na{m=\"Range\",c=\"No\"} 1e+01\n\
                    a{m=\"Txn\"} 5\na_total 7\nb 1.5\n";
        assert_eq!(sum(page, "a", "m=\"Range\""), 12.0);
        assert_eq!(sum(page, "a", ""), 17.0);
        assert_eq!(sum(page, "b", ""), 1.5);
        assert_eq!(sum(page, "c", ""), 0.0);
    }
}
