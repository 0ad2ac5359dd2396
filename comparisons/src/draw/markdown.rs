//! The document as Markdown.

use super::block::Block;

/// The most characters in a line, as in the other documents.
const WIDEST: usize = 100;

/// The document, with the plot in this file beside it.
pub(super) fn markdown(blocks: &[Block], plot: &str) -> String {
    let mut text = String::new();
    for block in blocks {
        match block {
            Block::Heading(level, title) => {
                text.push_str(&format!("{} {title}\n\n", "#".repeat(*level)));
            }
            Block::Paragraph(paragraph) => {
                text.push_str(&format!("{}\n\n", wrapped(paragraph, WIDEST)));
            }
            Block::List(items) => {
                for item in items {
                    let item = wrapped(item, WIDEST - 2).replace('\n', "\n  ");
                    text.push_str(&format!("- {item}\n"));
                }
                text.push('\n');
            }
            Block::Table(rows) => text.push_str(&table(rows)),
            Block::Plot => {
                let what = "Processor time by that of bare epoll, of each server under each shape";
                text.push_str(&format!("![{what}]({plot})\n\n"));
            }
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A document in which this section, from its heading to that of the next one, is a new one. The
/// next is the first of these that there is. Where there was no such section, it stands in front of
/// the next one, or at the end.
pub(super) fn with_section(document: &str, title: &str, next: &[String], section: &str) -> String {
    let find = |title: &str| {
        let line = format!("\n## {title}\n");
        document.find(&line).map(|at| at + 1)
    };
    let end = next.iter().find_map(|next| find(next)).unwrap_or(document.len());
    let begin = find(title).filter(|begin| *begin < end).unwrap_or(end);
    let (before, after) = (document[..begin].trim_end(), &document[end..]);
    let gap = if after.is_empty() { "" } else { "\n" };
    format!("{before}\n\n{section}{gap}{after}")
}

fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if index == 0 {
            let rules = row.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" });
            text.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
        }
    }
    text.push('\n');
    text
}

/// Lines of at most `widest` characters.
fn wrapped(text: &str, widest: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.len() - 1;
        if !lines[line].is_empty() && lines[line].chars().count() + word.chars().count() >= widest {
            lines.push(word.to_owned());
        } else {
            if !lines[line].is_empty() {
                lines[line].push(' ');
            }
            lines[line].push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::block::{heading, paragraph, row};
    use super::*;

    #[test]
    fn every_block_has_its_form() {
        let blocks = [
            heading(1, "P"),
            paragraph("a `b` c"),
            Block::Plot,
            Block::List(vec!["x".to_owned()]),
            Block::Table(vec![row(["n", "v"]), row(["a|b", "1"])]),
        ];
        let expected = "# P\n\na `b` c\n\n![Processor time by that of bare epoll, of each server \
                        under each shape](p.svg)\n\n- x\n\n| n | v |\n|---|---:|\n| a\\|b | 1 |\n";
        assert_eq!(markdown(&blocks, "p.svg"), expected);
    }

    #[test]
    fn a_section_is_drawn_anew_and_nothing_else() {
        let without = "# P\n\na\n\n## Notes\n\nb\n\n### c\n\n## Method\n\nd\n";
        let with = "# P\n\na\n\n## New\n\ne\n\n## Notes\n\nb\n\n### c\n\n## Method\n\nd\n";
        let next = ["Newer", "Notes"].map(str::to_owned);
        assert_eq!(with_section(without, "New", &next, "## New\n\ne\n"), with);
        assert_eq!(with_section(with, "New", &next, "## New\n\ne\n"), with, "again");
        let notes = with_section(with, "Notes", &["Method".to_owned()], "## Notes\n\nf\n");
        assert_eq!(notes, "# P\n\na\n\n## New\n\ne\n\n## Notes\n\nf\n\n## Method\n\nd\n");
        assert_eq!(with_section("# P\n", "New", &next, "## New\n"), "# P\n\n## New\n");
    }

    #[test]
    fn a_section_stays_in_front_of_the_one_that_follows_it() {
        let next = ["Newer", "Notes"].map(str::to_owned);
        let both = "# P\n\n## New\n\na\n\n## Newer\n\nb\n\n## Notes\n\nc\n";
        assert_eq!(with_section(both, "New", &next, "## New\n\na\n"), both);
        let newer = "# P\n\n## Newer\n\nb\n\n## Notes\n\nc\n";
        assert_eq!(with_section(newer, "New", &next, "## New\n\na\n"), both);
        let new = "# P\n\n## New\n\na\n\n## Notes\n\nc\n";
        assert_eq!(with_section(new, "Newer", &next[1..], "## Newer\n\nb\n"), both);
    }

    #[test]
    fn lines_are_not_long() {
        let long = "word ".repeat(100);
        assert!(wrapped(&long, 50).lines().all(|line| line.len() <= 50));
    }
}
