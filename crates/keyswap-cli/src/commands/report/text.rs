//! What is written into a page or a picture: nothing of it is ever markup.

use std::fmt;

/// A text of somebody else, so that it shows as it is and does nothing else, in HTML and in XML, as text and
/// within quotes.
pub(super) struct Escaped<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.to_string().chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_str(" ")?,
                // What XML has no way to write, and what would turn the direction of what stands behind it.
                '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                    f.write_str("\u{fffd}")?;
                }
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    f.write_str("\u{fffd}")?;
                }
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_quotes_and_letters_that_turn_a_line_around_are_no_more_than_text() {
        let hostile = "<script>alert(\"1\")</script>&amp;' a\u{202e}b\0c\n";
        let shown = Escaped(hostile).to_string();
        let expected =
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;amp;&#39; a\u{fffd}b\u{fffd}c ";
        assert_eq!(shown, expected);
    }
}
