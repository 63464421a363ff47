//! What a person may have meant by a name that there is not.

/// Names that are as alike as this are told. The measure and the bound are those of clap, which does the same for commands
/// and options.
const ALIKE: f64 = 0.7;

/// How alike two names are. Letters that changed places are nothing that the measure sees in a name like `url`.
fn likeness(word: &str, name: &str) -> f64 {
    match name.len() > 2 && strsim::osa_distance(word, name) == 1 {
        true => 1.0,
        false => strsim::jaro(word, name),
    }
}

/// The name that is most like `word`, if one is.
fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = names.into_iter().map(|name| (likeness(word, name), name));
    let alike = alike.filter(|(measure, _)| *measure > ALIKE);
    alike.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, name)| name)
}

/// What follows a message about an unknown name; empty if none is like it.
pub(crate) fn hint<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, names).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// A parser's message about an unknown key or kind with the one that may have been meant: they stand in backticks, the
/// unknown one first.
pub(crate) fn with_hint(message: String) -> String {
    if !message.starts_with("unknown ") {
        return message;
    }
    let mut named = message.split('`').skip(1).step_by(2);
    let Some(word) = named.next() else { return message };
    let hint = hint(word, named);
    format!("{message}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told_and_none_that_is_not_like_it() {
        assert_eq!(hint("biling", ["orders", "billing", "bills"]), "; did you mean billing?");
        assert_eq!(hint("ulr", ["audience", "url"]), "; did you mean url?");
        assert_eq!(hint("zzz", ["orders", "billing"]), "");
        assert_eq!(hint("biling", []), "");
    }

    #[test]
    fn a_message_of_the_parser_tells_what_may_have_been_meant() {
        let message = "unknown field `directroy`, expected one of `identity`, `directory`, `etcd`";
        let expected = format!("{message}; did you mean directory?");
        assert_eq!(with_hint(message.to_owned()), expected);
        for other in ["missing field `id`", "unknown variant", "unknown field `x`, expected `kind`"]
        {
            assert_eq!(with_hint(other.to_owned()), other);
        }
    }
}
