//! What a document is made of, so that no form of it can say something else than the others.

use crate::show;

/// A piece of a document. Texts may hold `code` in backticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// A heading, of a level from 1.
    Heading(usize, String),
    Paragraph(String),
    List(Vec<String>),
    /// The first row is the head; the first column names the row.
    Table(Vec<Vec<String>>),
    /// Where the plot stands.
    Plot,
}

pub(super) fn heading(level: usize, text: impl Into<String>) -> Block {
    Block::Heading(level, text.into())
}

pub(super) fn paragraph(text: impl Into<String>) -> Block {
    Block::Paragraph(text.into())
}

/// A row of a table.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

/// Reads the Markdown that notes are written in: headings, paragraphs, lists with hyphens, tables.
pub(super) fn parse(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    // Pieces are separated by blank lines; a heading may also stand right above its text.
    for piece in markdown.split("\n\n") {
        let mut lines = piece.lines().filter(|line| !line.trim().is_empty()).peekable();
        while let Some(line) = lines.next_if(|line| line.starts_with('#')) {
            let text = line.trim_start_matches('#');
            blocks.push(heading(line.len() - text.len(), text.trim()));
        }
        let rest: Vec<&str> = lines.collect();
        match rest.first() {
            None => {}
            Some(first) if first.starts_with("- ") => blocks.push(Block::List(items(&rest))),
            Some(first) if first.starts_with('|') => blocks.push(Block::Table(rows(&rest))),
            Some(_) => blocks.push(paragraph(rest.join(" "))),
        }
    }
    blocks
}

fn items(lines: &[&str]) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in lines {
        match (line.strip_prefix("- "), items.last_mut()) {
            (Some(item), _) => items.push(item.to_owned()),
            (None, Some(item)) => {
                item.push(' ');
                item.push_str(line.trim());
            }
            (None, None) => {}
        }
    }
    items
}

fn rows(lines: &[&str]) -> Vec<Vec<String>> {
    let is_rule = |line: &&&str| line.chars().all(|c| "|-: ".contains(c));
    let cells = |line: &&str| {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    lines.iter().filter(|line| !is_rule(line)).map(cells).collect()
}

/// For a terminal.
pub(super) fn text(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        match block {
            Block::Heading(_, title) => text.push_str(&format!("\n{title}\n\n")),
            Block::Paragraph(paragraph) => text.push_str(&format!("{paragraph}\n\n")),
            Block::List(items) => {
                for item in items {
                    text.push_str(&format!("- {item}\n"));
                }
                text.push('\n');
            }
            Block::Table(rows) => text.push_str(&format!("{}\n", show::table(rows))),
            Block::Plot => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_meant() {
        let notes = "## Why\nBecause\nof it.\n\n- one\n  thing\n- another\n\n\
                     | a | b |\n|---|---:|\n| 1 | 2 |\n";
        let expected = [
            heading(2, "Why"),
            paragraph("Because of it."),
            Block::List(vec!["one thing".to_owned(), "another".to_owned()]),
            Block::Table(vec![row(["a", "b"]), row(["1", "2"])]),
        ];
        assert_eq!(parse(notes), expected);
        assert_eq!(parse("\n\n"), []);
    }

    #[test]
    fn a_terminal_gets_everything_but_the_plot() {
        let blocks = [heading(2, "T"), Block::Plot, Block::Table(vec![row(["a", "b"])])];
        assert_eq!(text(&blocks), "\nT\n\na  b\n\n");
    }
}
