//! How a change spreads over the nodes, seen through the token endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Balancing};
use serde_json::json;

use crate::{AUDIENCE, body, builder, read, rotator, sign_in, start, update};

fn node(answer: &reqwest::Response) -> String {
    answer.headers()["x-testkit-node"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn inside_the_window_nodes_disagree_and_afterwards_only_the_new_secret_is_accepted() {
    let window = Duration::from_secs(5);
    let server = start(builder().nodes(3).propagation_window(window).seed(5)).await;
    let token = rotator(&server).await;
    let changed = update(&server, &token, "billing", json!({"client_secret": "second"})).await;
    body(changed.unwrap(), 200).await;
    assert!(!server.settled("billing"));
    // The management plane does not lag behind.
    let shown = body(read(&server, &token, "billing").await, 200).await;
    assert_eq!(shown["client_secret"], "second");

    let (mut old_accepted, mut new_accepted, mut disagreed) = (0, 0, false);
    let mut switched = BTreeSet::new();
    while !server.settled("billing") {
        let new = sign_in(&server, "second").await;
        if new.status() == 200 {
            new_accepted += 1;
            switched.insert(node(&new));
        }
        let old = sign_in(&server, "first-secret").await;
        if old.status() == 200 {
            old_accepted += 1;
            assert!(!switched.contains(&node(&old)), "node {} accepted both", node(&old));
        }
        disagreed |= server.accepted_secrets("billing") == 2
            && server.accepts_anywhere("billing", "first-secret")
            && server.accepts_anywhere("billing", "second")
            && !server.accepts("billing", "second");
    }
    assert!(old_accepted > 0 && new_accepted > 0, "{old_accepted} {new_accepted}");
    assert!(disagreed);
    assert!(server.accepts("billing", "second"));
    assert!(!server.accepts_anywhere("billing", "first-secret"));
    for _ in 0..12 {
        assert_eq!(sign_in(&server, "second").await.status(), 200);
        assert_eq!(sign_in(&server, "first-secret").await.status(), 401);
    }
}

#[tokio::test]
async fn a_foreign_change_spreads_too_and_is_counted_apart() {
    let window = Duration::from_millis(300);
    let server = start(builder().nodes(4).propagation_window(window)).await;
    server.set_secret("billing", "foreign");
    assert!(server.accepts_anywhere("billing", "first-secret"));
    server.until_settled("billing").await;
    assert!(server.settled("billing") && server.accepts("billing", "foreign"));
    assert_eq!((server.counts().changes, server.counts().foreign_changes), (0, 1));
}

#[tokio::test]
async fn a_second_change_overtakes_the_first_and_is_where_all_nodes_end() {
    let window = Duration::from_millis(400);
    let server = start(builder().nodes(5).propagation_window(window)).await;
    server.set_secret("billing", "second");
    server.set_secret("billing", "third");
    let mut most = 0;
    while !server.settled("billing") {
        most = most.max(server.accepted_secrets("billing"));
        tokio::task::yield_now().await;
    }
    assert!(most >= 2, "{most}");
    assert!(server.accepts("billing", "third"));
    assert_eq!(server.accepted_secrets("billing"), 1);
}

/// Signs in on one connection after the other, `times` on each, and tells which nodes answered on each.
async fn nodes_by_connection(server: &AuthorizationServer, times: usize) -> Vec<BTreeSet<String>> {
    let mut connections = vec![];
    for _ in 0..24 {
        let client = reqwest::Client::new();
        let mut nodes = BTreeSet::new();
        for _ in 0..times {
            let form = [
                ("grant_type", "client_credentials"),
                ("client_id", "billing"),
                ("client_secret", "first-secret"),
                ("audience", AUDIENCE),
            ];
            let answer = client.post(server.token_endpoint()).form(&form).send().await.unwrap();
            nodes.insert(node(&answer));
            answer.bytes().await.unwrap();
        }
        connections.push(nodes);
    }
    connections
}

#[tokio::test]
async fn a_connection_stays_with_its_node_or_meets_all_of_them_as_asked() {
    let sticky = start(builder().nodes(3).balancing(Balancing::PerConnection)).await;
    let connections = nodes_by_connection(&sticky, 4).await;
    assert!(connections.iter().all(|nodes| nodes.len() == 1), "{connections:?}");
    let all: BTreeSet<&String> = connections.iter().flatten().collect();
    assert_eq!(all.len(), 3, "every node gets connections");

    let random = start(builder().nodes(3).balancing(Balancing::PerRequest)).await;
    let connections = nodes_by_connection(&random, 4).await;
    assert!(connections.iter().any(|nodes| nodes.len() > 1), "{connections:?}");
}

#[tokio::test]
async fn without_a_window_a_change_is_everywhere_at_once() {
    let server = start(builder().nodes(8)).await;
    server.set_secret("billing", "second");
    assert!(server.settled("billing") && server.accepts("billing", "second"));
}

#[tokio::test]
async fn an_unknown_client_accepts_nothing() {
    let server = start(builder()).await;
    assert!(!server.accepts("nobody", "x") && !server.accepts_anywhere("nobody", "x"));
    assert_eq!((server.accepted_secrets("nobody"), server.settled("nobody")), (0, false));
    server.until_settled("nobody").await;
}

#[tokio::test]
async fn the_same_seed_balances_the_same_way() {
    let mut runs: BTreeMap<u64, Vec<Vec<String>>> = BTreeMap::new();
    for seed in [1, 1, 2] {
        let server = start(builder().nodes(4).seed(seed)).await;
        let mut nodes = vec![];
        for _ in 0..16 {
            nodes.push(node(&sign_in(&server, "first-secret").await));
        }
        runs.entry(seed).or_default().push(nodes);
    }
    assert_eq!(runs[&1][0], runs[&1][1]);
    assert_ne!(runs[&1][0], runs[&2][0]);
}
