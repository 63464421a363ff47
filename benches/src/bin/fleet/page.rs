//! The tables, and the page that holds them.

use std::path::Path;

use crate::Outcome;

/// One table under its name.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    lines: Vec<String>,
}

impl Table {
    pub(crate) fn new(name: impl Into<String>, columns: &[&str]) -> Self {
        let rule = columns.iter().map(|_| "---").collect::<Vec<_>>();
        let mut table = Self { name: name.into(), lines: Vec::new() };
        table.row(columns);
        table.row(&rule);
        table
    }

    pub(crate) fn row(&mut self, cells: &[impl AsRef<str>]) {
        let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
        self.lines.push(format!("| {} |", cells.join(" | ")));
    }

    fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Writes the tables to standard output, or in place of those of the same names in a page.
pub(crate) fn put(tables: &[Table], into: Option<&str>) -> Outcome<()> {
    for table in tables {
        println!("\n{}:\n\n{}", table.name, table.text());
    }
    let Some(path) = into.map(Path::new) else { return Ok(()) };
    let mut page = std::fs::read_to_string(path)?;
    let mut placed = 0;
    for table in tables {
        if let Some(with_it) = replace(&page, table) {
            page = with_it;
            placed += 1;
        }
    }
    if placed == 0 {
        let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
        return Err(format!("{} has no place for {}", path.display(), names.join(", ")).into());
    }
    std::fs::write(path, page)?;
    Ok(())
}

/// A table stands between `<!-- fleet: NAME -->` and `<!-- end -->`. Nothing if the page does not want it.
fn replace(page: &str, table: &Table) -> Option<String> {
    let begin = format!("<!-- fleet: {} -->\n", table.name);
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once("\n<!-- end -->")?;
    Some(format!("{before}{begin}\n{}\n<!-- end -->{after}", table.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n<!-- fleet: one -->\n\nold\n\n<!-- end -->\nB\n<!-- fleet: two -->\n\nx\n\n<!-- end -->\n";

    #[test]
    fn a_table_takes_the_place_of_the_one_of_its_name_and_leaves_the_rest_alone() {
        let mut table = Table::new("one", &["a", "b"]);
        table.row(&["1", "2"]);
        let page = replace(PAGE, &table).unwrap();
        assert_eq!(page, PAGE.replace("old", "| a | b |\n| --- | --- |\n| 1 | 2 |"));
        assert_eq!(replace(&page, &table).unwrap(), page);
        assert_eq!(replace(PAGE, &Table::new("three", &["a"])), None, "nobody wants it");
    }

    /// The tables of the page have the columns that they would be written with today.
    #[test]
    fn the_page_holds_no_table_of_an_earlier_kind() {
        let page = include_str!("../../../../docs/scale.md");
        let places: Vec<_> = page.split("<!-- fleet: ").skip(1).collect();
        assert!(places.len() > 5, "{places:?}");
        for place in places {
            let (name, rest) = place.split_once(" -->\n\n").unwrap();
            let kind = name.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
            let kind = match kind.strip_prefix("etcd ") {
                Some(kind) => kind.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()),
                None => kind,
            };
            let columns = match kind {
                "file" => crate::file::COLUMNS,
                "adopted" => crate::etcd::ADOPTED,
                "a second" => crate::etcd::A_SECOND,
                "memory" => crate::etcd::MEMORY,
                "costs" => crate::etcd::COSTS,
                "simulated" => crate::etcd::SIMULATED,
                "reports" => crate::reports::COLUMNS,
                _ => panic!("nothing writes {name:?}"),
            };
            let (table, _) = rest.split_once("\n\n<!-- end -->").unwrap();
            let expected = Table::new(name, columns).text();
            assert!(table.starts_with(&expected), "{name}: {table}");
            assert!(table.lines().count() > 2, "{name} has no row");
        }
    }
}
