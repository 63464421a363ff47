//! The page.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use keyswap_benches::replace::Replaced;
use keyswap_benches::{Group, Loopback, Rounds};

use crate::goals::{ALLOCATIONS, INSTRUCTIONS, Outcome, REPLACE_P99, THROUGHPUT, TWO_THREADS};
use crate::tools;

/// Everything that was measured.
pub(crate) struct Figures {
    pub(crate) groups: Vec<Group>,
    pub(crate) instructions: BTreeMap<String, f64>,
    pub(crate) allocations: BTreeMap<String, (f64, f64)>,
    /// In the order of the groups.
    pub(crate) times: Vec<Rounds>,
    /// Of the first group.
    pub(crate) two_threads: Rounds,
    pub(crate) loopback: Vec<Loopback>,
    /// Readers, our ring, the lock.
    pub(crate) replaced: [(usize, Replaced, Replaced); 3],
    /// The part about a rotation, as the program of that name writes it.
    pub(crate) rotation: String,
}

const PEERS: &[&str] = &[
    "arc-swap",
    "http",
    "hyper",
    "hyper-util",
    "oauth2",
    "reqwest",
    "reqwest-middleware",
    "tower",
    "tower-http",
];

pub(crate) fn write(figures: &Figures) -> Result<String, Box<dyn Error>> {
    let mut page = String::new();
    head(&mut page)?;
    goals(&mut page, figures)?;
    page.push_str("\n## A call\n");
    for (number, group) in figures.groups.iter().enumerate() {
        calls(&mut page, group, figures, &figures.times[number])?;
    }
    two_threads(&mut page, figures)?;
    for loopback in &figures.loopback {
        connections(&mut page, loopback)?;
    }
    replaced(&mut page, figures)?;
    page.push_str(&figures.rotation);
    Ok(page)
}

fn head(page: &mut String) -> Result<(), Box<dyn Error>> {
    let date = jiff::Timestamp::now().to_string();
    let date = date.split('T').next().unwrap_or_default();
    let ours = tools::dependencies("keyswap-benches")?;
    let peers: Vec<String> = PEERS
        .iter()
        .map(|name| ours.get(*name).map(|version| format!("{name} {version}")))
        .collect::<Option<_>>()
        .ok_or("a peer is no dependency of this package")?;
    let theirs = tools::dependencies("oauth2")?;
    let older = theirs.get("reqwest").ok_or("oauth2 has no reqwest")?;
    page.push_str(
        "# What keyswap costs a request\n\n\
        <!-- Written by a program, whole: see benches/README.md. -->\n\n",
    );
    paragraph(
        page,
        "",
        "Measured beside what one would use instead, in the same run. Figures differ from machine to machine, \
        ratios much less. The program that wrote this page is in [`benches/`](../benches/README.md); this writes it anew:",
    );
    page.push_str(
        "\n```console\n\
        cargo run --profile bench -p keyswap-benches --bin performance > docs/performance.md\n\
        ```\n\n",
    );
    let machine = tools::machine()?;
    paragraph(page, "", &format!("{date}, {machine}; `lto = \"thin\"`, `codegen-units = 1`."));
    let peers = peers.join(", ");
    paragraph(page, "", &format!("Peers: {peers}; `oauth2` brings reqwest {older}."));
    page.push_str("\n## How\n\n");
    for point in HOW {
        paragraph(page, "- ", point);
    }
    Ok(())
}

const HOW: &[&str] = &[
    "A **call** is one turn of a loop without a socket: make the request (POST, 2 headers, a form of 44 bytes), \
    send it through the layer to a service that answers at once, drop the answer. Client id 36 bytes, secrets 40 bytes, \
    `Profile::Rfc6749`. All variants of a group that sign send the same, which tests check.",
    "**Instructions** of the whole turn, by callgrind: two runs of different length, subtracted. One program gives \
    the same figure each time. Each variant has an inner service of a type of its own, since a layer that two variants \
    share is not inlined as it would be in a program that has one.",
    "**Allocations** and bytes of the whole turn, by a counting allocator; a `realloc` counts as one of its new size.",
    "**Time** is the processor time of the thread, in turns that the variants take one after the other; a ratio is \
    the median of the ratios within each round.",
    "**Loopback**: HTTP/1.1, connections kept, no TLS, server and client a thread each and both on one core, so that \
    nothing hides behind a second one. Throughput is requests in a second of processor time: as many as by the clock, \
    when the core has nothing else to do. A real token request adds TLS and a network, so a program sees less of a \
    difference than this.",
    "Of the hand-made peers, the cheapest form that works was taken: `format_each` and `form_each` do not encode id \
    and secret as RFC 6749 asks, and `retry_two` makes its headers once.",
];

/// Lines of at most 120 characters, the first one after `bullet`.
fn paragraph(page: &mut String, bullet: &str, text: &str) {
    let mut line = bullet.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > 120 {
            page.push_str(&line);
            page.push('\n');
            line = " ".repeat(bullet.len());
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    page.push_str(&line);
    page.push('\n');
}

fn goals(page: &mut String, figures: &Figures) -> Result<(), Box<dyn Error>> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    outcomes
        .extend(INSTRUCTIONS.iter().map(|goal| goal.outcome(|name| figures.instructions[name])));
    outcomes
        .extend(ALLOCATIONS.iter().map(|goal| goal.outcome(|name| figures.allocations[name].0)));
    let two = figures.two_threads.median(position(&figures.groups[0], "keyswap_two"));
    outcomes.push(Outcome {
        path: "Basic, two threads with one ring: to one thread's time a call".to_owned(),
        what: "time",
        goal: format!("{TWO_THREADS:.2} ×"),
        measured: format!("{two:.2} ×"),
        met: two <= TWO_THREADS,
    });
    for loopback in &figures.loopback {
        let of = |name| loopback.clients.iter().position(|(client, _)| *client == name);
        let ours = of("hyper_keyswap").ok_or("no client of ours was measured")?;
        let peer = of("hyper_set_header").ok_or("no peer was measured")?;
        let ratio = loopback.throughput.ratio(ours, peer);
        outcomes.push(Outcome {
            path: format!(
                "loopback, one core, {}: to hyper with `SetRequestHeader`",
                number(loopback.connections, "connection"),
            ),
            what: "throughput",
            goal: format!("at least {THROUGHPUT:.2} ×"),
            measured: format!("{ratio:.3} ×"),
            met: ratio >= THROUGHPUT,
        });
    }
    let (_, ring, _) = figures.replaced[2];
    outcomes.push(Outcome {
        path: "the list replaced under 64 readers: p99".to_owned(),
        what: "time",
        goal: format!("{REPLACE_P99:.0} µs"),
        measured: format!("{:.1} µs", ring.p99),
        met: ring.p99 <= REPLACE_P99,
    });

    let met = outcomes.iter().filter(|outcome| outcome.met).count();
    writeln!(page, "\n## Goals\n\n{met} of {} are met.\n", outcomes.len())?;
    writeln!(page, "| path | measured | at most | is | |")?;
    writeln!(page, "| --- | --- | --- | --- | --- |")?;
    for Outcome { path, what, goal, measured, met } in &outcomes {
        let met = if *met { "met" } else { "**not met**" };
        writeln!(page, "| {path} | {what} | {goal} | {measured} | {met} |")?;
    }
    Ok(())
}

fn calls(
    page: &mut String,
    group: &Group,
    figures: &Figures,
    times: &Rounds,
) -> Result<(), Box<dyn Error>> {
    let floor = &group.variants[0];
    writeln!(page, "\n### {}\n", group.title)?;
    writeln!(page, "Ratios to `{}`, which takes {:.0} ns.\n", floor.name(), times.median(0))?;
    writeln!(
        page,
        "| variant | what it is | instructions | over the floor | ratio | allocations | bytes | time, ratio |"
    )?;
    writeln!(page, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for (number, variant) in group.variants.iter().enumerate() {
        let instructions = figures.instructions[variant.name()];
        let least = figures.instructions[floor.name()];
        let (allocations, bytes) = figures.allocations[variant.name()];
        writeln!(
            page,
            "| `{}` | {} | {instructions:.0} | {:.0} | {:.2} | {} | {bytes:.0} | {:.2} |",
            variant.name(),
            variant.what(),
            instructions - least,
            instructions / least,
            (allocations * 10.0).round() / 10.0,
            times.ratio(number, 0),
        )?;
    }
    Ok(())
}

fn two_threads(page: &mut String, figures: &Figures) -> Result<(), Box<dyn Error>> {
    page.push_str(
        "\n## Two threads\n\n\
        Each calls a clone of the same service, on a core of its own, so that the ring, the header value or the lock is shared.\n\
        How many times as long a call takes as on one thread: `bare` shares nothing, and shows what the machine itself adds.\n\
        A header value that is shared, also that of `SetRequestHeader`, is counted by an atomic that both write.\n\n\
        | variant | ratio to one thread |\n| --- | --- |\n",
    );
    for (number, variant) in figures.groups[0].variants.iter().enumerate() {
        writeln!(page, "| `{}` | {:.2} |", variant.name(), figures.two_threads.median(number))?;
    }
    Ok(())
}

fn connections(page: &mut String, loopback: &Loopback) -> Result<(), Box<dyn Error>> {
    let Loopback { connections, clients, throughput, p50, p99 } = loopback;
    let connections = number(*connections, "connection");
    writeln!(page, "\n## Loopback, {connections}\n")?;
    let text = format!(
        "Ratios to `{}`: {:.0} requests a second, p50 {:.1} µs, p99 {:.1} µs. Differences of 2 % are noise; p50 and p99 \
        are by the clock, the p99 is that of the machine as much as of the client.",
        clients[0].0,
        throughput.median(0),
        p50.median(0),
        p99.median(0),
    );
    paragraph(page, "", &text);
    writeln!(page, "\n| client | what it is | throughput | p50 | p99 |")?;
    writeln!(page, "| --- | --- | --- | --- | --- |")?;
    for (number, (name, what)) in clients.iter().enumerate() {
        let ratio = throughput.ratio(number, 0);
        let (p50, p99) = (p50.ratio(number, 0), p99.ratio(number, 0));
        writeln!(page, "| `{name}` | {what} | {ratio:.3} | {p50:.2} | {p99:.2} |")?;
    }
    Ok(())
}

fn replaced(page: &mut String, figures: &Figures) -> Result<(), Box<dyn Error>> {
    page.push_str(
        "\n## A list that is replaced\n\n\
        `SecretRing::replace` while threads take snapshots without a pause, beside a list in an `RwLock` of the standard library:\n\
        p50 / p99 in microseconds, over at most 2000 writes or 4 seconds.\n\n\
        | readers | ring | lock | ratio of the p50 |\n| --- | --- | --- | --- |\n",
    );
    let written = |Replaced { writes, p50, p99 }: &Replaced| {
        format!("{p50:.2} / {p99:.2} ({})", number(*writes, "write"))
    };
    for (readers, ring, lock) in &figures.replaced {
        let (ours, theirs, ratio) = (written(ring), written(lock), ring.p50 / lock.p50);
        let ratio =
            if ratio >= 0.01 { format!("{ratio:.2}") } else { format!("1 / {:.0}", 1.0 / ratio) };
        writeln!(page, "| {readers} | {ours} | {theirs} | {ratio} |")?;
    }
    Ok(())
}

fn position(group: &Group, name: &str) -> usize {
    let position = group.variants.iter().position(|variant| variant.name() == name);
    position.expect("it is one of the variants")
}

fn number(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures are as old as they say; what there is to measure must be in it.
    #[test]
    fn the_page_names_every_variant_and_every_goal() {
        let page = include_str!("../../../../docs/performance.md");
        let groups = keyswap_benches::groups();
        for variant in groups.iter().flat_map(|group| &group.variants) {
            let name = format!("| `{}` | {} |", variant.name(), variant.what());
            assert!(page.contains(&name), "write docs/performance.md anew: it lacks {name}");
        }
        for measured in ["| own time, 3 instances", "| peak memory, 10000 instances"] {
            assert!(page.contains(measured), "write docs/performance.md anew: it lacks {measured}");
        }
        let goals = INSTRUCTIONS.iter().map(|goal| goal.path);
        for path in goals.chain(ALLOCATIONS.iter().map(|goal| goal.path)) {
            assert!(page.contains(path), "write docs/performance.md anew: it lacks {path}");
        }
    }

    #[test]
    fn a_paragraph_is_wrapped_after_its_bullet() {
        let mut page = String::new();
        paragraph(&mut page, "- ", &"word ".repeat(40));
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("- word") && lines[1].starts_with("  word"));
        assert!(lines.iter().all(|line| line.len() <= 120));
    }
}
