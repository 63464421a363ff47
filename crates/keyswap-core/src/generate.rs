//! New secrets from a source of randomness.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::TryCryptoRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::{Secret, SecretId};

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// log2(62), rounded down.
const BITS_A_CHARACTER: f64 = 5.954_196;
const LEAST_ENTROPY: u32 = 256;
const LONGEST: usize = 1024;

/// Makes strong random secrets.
///
/// The default is 64 characters of `[A-Za-z0-9]`: 381 bits, and the same text in every encoding that
/// clients and servers put a secret through (RFC 6749 section 2.3.1 form-encodes it before Basic, and
/// not everybody does).
///
/// ```
/// use keyswap_core::Generator;
///
/// let generator = Generator::default();
/// let secret = generator.generate()?;
/// assert_eq!(secret.expose().len(), 64);
/// assert_eq!(generator.entropy_bits(), 381);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Generator {
    form: Form,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Form {
    Alphanumeric { length: usize },
    Base64 { bytes: usize },
    Characters { characters: Arc<[u8]>, length: usize },
}

impl Default for Generator {
    fn default() -> Self {
        Self { form: Form::Alphanumeric { length: 64 } }
    }
}

impl Generator {
    /// `length` characters of `[A-Za-z0-9]`: 43 (256 bits) to 1024.
    ///
    /// # Errors
    ///
    /// [`InvalidGenerator`] if the length gives less than 256 bits, or is over 1024.
    pub fn alphanumeric(length: usize) -> Result<Self, InvalidGenerator> {
        Self { form: Form::Alphanumeric { length } }.checked(length)
    }

    /// `bytes` random bytes (32 to 768) in standard base64, the form that Auth0's page on rotating a
    /// client secret shows with 48 bytes.
    ///
    /// The text may hold `+`, `/` and `=`, which change in a form encoding: a server or a client that
    /// leaves that out will not find it equal. [`Generator::default`] has no such characters.
    ///
    /// # Errors
    ///
    /// [`InvalidGenerator`] if the bytes are fewer than 32 (256 bits) or more than 768.
    pub fn base64(bytes: usize) -> Result<Self, InvalidGenerator> {
        Self { form: Form::Base64 { bytes } }.checked(bytes.saturating_mul(4) / 3)
    }

    /// `length` characters, each one of these, of which a server takes no others.
    ///
    /// ```
    /// use keyswap_core::Generator;
    ///
    /// let secret = Generator::of_characters("0123456789abcdef", 64)?.generate()?;
    /// assert!(secret.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidGenerator`] if there are fewer than two different characters, one of them is not printable ASCII,
    /// or the length gives less than 256 bits or is over 1024.
    pub fn of_characters(characters: &str, length: usize) -> Result<Self, InvalidGenerator> {
        let characters = alphabet(characters)?;
        Self { form: Form::Characters { characters, length } }.checked(length)
    }

    /// How many of these characters give 256 bits.
    ///
    /// # Errors
    ///
    /// [`InvalidGenerator`] if there are fewer than two different ones, or one is not printable ASCII.
    pub fn length_of(characters: &str) -> Result<usize, InvalidGenerator> {
        let bits = bits_of_each(&alphabet(characters)?);
        Ok((f64::from(LEAST_ENTROPY) / bits).ceil() as usize)
    }

    fn checked(self, length: usize) -> Result<Self, InvalidGenerator> {
        let entropy_bits = self.entropy_bits();
        if entropy_bits < LEAST_ENTROPY || length > LONGEST {
            return Err(InvalidGenerator(Invalid::Strength { entropy_bits, length }));
        }
        Ok(self)
    }

    /// The entropy of a secret made here, in whole bits: 256 or more.
    #[must_use]
    pub fn entropy_bits(&self) -> u32 {
        match &self.form {
            Form::Alphanumeric { length } => (*length as f64 * BITS_A_CHARACTER) as u32,
            Form::Characters { characters, length } => {
                (*length as f64 * bits_of_each(characters)) as u32
            }
            Form::Base64 { bytes } => u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX),
        }
    }

    /// A new secret with a random id, from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`GenerateError`] if that source fails.
    pub fn generate(&self) -> Result<Secret, GenerateError> {
        self.generate_from(&mut SysRng)
    }

    /// A new secret with a random id, from the given source.
    ///
    /// # Errors
    ///
    /// [`GenerateError`] if the source fails.
    pub fn generate_from<R>(&self, source: &mut R) -> Result<Secret, GenerateError>
    where
        R: TryCryptoRng<Error: Error + Send + Sync + 'static> + ?Sized,
    {
        let id = SecretId::random(source).map_err(GenerateError::new)?;
        let value = match &self.form {
            Form::Alphanumeric { length } => text_of(ALPHANUMERIC, *length, source)?,
            Form::Characters { characters, length } => text_of(characters, *length, source)?,
            Form::Base64 { bytes } => {
                let bytes = *bytes;
                let mut random = Zeroizing::new(vec![0; bytes]);
                source.try_fill_bytes(&mut random).map_err(GenerateError::new)?;
                let mut text = Zeroizing::new(String::with_capacity(bytes.div_ceil(3) * 4));
                STANDARD.encode_string(&*random, &mut text);
                text
            }
        };
        Secret::new(id, value.as_str()).map_err(GenerateError::new)
    }
}

/// The characters in order, each once.
fn alphabet(characters: &str) -> Result<Arc<[u8]>, InvalidGenerator> {
    let mut characters = characters.as_bytes().to_vec();
    characters.sort_unstable();
    characters.dedup();
    let printable = characters.iter().all(|byte| (0x20..0x7f).contains(byte));
    match characters.len() {
        2.. if printable => Ok(characters.into()),
        _ => Err(InvalidGenerator(Invalid::Characters)),
    }
}

fn bits_of_each(characters: &[u8]) -> f64 {
    (characters.len() as f64).log2()
}

fn text_of<R>(
    characters: &[u8],
    length: usize,
    source: &mut R,
) -> Result<Zeroizing<String>, GenerateError>
where
    R: TryCryptoRng<Error: Error + Send + Sync + 'static> + ?Sized,
{
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut random = Zeroizing::new([0u8; 64]);
    // The largest multiple of their number in a byte (248 of 62): the rest would favour some characters.
    let fair = 256 - 256 % characters.len();
    while text.len() < length {
        source.try_fill_bytes(&mut *random).map_err(GenerateError::new)?;
        for byte in *random {
            let byte = usize::from(byte);
            if byte < fair && text.len() < length {
                text.push(char::from(characters[byte % characters.len()]));
            }
        }
    }
    Ok(text)
}

/// A generator that would make secrets of less than 256 bits, or of more than 1024 characters, or of
/// characters that are none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidGenerator(Invalid);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Invalid {
    Strength { entropy_bits: u32, length: usize },
    Characters,
}

impl fmt::Display for InvalidGenerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Invalid::Strength { entropy_bits, .. } if entropy_bits < LEAST_ENTROPY => write!(
                f,
                "such a secret would have {entropy_bits} bits of entropy; keyswap makes none below \
                 {LEAST_ENTROPY} (43 characters of [A-Za-z0-9], or 32 bytes in base64)"
            ),
            Invalid::Strength { length, .. } => {
                write!(f, "such a secret would have {length} characters; the most is {LONGEST}")
            }
            Invalid::Characters => f.write_str(
                "a secret is made of two or more different characters, all of them printable ASCII",
            ),
        }
    }
}

impl Error for InvalidGenerator {}

/// The random source failed.
#[derive(Debug)]
pub struct GenerateError {
    source: Box<dyn Error + Send + Sync>,
}

impl GenerateError {
    fn new(source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Box::new(source) }
    }
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no secret could be made: the random source failed")
    }
}

impl Error for GenerateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn less_than_256_bits_or_more_than_1024_characters_is_refused_with_the_reason() {
        assert!(Generator::alphanumeric(42).unwrap_err().to_string().contains("250 bits"));
        assert!(Generator::alphanumeric(43).is_ok());
        assert!(Generator::base64(31).unwrap_err().to_string().contains("248 bits"));
        assert_eq!(Generator::base64(32).unwrap().entropy_bits(), 256);
        assert!(Generator::alphanumeric(1025).unwrap_err().to_string().contains("1025 characters"));
        assert!(Generator::alphanumeric(usize::MAX).is_err());
        assert!(Generator::base64(usize::MAX).is_err());
    }

    #[test]
    fn of_characters_that_are_given_each_comes_up_about_equally_often_and_no_other() {
        let generator = Generator::of_characters("cba-a", 1000).unwrap();
        assert_eq!((Generator::length_of("cba-a"), generator.entropy_bits()), (Ok(128), 2000));
        let text = generator.generate().unwrap().expose().to_owned();
        for one in "abc-".chars() {
            // 250 expected, standard deviation 14.
            let count = text.matches(one).count();
            assert!((130..370).contains(&count), "{one}: {count}");
        }
        assert!(text.chars().all(|one| "abc-".contains(one)));
        for none in ["", "a", "aa", "ab\n", "aé"] {
            let refused = Generator::of_characters(none, 1000).unwrap_err().to_string();
            assert!(refused.contains("two or more different"), "{none:?}: {refused}");
        }
        assert!(Generator::of_characters("ab", 255).unwrap_err().to_string().contains("255 bits"));
    }

    #[test]
    fn the_form_of_the_auth0_page_is_48_bytes_in_standard_base64() {
        let secret = Generator::base64(48).unwrap().generate().unwrap();
        assert_eq!(STANDARD.decode(secret.expose()).unwrap().len(), 48);
        assert_eq!(secret.expose().len(), 64);
    }

    #[test]
    fn each_of_the_62_characters_comes_up_about_equally_often() {
        let generator = Generator::alphanumeric(1024).unwrap();
        let mut counts = HashMap::new();
        for _ in 0..62 {
            for character in generator.generate().unwrap().expose().chars() {
                *counts.entry(character).or_insert(0u32) += 1;
            }
        }
        assert_eq!(counts.len(), 62);
        // 1024 expected, standard deviation 32: eight of them are out of reach by chance. Without the
        // rejection of 248 to 255 the first eight characters would come up 1280 times.
        for (character, count) in counts {
            assert!((768..1280 - 64).contains(&count), "{character}: {count}");
        }
    }

    #[test]
    fn two_secrets_differ_in_value_and_id() {
        let (one, other) =
            (Generator::default().generate().unwrap(), Generator::default().generate().unwrap());
        assert_ne!(one, other);
        assert_ne!(one.id(), other.id());
    }
}
