//! What a program says, made fit to be shown: no secret, no control characters, no more than a bound.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// What stands in the place of a secret.
const HIDDEN: &str = "[secret]";
/// The most of one line that is shown, in characters.
const LONGEST_LINE: usize = 500;
/// A beginning of a secret that is shorter is not looked for at the end of a text.
const SHORTEST_BEGINNING: usize = 4;

/// The texts that are not shown.
#[derive(Default)]
pub(super) struct Redactor(Vec<Zeroizing<String>>);

impl Redactor {
    /// Hides a value, also as JSON, in a form, in base64, and as the credentials of this client.
    pub(super) fn hide(&mut self, client: &str, value: &str) {
        let form = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
        let base64 =
            |text: &str| Zeroizing::new(STANDARD.encode(text).trim_end_matches('=').to_owned());
        let basic = Zeroizing::new(format!("{client}:{value}"));
        let encoded = Zeroizing::new(format!("{}:{}", *form(client), *form(value)));
        let json = Zeroizing::new(serde_json::to_string(value).unwrap_or_default());
        let hidden = [
            Zeroizing::new(value.to_owned()),
            Zeroizing::new(json.trim_matches('"').to_owned()),
            form(value),
            base64(value),
            base64(&basic),
            base64(&encoded),
        ];
        self.0.extend(hidden.into_iter().filter(|text| !text.is_empty()));
        // One that holds another goes first.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
        self.0.dedup();
    }

    /// The lines of a text that may be shown.
    pub(super) fn lines(&self, text: &[u8]) -> Vec<String> {
        let text = Zeroizing::new(String::from_utf8_lossy(text).into_owned());
        let text = self.hidden(&text);
        text.lines().map(shown).filter(|line| !line.trim().is_empty()).collect()
    }

    /// A text in one line that may be shown.
    pub(super) fn line(&self, text: &str) -> String {
        shown(&self.hidden(text))
    }

    fn hidden(&self, text: &str) -> Zeroizing<String> {
        let mut text = Zeroizing::new(text.to_owned());
        for value in &self.0 {
            if text.contains(value.as_str()) {
                *text = text.replace(value.as_str(), HIDDEN);
            }
        }
        // Where it was cut off, it may end within a secret.
        for value in &self.0 {
            let mut lengths = (SHORTEST_BEGINNING..value.len()).rev();
            let beginning = lengths.find(|length| {
                value.is_char_boundary(*length) && text.trim_end().ends_with(&value[..*length])
            });
            if let Some(length) = beginning {
                let end = text.trim_end().len() - length;
                text.truncate(end);
                text.push_str(HIDDEN);
            }
        }
        text
    }
}

/// Without what a terminal would act on, and cut off where it is very long.
fn shown(line: &str) -> String {
    let mut text = String::with_capacity(line.len().min(4 * LONGEST_LINE));
    for (position, one) in line.chars().enumerate() {
        if position == LONGEST_LINE {
            text.push('…');
            break;
        }
        text.push(if one.is_control() { ' ' } else { one });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        let mut redactor = Redactor::default();
        redactor.hide("billing 1", "q\"value/of+the=secret");
        redactor
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_in_which_a_client_sends_it() {
        let basic = STANDARD.encode("billing 1:q\"value/of+the=secret");
        let encoded = STANDARD.encode("billing+1:q%22value%2Fof%2Bthe%3Dsecret");
        for form in [
            "q\"value/of+the=secret",
            "q\\\"value/of+the=secret",
            "q%22value%2Fof%2Bthe%3Dsecret",
            &STANDARD.encode("q\"value/of+the=secret"),
            &basic,
            &encoded,
        ] {
            let line = redactor().line(&format!("> send {form} now"));
            // What fills base64 up tells nothing.
            assert_eq!(line.replace('=', ""), "> send [secret] now");
        }
    }

    #[test]
    fn a_text_that_ends_within_a_secret_shows_nothing_of_it() {
        assert_eq!(redactor().line("it is q\"value/of"), "it is [secret]");
        assert_eq!(redactor().line("it is over"), "it is over");
    }

    #[test]
    fn what_a_terminal_would_act_on_and_what_is_too_long_is_left_out() {
        let said = b"one\x1b[2J\n\n\xff two\n";
        assert_eq!(redactor().lines(said), ["one [2J", "\u{fffd} two"]);
        let long = redactor().line(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), LONGEST_LINE + 1);
    }
}
