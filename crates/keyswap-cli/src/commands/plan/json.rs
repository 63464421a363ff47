//! A plan for programs: one object a client, as docs/plan.md describes it.

use keyswap_admin::rotation::{Act, Which};
use keyswap_admin::{Outline, Planned, PlannedStep};
use serde_json::{Value, json};

use super::Outlook;
use super::numbers::{Number, milliseconds, name};

pub(super) fn of(outlook: &Outlook) -> Value {
    let mut object = outlook.looked.to_json();
    let applications = outlook.planned.as_ref().map_or(&[][..], |planned| &planned.applications);
    object["applications"] = applications
        .iter()
        .map(|one| {
            let instances: Vec<_> = (one.live.iter())
                .map(|(id, revision)| json!({ "instance": id, "revision": revision }))
                .collect();
            let (name, expected, manual) = (&one.name, one.expected, one.manual);
            json!({ "name": name, "expected": expected, "manual": manual, "instances": instances })
        })
        .collect();
    object["numbers"] = outlook.numbers.iter().map(Number::as_json).collect();
    let outline = outlook.planned.as_ref().and_then(|Planned { outline, .. }| outline.as_ref());
    object["plan"] = outline.map_or(Value::Null, plan);
    object
}

fn plan(outline: &Outline) -> Value {
    let steps: Vec<_> = outline.steps.iter().map(|step| self::step(outline, step)).collect();
    let exposures: Vec<_> = outline.exposures.iter().map(ToString::to_string).collect();
    let missing: Vec<_> = outline.missing.iter().map(ToString::to_string).collect();
    json!({
        "hash": outline.fingerprint,
        "old": outline.old,
        "revision": outline.revision,
        "window": outline.policy.change_windows,
        "steps": steps,
        "stops": outline.stops,
        "at_least_ms": milliseconds(outline.at_least),
        "at_most_ms": outline.at_most.map(milliseconds),
        "missing": missing,
        "exposures": exposures,
    })
}

fn step(outline: &Outline, step: &PlannedStep) -> Value {
    let acts: Vec<_> = (step.acts.iter())
        .map(|(act, times, requests)| {
            let mut object = act_as_json(outline, act);
            object["times"] = json!(times);
            object["requests"] = json!(requests);
            object
        })
        .collect();
    let waits: Vec<_> = step.waits.iter().map(|wait| name(*wait)).collect();
    json!({
        "state": step.state,
        "what": step.what,
        "gate": step.gate,
        "acts": acts,
        "waits_for": waits,
        "at_least_ms": milliseconds(step.lasts),
        "back": step.way_back.to_string(),
    })
}

fn act_as_json(outline: &Outline, act: &Act) -> Value {
    let named = |which: &Which| named(outline, *which);
    match act {
        Act::Publish(ids) => json!({ "act": "publish", "list": ids }),
        Act::Observe => json!({ "act": "wait_for_programs" }),
        Act::Probe(which) => json!({ "act": "prove", "secret": named(which) }),
        Act::ReadBack => json!({ "act": "read_back" }),
        Act::List => json!({ "act": "list" }),
        Act::Set(which) => json!({ "act": "set", "secret": named(which) }),
        Act::Add => json!({ "act": "add" }),
        Act::Regenerate => json!({ "act": "regenerate" }),
        Act::SetActive(slot, true) => json!({ "act": "activate", "slot": slot }),
        Act::SetActive(slot, false) => json!({ "act": "deactivate", "slot": slot }),
        Act::Remove(slot, _) => json!({ "act": "remove", "slot": slot }),
        Act::Confirmation(application) => json!({ "act": "confirm", "application": application }),
        Act::Retirement => json!({ "act": "retire" }),
        _ => json!({ "act": "other" }),
    }
}

/// The id by which a secret goes in a plan.
pub(super) fn named(outline: &Outline, which: Which) -> String {
    match which {
        Which::Old => outline.old.to_string(),
        Which::New => "NEW".to_owned(),
    }
}
