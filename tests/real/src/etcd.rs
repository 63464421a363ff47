//! Three nodes of a genuine etcd, which can be killed, paused and started again one by one.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ports::free_ports;
use crate::process::PATIENCE;
use crate::{Metrics, Process, installed};

const NODES: usize = 3;
/// Each has one for clients and one for the other nodes.
pub(crate) const PORTS_OF_NODE: u16 = 2;
/// How long a node may take that is asked which one leads: it may hang.
const BRIEFLY: Duration = Duration::from_secs(1);
/// One cluster at a time: elections need a machine that has time for them.
pub(crate) static TURN: Semaphore = Semaphore::const_new(1);

/// A running cluster with an empty database of its own.
#[derive(Debug)]
pub struct Etcd {
    nodes: Vec<Option<Process>>,
    ports: u16,
    http: reqwest::Client,
    /// Removed after the processes were killed: fields are dropped in their order.
    state: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Etcd {
    /// Starts three nodes, and waits until each answers.
    ///
    /// # Panics
    ///
    /// When they cannot be started.
    pub async fn start() -> Self {
        let turn = TURN.acquire().await.expect("it is never closed");
        let state = tempfile::tempdir().expect("a temporary directory");
        let http = reqwest::Client::new();
        let ports = free_ports(NODES as u16 * PORTS_OF_NODE);
        let mut etcd = Self { nodes: Vec::new(), ports, http, state, _turn: turn };
        for node in 0..NODES {
            let process = etcd.process(node);
            etcd.nodes.push(Some(process));
        }
        etcd.all_serve().await;
        etcd
    }

    /// Where its nodes answer clients.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        (0..NODES).map(|node| self.endpoint(node)).collect()
    }

    /// How many nodes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        NODES
    }

    /// The node that leads.
    ///
    /// # Panics
    ///
    /// When none does for a minute.
    pub async fn leader(&self) -> usize {
        let patience = Instant::now() + PATIENCE;
        loop {
            for node in 0..NODES {
                let status = self.try_ask(node, "maintenance/status", &json!({}), BRIEFLY).await;
                let leads = status.is_some_and(|status| {
                    status["leader"].is_string()
                        && status["leader"] == status["header"]["member_id"]
                });
                if leads {
                    return node;
                }
            }
            assert!(Instant::now() < patience, "no node leads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends a node at once, and waits until it has ended; its data stays.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn kill(&mut self, node: usize) {
        if let Some(process) = self.nodes[node].take() {
            process.kill().await;
        }
    }

    /// Stops a node without ending it: it hangs, and its connections stay.
    pub async fn pause(&self, node: usize) {
        self.signal(node, "-STOP").await;
    }

    /// Lets a paused node go on.
    pub async fn resume(&self, node: usize) {
        self.signal(node, "-CONT").await;
    }

    /// Starts a node that was killed, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn restart(&mut self, node: usize) {
        self.serve(node..node + 1).await;
    }

    /// Starts a node that was killed, without waiting for it: alone it does not answer.
    pub fn start_again(&mut self, node: usize) {
        let process = self.process(node);
        self.nodes[node] = Some(process);
    }

    /// Waits until each node answers, and starts those again that have ended since the kernel was still busy with their
    /// port.
    ///
    /// # Panics
    ///
    /// When one does not.
    pub async fn all_serve(&mut self) {
        self.serve(0..NODES).await;
    }

    async fn serve(&mut self, nodes: Range<usize>) {
        let patience = Instant::now() + PATIENCE;
        loop {
            // None waits for another one's turn: a single node of three does not answer.
            for node in nodes.clone() {
                if self.nodes[node].as_mut().is_none_or(Process::has_ended) {
                    self.start_again(node);
                }
            }
            let mut silent = None;
            for node in nodes.clone() {
                if !self.answers(node).await {
                    silent = Some(node);
                }
            }
            let Some(node) = silent else { return };
            assert!(Instant::now() < patience, "node {node} does not serve: {}", self.log(node));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a request to the JSON gateway of the first node that answers: `kv/compaction`, `auth/user/add`.
    ///
    /// # Panics
    ///
    /// When none answers with success.
    pub async fn ask(&self, path: &str, request: Value) -> Value {
        for node in 0..NODES {
            if let Some(answer) = self.try_ask(node, path, &request, PATIENCE).await {
                return answer;
            }
        }
        panic!("no node answered {path}");
    }

    /// What each node that is up counts itself, in the order of the nodes.
    ///
    /// # Errors
    ///
    /// When one of them does not answer.
    pub async fn metrics(&self) -> reqwest::Result<Vec<Metrics>> {
        let mut pages = Vec::new();
        for (node, _) in self.nodes.iter().enumerate().filter(|(_, process)| process.is_some()) {
            let address = format!("{}/metrics", self.endpoint(node));
            pages.push(Metrics(
                self.http.get(address).timeout(PATIENCE).send().await?.text().await?,
            ));
        }
        Ok(pages)
    }

    async fn try_ask(
        &self,
        node: usize,
        path: &str,
        request: &Value,
        patience: Duration,
    ) -> Option<Value> {
        let address = format!("{}/v3/{path}", self.endpoint(node));
        let answer = self.http.post(address).timeout(patience).json(request).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.json().await.ok()
    }

    async fn answers(&self, node: usize) -> bool {
        let address = format!("{}/health", self.endpoint(node));
        self.http
            .get(&address)
            .timeout(BRIEFLY)
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 200)
    }

    async fn signal(&self, node: usize, signal: &str) {
        let id = self.nodes[node].as_ref().and_then(Process::id).expect("a node that runs");
        let sent = Command::new("kill").arg(signal).arg(id.to_string()).status().await;
        assert!(sent.expect("`kill` can be started").success());
    }

    fn process(&self, node: usize) -> Process {
        let mut command = Command::new(installed("KEYSWAP_ETCD"));
        command
            .args(["serve", &(node + 1).to_string()])
            .env("ETCD_PORTS", self.ports.to_string())
            .env("ETCD_STATE", self.state.path());
        Process::start("etcd", &mut command)
    }

    fn endpoint(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", usize::from(self.ports) + 2 * node)
    }

    fn log(&self, node: usize) -> String {
        let path: PathBuf = self.state.path().join(format!("node{}.log", node + 1));
        let log = std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        end.join("\n")
    }
}
