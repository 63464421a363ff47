//! The guide: its links, and what its pages show, run as they show it.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::page::{blocks, shell};
use common::{CLIENT, Command, DevServer, MANAGEMENT_CLIENT, Programs, Site, Vault};
use yaml_rust2::{Yaml, YamlLoader};

const UNATTENDED: &str = include_str!("../../../docs/unattended.md");
const INCIDENT: &str = include_str!("../../../docs/incident.md");

/// How a page leads to a file of the repository that is no page.
const REPOSITORY: &str = "https://github.com/keyswap/keyswap/blob/main/";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The pages of the guide and the README, by their paths.
fn pages() -> BTreeMap<PathBuf, String> {
    let within = |directory: &str| std::fs::read_dir(root().join(directory)).unwrap();
    let docs = ["docs", "docs/servers", "docs/stores"].into_iter().flat_map(within);
    let docs = docs.map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages = pages.chain([root().join("README.md")]);
    pages.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// A page without its code.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// What links lead to: all that stands behind `](`.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of a page's headings, as both GitHub and mdBook make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let heading = |line: &str| Some(line.trim_start_matches('#').strip_prefix(' ')?.to_lowercase());
    let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#')).filter_map(heading);
    headings.map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn the_image_is_made_of_what_is_there() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let (image, archive, ignored) =
        (read("Dockerfile"), read("packaging/archive"), read(".dockerignore"));
    // It builds with the script of the archive, by its defaults, and takes the command out of what that makes.
    assert!(image.contains("RUN packaging/archive \"$(uname -m)-unknown-linux-musl\""), "{image}");
    assert!(
        image.contains("target/archives/keyswap-*.tar.gz") && image.contains("/built/keyswap ")
    );
    assert!(archive.contains("archives=${CARGO_TARGET_DIR:-$PWD/target}/archives"), "{archive}");
    for script in ["packaging/archive", "packaging/packed"] {
        assert_eq!(common::mode(&root().join(script)) & 0o111, 0o111, "{script} cannot be run");
    }
    // Whatever the workspace needs reaches the build.
    let workspace = read("Cargo.toml");
    for line in ignored.lines() {
        assert!([".git", "target", "**/node_modules"].contains(&line), "{line}");
        assert!(!workspace.contains(&format!("\"{line}")), "the workspace has {line}");
    }
}

#[test]
fn every_link_of_the_guide_leads_somewhere() {
    let pages = pages();
    let docs = root().join("docs");
    let mut broken = Vec::new();
    let mut seen = 0;
    for (path, text) in &pages {
        for link in links(text) {
            let of_repository = link.strip_prefix(REPOSITORY);
            if link.contains("://") && of_repository.is_none() {
                continue;
            }
            seen += 1;
            let within = of_repository.unwrap_or(&link);
            let (file, anchor) = within.split_once('#').unwrap_or((within, ""));
            let target = match of_repository {
                Some(_) => root().join(file),
                None if file.is_empty() => path.clone(),
                None => path.with_file_name(file),
            };
            // Beside the book there is no repository.
            let found = target.canonicalize();
            let is_of_the_book = path.starts_with(&docs) && of_repository.is_none();
            let leads_out =
                is_of_the_book && found.as_ref().is_ok_and(|target| !target.starts_with(&docs));
            let there = found.as_ref().is_ok_and(|target| {
                anchor.is_empty()
                    || pages.get(target).is_some_and(|it| anchors(it).contains(anchor))
            });
            if !there || leads_out {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(seen > 80, "{seen}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_command_of_the_guide_is_one_that_the_help_names() {
    let help = include_str!("help.txt");
    let mut seen = BTreeSet::new();
    for (path, text) in pages() {
        let shown = blocks(&text).into_iter().filter(|block| block.language == "sh");
        let shown: String = shown.map(|block| block.text).collect();
        let arguments = shown.lines().filter_map(|line| line.trim_start().strip_prefix("keyswap "));
        for command in arguments.filter_map(|rest| rest.split_whitespace().next()) {
            assert!(help.contains(&format!("\n  {command} ")), "{}: {command}", path.display());
            seen.insert(command.to_owned());
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn the_summary_names_each_page_and_the_first_page_each_server() {
    let pages = pages();
    let docs = root().join("docs");
    let named: BTreeSet<String> = links(&pages[&docs.join("SUMMARY.md")]).into_iter().collect();
    for path in pages.keys() {
        let Ok(name) = path.strip_prefix(&docs) else { continue };
        let name = name.to_str().unwrap();
        assert!(name == "SUMMARY.md" || named.contains(name), "the summary has no {name}");
    }
    // mdBook takes each for the name of a file, and makes no book of a summary with an anchor.
    assert!(!named.iter().any(|link| link.contains('#')), "{named:?}");
    let named: BTreeSet<String> = links(&pages[&docs.join("index.md")]).into_iter().collect();
    let overview: BTreeSet<_> = links(&pages[&docs.join("providers.md")]).into_iter().collect();
    for path in pages.keys().filter(|path| path.starts_with(docs.join("servers"))) {
        let link = path.strip_prefix(&docs).unwrap().to_str().unwrap();
        assert!(named.contains(link) && overview.contains(link), "no {link}");
    }
    let book = std::fs::read_to_string(docs.join("book.toml")).unwrap();
    let book: toml::Table = book.parse().unwrap();
    assert_eq!(book["book"]["src"].as_str(), Some("."));
}

#[test]
fn what_the_page_of_a_server_has_for_keyswap_toml_is_taken_also_what_it_only_mentions() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::new(directory.path());
    let mut kinds = BTreeSet::new();
    for (path, text) in pages() {
        if !path.starts_with(root().join("docs/servers")) {
            continue;
        }
        let tables = blocks(&text).into_iter().filter(|block| block.language == "toml");
        let tables: Vec<_> = tables.map(|block| block.text.replace("\n# ", "\n")).collect();
        let (table, others) = tables.split_first().unwrap();
        // What stands apart takes the place of the token there.
        let otherwise = others.iter().map(|other| {
            let kept = table.lines().filter(|line| !line.starts_with("api_token"));
            format!("{}\n{other}", kept.collect::<Vec<_>>().join("\n"))
        });
        for table in otherwise.chain([table.clone()]) {
            let client = "[client]\nid = \"billing\"\n[store]\ndirectory = \"keyswap-store\"";
            let application = "[[application]]\nname = \"billing\"";
            let text = format!("{client}\n{application}\n{table}");
            std::fs::write(directory.path().join("keyswap.toml"), text).unwrap();
            let status = Command::new(&vault, &["status"]).directory(directory.path()).run();
            // It has come to the store, which is not there.
            status.says(1, &["keyswap-store", "keyswap init"]);
        }
        kinds.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    let help = Command::new(&vault, &["authorities", "--json"]).run().ends_with(0).json_lines();
    let known = help.iter().map(|one| one["kind"].as_str().unwrap().to_owned());
    // That of `exec` is a page of its own.
    assert_eq!(kinds, known.filter(|kind| kind != "exec").collect());
}

/// A server and a store that are ready, and the programs that sign in there all the while.
fn ready() -> (DevServer, Programs) {
    let server = DevServer::start();
    server.site.import();
    let programs = Programs::start(&server.site, CLIENT, 1, 20);
    (server, programs)
}

fn configuration(site: &Site) -> [(&'static str, String); 1] {
    [("KEYSWAP_CONFIG", site.configuration().display().to_string())]
}

/// Runs it with the configuration of the site, and more variables.
fn run(site: &Site, text: &str, more: &[(&str, &str)]) -> common::page::Ran {
    let own = configuration(site);
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let all: Vec<_> = own.chain(more.iter().copied()).collect();
    shell(&site.vault, &site.path(""), text, &all)
}

#[test]
fn a_secret_that_has_leaked_is_dealt_with_as_the_runbook_says() {
    let (server, programs) = ready();
    let site = &server.site;
    let shown = blocks(INCIDENT);
    let mut shown = shown.iter().map(|block| (block.language.as_str(), block.text.as_str()));
    let mut next = |holds: &str, code: i32, says: &str| {
        let (language, text) = shown.next().unwrap();
        assert_eq!(language, "sh");
        assert!(text.contains(holds), "{holds:?} is not in {text}");
        let ran = run(site, text, &[]);
        assert!(ran.code == Some(code) && ran.said.contains(says), "{says:?}: {ran:#?}");
    };
    next("status", 0, "accepts the published secret");
    next("hold", 0, "");
    assert_eq!(run(site, "keyswap rotate", &[]).code, Some(3), "the hold counts");
    next("--release", 0, "");
    let old = site.published();
    next("rotate --compromised", 0, "done");
    site.is_rotated_from(&old[0]);
    next("resume --compromised", 1, "nothing to resume");
    next("rollback", 1, "is done");
    next("history verify", 0, "all as written");
    assert!(shown.next().is_none(), "nothing runs it");
    assert_eq!(programs.stop().1, 0);
}

#[test]
fn what_cron_runs_is_silent_unless_a_person_is_needed() {
    let (server, programs) = ready();
    let site = &server.site;
    let shown = blocks(UNATTENDED);
    let script = shown.iter().find(|block| block.language == "sh").unwrap();
    std::fs::write(site.path("keyswap-unattended"), &script.text).unwrap();
    let table = shown.iter().find(|block| block.language == "text").unwrap();
    let mut lines = table.text.lines().filter_map(|line| {
        let command = line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
        let command = command.replace("/usr/local/bin/keyswap-unattended", "sh keyswap-unattended");
        (!line.contains('=')).then_some(command).filter(|command| command.contains("keyswap"))
    });
    let [rotate, resume, look] = [(); 3].map(|()| lines.next().unwrap());
    assert!(lines.next().is_none());
    let quiet = |command: &str, code: i32| {
        let ran = run(site, command, &[]);
        assert_eq!((ran.code, ran.said.as_str()), (Some(code), ""), "{command}");
    };
    quiet(&resume, 0);
    quiet(&rotate, 0);
    site.is_rotated_from(&site.first_secret());
    assert!(run(site, &look, &[]).said.contains("done for"));
    // A day later nothing is to be done; when it is, a hold counts.
    let rotated = site.published();
    quiet(&rotate, 0);
    assert_eq!(site.published(), rotated);
    let rotate = rotate.replace("90d", "1ms");
    run(site, "keyswap hold --by ada --reason freeze", &[]);
    quiet(&rotate, 3);
    run(site, "keyswap hold --release", &[]);
    std::fs::remove_file(site.path("management-secret")).unwrap();
    let ran = run(site, &rotate, &[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.said.contains("management-secret") && ran.said.contains("ended with 2"), "{ran:?}");
    assert_eq!(programs.stop().1, 0);
}

/// The documents of the page's blocks of YAML.
fn documents() -> Vec<Yaml> {
    let shown = blocks(UNATTENDED).into_iter().filter(|block| block.language == "yaml");
    shown.flat_map(|block| YamlLoader::load_from_str(&block.text).unwrap()).collect()
}

fn strings(list: &Yaml) -> Vec<String> {
    list.as_vec().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_cron_jobs_of_kubernetes_rotate_and_go_on() {
    let (server, programs) = ready();
    let site = &server.site;
    let documents = documents();
    let toml = documents.iter().find_map(|one| one["data"]["keyswap.toml"].as_str()).unwrap();
    // This keyswap was built without etcd, and says that, and nothing of a slip of the pen.
    std::fs::write(site.path("keyswap.toml"), toml.replace("THE-", "")).unwrap();
    let ran = shell(&site.vault, &site.path(""), "keyswap verify", &[]);
    assert!(ran.said.contains("feature") && ran.said.contains("etcd"), "{ran:?}");
    // With a store of this machine and the server of this test it is one to rotate with.
    let (before, rest) = toml.split_once("[store.etcd]").unwrap();
    let (_, applications) = rest.split_once("\n\n").unwrap();
    let store = "[store]\ndirectory = \"keyswap-store\"\n\n";
    let quick = "\n[policy]\npropagation_window = \"250ms\"\nquiet_period = \"250ms\"\n";
    let filled = format!("{before}{store}{applications}{quick}")
        .replace("THE-CLIENT-ID", CLIENT)
        .replace("https://THE-TENANT.eu.auth0.com", site.url.trim_end_matches('/'))
        .replace("THE-MANAGEMENT-CLIENT-ID", MANAGEMENT_CLIENT)
        .replace("/run/secrets/keyswap/", "")
        .replace("instances = 3", "instances = 1")
        .replace("uses_every", "# uses_every");
    std::fs::write(site.configuration(), filled).unwrap();
    let jobs = documents.iter().filter(|one| one["kind"].as_str() == Some("CronJob"));
    let mut ran = Vec::new();
    for job in jobs {
        let job = &job["spec"]["jobTemplate"]["spec"];
        let pod = &job["template"]["spec"];
        let container = &pod["containers"][0];
        let arguments = strings(&container["args"]);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        site.command(&arguments).run().ends_with(0);
        ran.push(arguments[0].to_owned());
        let rule = &job["podFailurePolicy"]["rules"][0]["onExitCodes"];
        if !rule.is_badvalue() {
            assert_eq!(rule["containerName"], container["name"]);
        }
        // Each volume that is mounted is there.
        let names = |list: &Yaml| -> Vec<Yaml> {
            list.as_vec().unwrap().iter().map(|one| one["name"].clone()).collect()
        };
        assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
    }
    assert_eq!(ran, ["rotate", "resume"]);
    site.is_rotated_from(&site.first_secret());
    assert_eq!(programs.stop().1, 0);
}

#[test]
fn the_workflow_begins_on_its_day_and_else_goes_on() {
    let (server, programs) = ready();
    let site = &server.site;
    let documents = documents();
    let job = documents.iter().map(|one| &one["jobs"]["keyswap"]);
    let job = job.into_iter().find(|job| !job.is_badvalue()).unwrap();
    let environment = job["env"].as_hash().unwrap();
    let named: Vec<_> = environment.keys().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(named, ["KEYSWAP_MANAGEMENT_SECRET", "BEGINS", "BY"]);
    let secret = std::fs::read_to_string(site.path("management-secret")).unwrap();
    site.configure("{ file = \"management-secret\" }", "{ env = \"KEYSWAP_MANAGEMENT_SECRET\" }");
    let steps = job["steps"].as_vec().unwrap();
    let steps: Vec<_> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
    let [rotate, look] = steps.as_slice() else { panic!("{steps:?}") };
    let step = |text: &str, begins: &str| {
        let more = [(named[0], secret.trim_end()), ("BEGINS", begins), ("BY", "ada")];
        run(site, text, &more)
    };
    let ran = step(rotate, "false");
    assert!(ran.code == Some(0) && ran.said.contains("nothing to do"), "{ran:?}");
    assert_eq!(site.published(), [site.first_secret()]);
    assert_eq!(step(rotate, "true").code, Some(0));
    site.is_rotated_from(&site.first_secret());
    assert!(step(look, "false").said.contains("done for"));
    run(site, "keyswap hold --by ada --reason freeze", &[]);
    let held = step(rotate, "true");
    assert!(held.code == Some(0) && held.said.contains("::warning::"), "{held:?}");
    assert_eq!(programs.stop().1, 0);
}
