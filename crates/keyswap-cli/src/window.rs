//! What a command writes to: how wide it is, and whether it shows colours and more than ASCII.

use std::ffi::OsStr;
use std::io::IsTerminal;

use indicatif::ProgressStyle;

const NARROWEST: usize = 40;
const WIDEST: usize = 100;

/// The columns of the terminal on standard output, if it is one.
pub(crate) fn window() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(&stdout).map_or(80, |size| size.ws_col.into());
    // One that does not know says 0.
    Some(if columns == 0 { 80 } else { columns.max(NARROWEST) })
}

/// How wide a text may be on standard output that is broken in any case.
pub(crate) fn width() -> usize {
    window().map_or(WIDEST, |columns| columns.min(WIDEST))
}

/// Whether this end shows colours: a terminal that can, of somebody who did not ask for none.
pub(crate) fn shows_colours(end: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name);
    end.is_terminal() && wants_colours(set("NO_COLOR").as_deref(), set("TERM").as_deref())
}

/// <https://no-color.org>: set to whatever is not empty.
fn wants_colours(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

/// Whether the locale can show more than ASCII.
pub(crate) fn speaks_utf8() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// An empty table, with lines that the locale can show.
pub(crate) fn table(in_utf8: bool) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(match in_utf8 {
        true => comfy_table::presets::UTF8_HORIZONTAL_ONLY,
        false => comfy_table::presets::ASCII_HORIZONTAL_ONLY,
    });
    table
}

/// A live line of this form, which turns in the characters that the locale can show.
pub(crate) fn progress_style(template: &str) -> ProgressStyle {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    match speaks_utf8() {
        true => style,
        false => style.tick_chars("|/-\\ "),
    }
}

/// A table where it fits the window, and a [list](listed) where it does not. What is no window takes any width.
pub(crate) fn rows<const N: usize>(
    header: &[&str; N],
    rows: &[[String; N]],
    window: Option<usize>,
    in_utf8: bool,
) -> String {
    let mut table = table(in_utf8);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let table = table.to_string();
    match window {
        Some(columns) if table.lines().any(|line| console::measure_text_width(line) > columns) => {
            listed(header, rows, columns)
        }
        _ => format!("{table}\n"),
    }
}

/// The first cell of each row, and under it the others with their names.
pub(crate) fn listed<const N: usize>(
    header: &[&str; N],
    rows: &[[String; N]],
    width: usize,
) -> String {
    let mut text = String::new();
    for row in rows {
        paragraph(&mut text, 0, row.first().map_or("", String::as_str), width);
        let cells = header.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty());
        for (name, cell) in cells {
            let mut lines = cell.lines();
            let first = lines.next().unwrap_or_default();
            paragraph(&mut text, 2, &format!("{name}: {first}"), width);
            lines.for_each(|line| paragraph(&mut text, 2, line, width));
        }
    }
    text
}

/// These lines, [broken](paragraph) for the window, without a line end.
pub(crate) fn broken(text: &str) -> String {
    let width = window().unwrap_or(usize::MAX);
    let mut broken = String::new();
    text.lines().for_each(|line| paragraph(&mut broken, 0, line, width));
    broken.pop();
    broken
}

/// A paragraph, broken between words; what follows its first line is two columns further in. A word that is
/// longer than a line stays whole, so that it can be copied.
pub(crate) fn paragraph(text: &mut String, indent: usize, paragraph: &str, width: usize) {
    let mut column = indent;
    text.extend(std::iter::repeat_n(' ', indent));
    for (position, word) in paragraph.split(' ').enumerate() {
        let length = console::measure_text_width(word);
        if position > 0 && column + 1 + length > width {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent + 2));
            column = indent + 2;
        } else if position > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_broken_between_words_and_a_long_word_stays_whole() {
        let mut text = String::new();
        paragraph(&mut text, 1, "one two three https://long.example/path end", 12);
        assert_eq!(text, " one two\n   three\n   https://long.example/path\n   end\n");
    }

    #[test]
    fn rows_are_a_table_where_it_fits_and_a_list_where_it_does_not() {
        let header = ["name", "state", "remarks"];
        let cells = [["a".to_owned(), "done".to_owned(), "first of all\nsecond".to_owned()]];
        let table = rows(&header, &cells, None, false);
        let columns = table.lines().map(str::len).max().unwrap();
        assert!(table.contains(" first of all ") && table.is_ascii(), "{table}");
        assert_eq!(rows(&header, &cells, Some(columns), false), table);
        let list = rows(&header, &cells, Some(columns - 1), false);
        assert_eq!(list, "a\n  state: done\n  remarks: first of all\n  second\n");
        assert_eq!(
            listed(&header, &cells, 16),
            "a\n  state: done\n  remarks: first\n    of all\n  second\n"
        );
        assert!(!rows(&header, &cells, None, true).is_ascii());
    }

    #[test]
    fn no_color_counts_unless_it_is_empty_and_a_dumb_terminal_has_none() {
        let wants = |no_color: Option<&str>, term: Option<&str>| {
            wants_colours(no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(wants(None, Some("xterm")) && wants(Some(""), None));
        assert!(!wants(Some("1"), Some("xterm")) && !wants(Some("0"), None));
        assert!(!wants(None, Some("dumb")));
    }
}
