//! One client secret and its name. No error here repeats what it refused, since a mistaken argument may
//! be a secret.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rand::TryCryptoRng;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const MAX_SECRET_LENGTH: usize = 4096;
const MAX_ID_LENGTH: usize = 64;

/// One client secret: a value that is wiped from memory when its last handle goes, and an id that may
/// be shown.
///
/// A clone is another handle on the same allocation. `Debug` shows the id alone. Two secrets are equal
/// when their values are, compared in constant time; ids do not count.
///
/// ```
/// use keyswap_core::Secret;
///
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// assert_eq!(format!("{secret:?}"), "Secret(billing-2026)");
/// assert_eq!(secret.expose(), "Vq3hCc0Zc1Jx");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    id: SecretId,
    value: SecretString,
    kept: OnceLock<Kept>,
}

/// Something that was made of the value, and goes with it.
struct Kept {
    maker: MakerId,
    made: Box<dyn Any + Send + Sync>,
}

/// Names whoever keeps something beside a [`Secret`]: see [`Secret::kept`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MakerId(u64);

impl MakerId {
    /// A name that nobody else in this process has.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Secret {
    /// Takes over `value` under the name `id`.
    ///
    /// The value is 1 to 4096 bytes of UTF-8 without control characters, and is never trimmed. A
    /// `String` that is passed in is taken over, not copied; a `&str` is copied.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] says what is wrong with the value, without repeating it.
    pub fn new(id: SecretId, value: impl Into<String>) -> Result<Self, InvalidSecret> {
        // Zeroizing first: a refused value is wiped as well.
        let mut value = Zeroizing::new(value.into());
        check(&value)?;
        // `into_boxed_str` may move the bytes when the capacity is larger than the length and would
        // leave the old ones behind; an exact copy made here and a wiped original leave nothing.
        let value = if value.capacity() == value.len() {
            SecretString::from(std::mem::take(&mut *value))
        } else {
            let mut exact = String::with_capacity(value.len());
            exact.push_str(&value);
            SecretString::from(exact)
        };
        Ok(Self(Arc::new(Inner { id, value, kept: OnceLock::new() })))
    }

    /// Takes a value from bytes, as they come from a file or standard input.
    ///
    /// # Errors
    ///
    /// As [`Secret::new`], and when the bytes are not UTF-8.
    pub fn from_bytes(id: SecretId, value: Vec<u8>) -> Result<Self, InvalidSecret> {
        let value = Zeroizing::new(value);
        match std::str::from_utf8(&value) {
            Ok(text) => Self::new(id, text),
            Err(error) => Err(InvalidSecret::NotUtf8 { position: error.valid_up_to() }),
        }
    }

    /// The name of this secret, which may be shown.
    #[must_use]
    pub fn id(&self) -> &SecretId {
        &self.0.id
    }

    /// The value itself. Call this at the wire, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.value.expose_secret()
    }

    /// What `maker` made of this secret: made at the first call, and kept beside the secret for as long as
    /// that lives. For credentials that would encode the same value for each request.
    ///
    /// A secret keeps one such thing. `None` if another maker's is kept already, or one of another type:
    /// make it anew then. What is kept should wipe itself when it is dropped.
    ///
    /// ```
    /// use keyswap_core::{MakerId, Secret};
    ///
    /// let secret = Secret::new("a".parse()?, "Vq3hCc0Zc1Jx")?;
    /// let maker = MakerId::new();
    /// assert_eq!(secret.kept(maker, || secret.expose().len()), Some(&12));
    /// assert_eq!(secret.kept(maker, || 0_usize), Some(&12));
    /// assert_eq!(secret.kept(MakerId::new(), || 0_usize), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kept<T: Any + Send + Sync>(
        &self,
        maker: MakerId,
        make: impl FnOnce() -> T,
    ) -> Option<&T> {
        let kept = self.0.kept.get_or_init(|| Kept { maker, made: Box::new(make()) });
        if kept.maker == maker { kept.made.downcast_ref() } else { None }
    }

    /// Whether this secret has the given value, compared in constant time for equal lengths.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.expose().as_bytes().ct_eq(value.as_bytes()).into()
    }
}

fn check(value: &str) -> Result<(), InvalidSecret> {
    if value.is_empty() {
        return Err(InvalidSecret::Empty);
    }
    if value.len() > MAX_SECRET_LENGTH {
        return Err(InvalidSecret::TooLong { length: value.len() });
    }
    match value.char_indices().find(|(_, character)| character.is_control()) {
        Some((position, _)) => Err(InvalidSecret::ControlCharacter { position }),
        None => Ok(()),
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.0.id)
    }
}

/// The name of a secret: chosen by the caller or random, never derived from the value.
///
/// 1 to 64 characters of `[A-Za-z0-9._-]`. Ids appear in logs, reports and history records, and are
/// never used twice for different values.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SecretId(Arc<str>);

impl SecretId {
    /// A random id of 16 hexadecimal digits behind `s-`, for instance `s-09c1f25be3a7d840`.
    ///
    /// # Errors
    ///
    /// The error of the random source.
    pub fn random<R: TryCryptoRng + ?Sized>(source: &mut R) -> Result<Self, R::Error> {
        Ok(Self(format!("s-{:016x}", source.try_next_u64()?).into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretId {
    type Err = InvalidSecretId;

    fn from_str(text: &str) -> Result<Self, InvalidSecretId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > MAX_ID_LENGTH || !text.bytes().all(allowed) {
            return Err(InvalidSecretId { length: text.chars().count() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for SecretId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for SecretId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through Zeroizing, since a mistaken document may hold the secret here.
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a value cannot be a client secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// The value has no characters.
    Empty,
    /// The value is longer than 4096 bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The value holds a control character (RFC 6749 appendix A.2 allows `%x20-7E`); most often the
    /// line end of a file.
    ControlCharacter {
        /// The byte offset of the first one.
        position: usize,
    },
    /// The value is not UTF-8.
    NotUtf8 {
        /// The byte offset of the first byte that is not.
        position: usize,
    },
}

impl fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the client secret is empty"),
            Self::TooLong { length } => write!(
                f,
                "the client secret is {length} bytes long; the longest that is taken is {MAX_SECRET_LENGTH}"
            ),
            Self::ControlCharacter { position } => write!(
                f,
                "the client secret holds a control character at byte {position}; \
                 remove line ends and tabs from where it comes from"
            ),
            Self::NotUtf8 { position } => {
                write!(f, "the client secret is not UTF-8 text from byte {position} on")
            }
        }
    }
}

impl Error for InvalidSecret {}

/// The text is not a [`SecretId`]: it is empty, longer than 64 characters, or holds something other
/// than `[A-Za-z0-9._-]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidSecretId {
    length: usize,
}

impl fmt::Display for InvalidSecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a secret id is 1 to {MAX_ID_LENGTH} characters of [A-Za-z0-9._-]; \
             this text of {} characters is not one",
            self.length
        )
    }
}

impl Error for InvalidSecretId {}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "Vq3hCc0Zc1JxZ9";

    fn id(text: &str) -> SecretId {
        text.parse().unwrap()
    }

    #[test]
    fn debug_shows_the_id_and_never_the_value() {
        let secret = Secret::new(id("billing"), VALUE).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(billing)");
        assert!(!format!("{:#?}", Some(&secret)).contains(VALUE));
    }

    #[test]
    fn equality_is_of_values_and_ignores_ids() {
        let one = Secret::new(id("one"), VALUE).unwrap();
        let other = Secret::new(id("other"), VALUE).unwrap();
        assert_eq!(one, other);
        assert_ne!(one, Secret::new(id("one"), "Vq3hCc0Zc1JxZ8").unwrap());
        assert_ne!(one, Secret::new(id("one"), "Vq3hCc0Zc1JxZ").unwrap());
    }

    #[test]
    fn a_refused_value_is_named_by_its_fault_and_not_repeated() {
        let refuse = |value: &str| Secret::new(id("a"), value).unwrap_err();
        assert_eq!(refuse(""), InvalidSecret::Empty);
        assert_eq!(refuse(&"x".repeat(4097)), InvalidSecret::TooLong { length: 4097 });
        assert_eq!(refuse("secret\n"), InvalidSecret::ControlCharacter { position: 6 });
        assert_eq!(refuse("a\u{85}"), InvalidSecret::ControlCharacter { position: 1 });
        assert!(!refuse("hunter2\n").to_string().contains("hunter2"));
        let error = Secret::from_bytes(id("a"), b"ab\xff".to_vec()).unwrap_err();
        assert_eq!(error, InvalidSecret::NotUtf8 { position: 2 });
    }

    #[test]
    fn the_longest_value_and_every_printable_character_are_taken_as_they_are() {
        let printable: String = (' '..='~').collect();
        assert_eq!(Secret::new(id("a"), printable.clone()).unwrap().expose(), printable);
        let longest = "x".repeat(4096);
        assert_eq!(Secret::new(id("a"), longest.clone()).unwrap().expose(), longest);
    }

    #[test]
    fn an_id_with_a_space_or_of_65_characters_is_refused_without_repeating_it() {
        for text in ["", "a b", "ä", &"x".repeat(65), "hunter2/"] {
            let error = text.parse::<SecretId>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!("x".repeat(64).parse::<SecretId>().is_ok());
    }

    #[test]
    fn random_ids_differ() {
        let mut source = rand::rngs::SysRng;
        let one = SecretId::random(&mut source).unwrap();
        assert_ne!(one, SecretId::random(&mut source).unwrap());
        assert_eq!(one.as_str().len(), 18);
    }
}
