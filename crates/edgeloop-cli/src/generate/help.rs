//! What stands below the options in a long help, taken apart: paragraphs and tables.

/// The text below the options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Help {
    /// Paragraphs that belong to no table.
    pub(super) paragraphs: Vec<String>,
    pub(super) tables: Vec<Table>,
}

/// A table: a line that ends with a colon, and rows that begin with two blanks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Its heading, without the colon.
    pub(super) heading: String,
    /// What stands on the left of each row, and the rest of it.
    pub(super) rows: Vec<(String, String)>,
    /// A last line that is no row.
    pub(super) note: Option<String>,
}

impl Help {
    pub(super) fn parse(text: &str) -> Self {
        let mut help = Self::default();
        for block in text.split("\n\n") {
            match block.split_once(":\n  ") {
                Some((heading, _)) if !heading.contains('\n') => help.tables.push(table(block)),
                _ => help.paragraphs.push(joined(block)),
            }
        }
        help
    }
}

fn table(block: &str) -> Table {
    let mut table = Table::default();
    for line in block.lines() {
        let indent = line.len() - line.trim_start().len();
        match (indent, table.rows.last_mut()) {
            (0, None) => table.heading = line.trim_end_matches(':').to_owned(),
            (0, Some(_)) => table.note = Some(line.to_owned()),
            (2, _) => {
                let (key, meaning) =
                    line.trim_start().split_once("  ").unwrap_or((line.trim(), ""));
                table.rows.push((key.to_owned(), meaning.trim().to_owned()));
            }
            (_, Some((_, meaning))) => *meaning = joined(&format!("{meaning} {}", line.trim())),
            (_, None) => {}
        }
    }
    table
}

/// The words of a text in one line.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_tables_and_notes_are_told_apart() {
        let text = "One\nparagraph.\n\nCodes:\n  0    Done\n  1    Half done,\n       to be honest\n  \
                    A, B, C\n       All three\nIf several apply: 1.\n\nAnother: with a colon.";
        let help = Help::parse(text);
        assert_eq!(help.paragraphs, ["One paragraph.", "Another: with a colon."]);
        let rows = [("0", "Done"), ("1", "Half done, to be honest"), ("A, B, C", "All three")];
        let rows = rows.map(|(key, meaning)| (key.to_owned(), meaning.to_owned())).to_vec();
        let note = Some("If several apply: 1.".to_owned());
        assert_eq!(help.tables, [Table { heading: "Codes".to_owned(), rows, note }]);
    }
}
