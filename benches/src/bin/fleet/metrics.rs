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
        let nodes = etcd.metrics().await?;
        let all = |name: &str, label: &str| nodes.iter().map(|node| node.sum(name, label)).sum();
        let one = |name: &str| nodes.iter().map(|node| node.sum(name, "")).fold(0.0, f64::max);
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
