//! The results as a reader gets them: one document, drawn for terminals, for Markdown, and as a
//! page.

mod block;
mod document;
/// The tool's own, so that both kinds of pages are written alike.
#[path = "../../../crates/edgeloop-cli/src/report/html.rs"]
#[allow(dead_code, reason = "a page of figures has no commands in it")]
mod html;
mod in_turn;
mod markdown;
mod page;
mod plot;
mod servers;
mod transport;

use std::io;
use std::path::{Path, PathBuf};

use peers::Transport;

use crate::failure::named;
use crate::results::{self, Results};
use crate::transports::{self, OTHERS};

/// Why a peer is ahead where it is, written by hand; a new run keeps it.
const NOTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/notes.md");

fn notes() -> String {
    // Without the tree that it was built in, the program still has its figures to show.
    std::fs::read_to_string(NOTES).unwrap_or_default()
}

fn document(results: &Results) -> Vec<block::Block> {
    document::document(results, others(results), &notes())
}

/// The results for a terminal.
pub(crate) fn text(results: &Results) -> String {
    let mut figures = document::figures(results);
    figures.extend(others(results));
    block::text(&figures)
}

/// The sections on the transports other than TCP.
fn others(results: &Results) -> Vec<block::Block> {
    OTHERS.iter().flat_map(|other| transport::blocks(*other, results)).collect()
}

/// The section on this transport, for a terminal.
pub(crate) fn over_text(transport: Transport, results: &Results) -> String {
    block::text(&transport::blocks(transport, results))
}

/// Writes the files that were asked for.
pub(crate) fn write(
    results: &Results,
    markdown: Option<&PathBuf>,
    report: Option<&PathBuf>,
) -> io::Result<()> {
    let plot = plot::svg(&transports::part(results, Transport::Tcp));
    if let Some(path) = markdown {
        let image = path.with_file_name(PLOT);
        results::write(path, &markdown::markdown(&document(results), PLOT))?;
        results::write(&image, &plot)?;
    }
    if let Some(path) = report {
        results::write(path, &page::page(&document(results), &plot))?;
    }
    Ok(())
}

/// What the examples came to, for a terminal.
pub(crate) fn servers_text(results: &Results) -> String {
    block::text(&servers::figures(results))
}

/// Writes the document of the examples.
pub(crate) fn write_servers(results: &Results, path: &Path) -> io::Result<()> {
    results::write(path, &markdown::markdown(&servers::document(results), PLOT))
}

/// Draws the section on this transport anew in a document, and the notes. The rest stays as it is.
///
/// # Errors
///
/// When the file can't be read or written, or nothing was measured.
pub(crate) fn write_over(transport: Transport, results: &Results, path: &Path) -> io::Result<()> {
    let text = std::fs::read_to_string(path).map_err(|error| named(path.display(), &error))?;
    let blocks = transport::blocks(transport, results);
    if blocks.is_empty() {
        return Err(io::Error::other(format!("nothing was measured over {transport}")));
    }
    let section = markdown::markdown(&blocks, PLOT);
    let title = transport.to_string();
    let behind = OTHERS.iter().skip_while(|other| **other != transport).skip(1);
    let mut next: Vec<_> = behind.map(Transport::to_string).collect();
    next.push(document::NOTES.to_owned());
    let text = markdown::with_section(&text, &title, &next, &section);
    let notes = markdown::markdown(&document::notes(&notes()), PLOT);
    let method = document::METHOD.to_owned();
    let text = markdown::with_section(&text, document::NOTES, &[method], &notes);
    results::write(path, &text)
}

/// The plot's file, beside the document.
const PLOT: &str = "performance.svg";

/// Finds out before a long run whether its files can be written at its end.
pub(crate) fn check_writable(paths: &[Option<&PathBuf>]) -> Result<(), String> {
    for path in paths.iter().copied().flatten() {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !directory.is_dir() || path.is_dir() {
            return Err(format!("{} cannot be written", path.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_no_directory_is_refused_before_the_run() {
        let nowhere = PathBuf::from("/nonexistent/figures.json");
        let refused = check_writable(&[None, Some(&nowhere)]).expect_err("no such directory");
        assert!(refused.contains("/nonexistent/figures.json"), "{refused}");
        assert_eq!(check_writable(&[Some(&std::env::temp_dir().join("a.json"))]), Ok(()));
    }
}
