//! What came of each of several clients, and of all of them together.

use crate::configuration::OfClient;
use crate::exit::Failure;

/// `None` is one that was not begun.
pub(crate) type Outcome = Option<Result<(), Failure>>;

/// Prints what was found out of each client, with `between` before each but the first. Of several, one that failed
/// hides none of the others; `failed` says what those did.
pub(crate) fn tell_each(
    clients: &[OfClient<'_>],
    outcomes: Vec<Option<Result<String, Failure>>>,
    between: &str,
    failed: &str,
) -> Result<(), Failure> {
    let several = clients.len() > 1;
    let mut ends: Vec<Outcome> = Vec::with_capacity(outcomes.len());
    for (client, outcome) in clients.iter().zip(outcomes) {
        ends.push(outcome.map(|outcome| match outcome {
            Ok(text) => {
                let between = if ends.is_empty() { "" } else { between };
                print!("{between}{text}");
                Ok(())
            }
            Err(failure) => {
                if several {
                    eprintln!("{}: {failure}", client.id());
                }
                Err(failure)
            }
        }));
    }
    match ends.as_mut_slice() {
        [Some(one)] => std::mem::replace(one, Ok(())),
        _ => together(clients, &ends, failed),
    }
}

/// What came of several clients: the worst decides. `failed` says what those did that failed.
pub(crate) fn together(
    clients: &[OfClient<'_>],
    outcomes: &[Outcome],
    failed: &str,
) -> Result<(), Failure> {
    let failures = || outcomes.iter().flatten().filter_map(|outcome| outcome.as_ref().err());
    let Some(worst) = failures().map(Failure::code).max_by_key(|code| code.severity()) else {
        return Ok(());
    };
    let ids = |wanted: fn(&Outcome) -> bool| {
        let of = clients.iter().zip(outcomes).filter(|(_, outcome)| wanted(outcome));
        of.map(|(client, _)| client.id()).collect::<Vec<_>>().join(", ")
    };
    let mut message = format!(
        "{} of {} clients {failed}: {}",
        failures().count(),
        clients.len(),
        ids(|outcome| matches!(outcome, Some(Err(_))))
    );
    if outcomes.iter().any(Option::is_none) {
        message.push_str("; not begun after that: ");
        message.push_str(&ids(|outcome| outcome.is_none()));
    }
    message.push_str(". What each needs stands above");
    Err(Failure::new(worst, message))
}
