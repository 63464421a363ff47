//! Which values of a secret a server takes, and what is made for it.

use std::borrow::Cow;
use std::fmt;

use keyswap_core::{Generator, InvalidGenerator};

/// The longest value of a secret in keyswap.
const LONGEST: usize = 4096;
/// Of fewer letters and digits, a value would be longer than one of all characters.
const ENOUGH_PLAIN: usize = 10;
/// How long a value is, where the server's rules leave that open.
const USUAL_LENGTH: usize = 64;

/// Which values of a secret a server takes.
///
/// ```
/// use keyswap_admin::authority::ValueRules;
///
/// let rules = ValueRules::default().length(24, 48).characters("0123456789abcdef-");
/// assert_eq!(rules.to_string(), "24 to 48 of 0123456789abcdef-");
/// // 256 bits do not fit into 48 of these.
/// assert!(rules.generator().is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ValueRules {
    /// The least number of characters.
    pub shortest: usize,
    /// The greatest number of characters.
    pub longest: usize,
    /// The characters, if not all printable ones of ASCII.
    pub characters: Option<Cow<'static, str>>,
}

/// 1 to 4096 printable characters of ASCII (RFC 6749, appendix A.2).
impl Default for ValueRules {
    fn default() -> Self {
        Self { shortest: 1, longest: LONGEST, characters: None }
    }
}

impl ValueRules {
    /// Sets [`shortest`](Self::shortest) and [`longest`](Self::longest).
    #[must_use]
    pub fn length(mut self, shortest: usize, longest: usize) -> Self {
        (self.shortest, self.longest) = (shortest, longest);
        self
    }

    /// Sets [`characters`](Self::characters).
    #[must_use]
    pub fn characters(mut self, characters: impl Into<Cow<'static, str>>) -> Self {
        self.characters = Some(characters.into());
        self
    }

    /// Makes values that the server takes: of the letters and digits among its characters where there are
    /// ten or more, since these are the same in every encoding, and of 64 of them where its lengths allow that.
    ///
    /// # Errors
    ///
    /// [`InvalidGenerator`] if no value of 256 bits keeps to these rules.
    pub fn generator(&self) -> Result<Generator, InvalidGenerator> {
        let length = |enough: usize| USUAL_LENGTH.max(enough).max(self.shortest).min(self.longest);
        let Some(characters) = &self.characters else {
            return Generator::alphanumeric(length(0));
        };
        let plain: String = characters.chars().filter(char::is_ascii_alphanumeric).collect();
        let characters = match plain.len() {
            ENOUGH_PLAIN.. => plain.as_str(),
            _ => characters,
        };
        let enough = Generator::length_of(characters)?;
        Generator::of_characters(characters, length(enough))
    }
}

impl fmt::Display for ValueRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.shortest, self.longest) {
            (1, LONGEST) if self.characters.is_none() => return f.write_str("any"),
            (1, LONGEST) => f.write_str("any number")?,
            (shortest, LONGEST) => write!(f, "{shortest} or more")?,
            (shortest, longest) => write!(f, "{shortest} to {longest}")?,
        }
        match &self.characters {
            None => f.write_str(" characters"),
            Some(characters) => match besides_letters_and_digits(characters) {
                Some(others) => write!(f, " letters, digits and any of {others}"),
                None => write!(f, " of {characters}"),
            },
        }
    }
}

/// The others, where all letters and digits are among them and there are some more.
fn besides_letters_and_digits(characters: &str) -> Option<String> {
    let mut all = ('a'..='z').chain('A'..='Z').chain('0'..='9');
    let others = || characters.chars().filter(|one| !one.is_ascii_alphanumeric());
    (all.all(|one| characters.contains(one)) && others().next().is_some())
        .then(|| others().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(rules: &ValueRules) -> String {
        rules.generator().unwrap().generate().unwrap().expose().to_owned()
    }

    #[test]
    fn what_is_made_keeps_to_the_rules_and_is_64_letters_and_digits_where_they_allow_that() {
        let any = ValueRules::default();
        assert_eq!(any.generator().unwrap(), Generator::default());
        assert_eq!(made(&any.clone().length(14, 50)).len(), 50);
        assert_eq!(made(&any.clone().length(100, 200)).len(), 100);
        let hexadecimal = made(&any.clone().characters("0123456789abcdef-"));
        assert!(
            hexadecimal.len() == 64 && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit())
        );
        let digits = made(&any.clone().characters("0123456789"));
        assert_eq!(digits.len(), 78, "256 bits need so many");
        let signs = made(&any.characters("-._~!*+$"));
        assert!(signs.len() == 86 && signs.bytes().all(|byte| b"-._~!*+$".contains(&byte)));
    }

    #[test]
    fn all_letters_and_digits_are_not_listed_one_by_one() {
        let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let rules = |more: &str| {
            let rules = ValueRules::default().length(24, 64);
            rules.characters(format!("{letters}{more}")).to_string()
        };
        assert_eq!(rules("0123456789_+"), "24 to 64 letters, digits and any of _+");
        assert_eq!(rules("012345678_"), format!("24 to 64 of {letters}012345678_"));
        assert_eq!(rules("0123456789"), format!("24 to 64 of {letters}0123456789"));
    }

    #[test]
    fn rules_that_no_strong_value_keeps_to_are_refused() {
        let any = ValueRules::default();
        let refused = |rules: ValueRules| rules.generator().unwrap_err().to_string();
        assert!(refused(any.clone().length(8, 42)).contains("250 bits"));
        assert!(refused(any.clone().length(1, 64).characters("0123456789")).contains("212 bits"));
        assert!(refused(any.clone().characters("x")).contains("two or more"));
        assert!(refused(any.clone().characters("")).contains("two or more"));
        assert!(refused(any.characters("é€")).contains("printable"));
    }
}
