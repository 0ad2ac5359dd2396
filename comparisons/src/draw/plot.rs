//! The plot: a row for each server, a column for each shape, and in each cell the cost of a message
//! by bare epoll's. The colour says at a glance what the number says exactly.

use super::html::Text;
use crate::results::Results;
use crate::servers::{self, BARE};
use crate::shapes::{SHAPES, Shape};

const NAME: usize = 218;
const WIDTH: usize = 78;
const HEIGHT: usize = 32;
const TOP: usize = 108;
const BOTTOM: usize = 62;

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    Ratio(f64),
    /// It was tried, and did not work or the null did not hold.
    Failed,
    Nothing,
}

/// A server's row.
struct Row<'a> {
    name: &'a str,
    cells: Vec<Cell>,
}

/// Whether a server is one of ours, which stand first.
fn is_ours(name: &str) -> bool {
    servers::find(name).is_ok_and(|server| server.is_ours())
}

fn cell(results: &Results, name: &str, shape: &Shape) -> Cell {
    let found = results
        .pairs
        .iter()
        .find(|pair| pair.of == name && pair.against == BARE && pair.shape == shape.name);
    match found {
        None => Cell::Nothing,
        Some(pair) => pair.valid_ratio().map_or(Cell::Failed, |ratio| Cell::Ratio(ratio.median)),
    }
}

fn rows<'a>(results: &'a Results, shapes: &[&Shape]) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = results
        .servers
        .iter()
        .map(|server| {
            let cells = shapes.iter().map(|shape| cell(results, &server.name, shape)).collect();
            Row { name: &server.name, cells }
        })
        .filter(|row| row.cells.iter().any(|cell| *cell != Cell::Nothing))
        .collect();
    // The cheaper a server is, by the mean of its logarithms, the higher it stands.
    let mean = |row: &Row<'_>| {
        let logs: Vec<f64> = row
            .cells
            .iter()
            .filter_map(|cell| match cell {
                Cell::Ratio(ratio) => Some(ratio.ln()),
                _ => None,
            })
            .collect();
        if logs.is_empty() { f64::MAX } else { logs.iter().sum::<f64>() / logs.len() as f64 }
    };
    rows.sort_by(|one, other| {
        let key = |row: &Row<'_>| (!is_ours(row.name), mean(row));
        let ((one_ours, one_mean), (other_ours, other_mean)) = (key(one), key(other));
        one_ours.cmp(&other_ours).then(one_mean.total_cmp(&other_mean))
    });
    rows
}

/// The colour of a ratio: blue below 1, white at 1, through orange to red at twice and more.
fn colour(ratio: f64) -> [u8; 3] {
    const BELOW: [f64; 3] = [33.0, 102.0, 172.0];
    const AT: [f64; 3] = [247.0, 247.0, 247.0];
    const ABOVE: [f64; 3] = [244.0, 150.0, 80.0];
    const FAR: [f64; 3] = [178.0, 24.0, 43.0];
    let mix = |from: [f64; 3], to: [f64; 3], part: f64| {
        let part = part.clamp(0.0, 1.0);
        std::array::from_fn(|index| level(from[index] + (to[index] - from[index]) * part))
    };
    let log = ratio.log2();
    if log < 0.0 {
        // All blue at 0.6.
        mix(AT, BELOW, log / 0.6_f64.log2())
    } else {
        // All orange at 1.25, all red at 2.
        let half = 1.25_f64.log2();
        if log < half {
            mix(AT, ABOVE, log / half)
        } else {
            mix(ABOVE, FAR, (log - half) / (1.0 - half))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped to what fits"
)]
fn level(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Black or white, whichever can be read on it.
fn ink([red, green, blue]: [u8; 3]) -> &'static str {
    let light = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
    if light > 140.0 { "#111" } else { "#fff" }
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// The whole plot.
pub(super) fn svg(results: &Results) -> String {
    let shapes: Vec<&Shape> = SHAPES
        .iter()
        .filter(|shape| results.pairs.iter().any(|pair| pair.shape == shape.name))
        .collect();
    let rows = rows(results, &shapes);
    let width = NAME + WIDTH * shapes.len().max(6) + 16;
    let height = TOP + HEIGHT * rows.len() + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif\" font-size=\"15\">\n\
         <title>Processor time by that of bare epoll in C</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"28\" font-size=\"18\" font-weight=\"600\" fill=\"#111\">Processor time \
         for each message, by that of bare epoll in C (1.00)</text>\n"
    );
    for (column, shape) in shapes.iter().enumerate() {
        let (first, second) = shape.name.split_once('-').unwrap_or((shape.name, ""));
        let x = NAME + WIDTH * column + WIDTH / 2;
        for (line, text) in [first, second].iter().enumerate() {
            let y = TOP - 30 + 19 * line;
            svg.push_str(&format!(
                "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#333\">{}</text>\n",
                Text(text)
            ));
        }
    }
    for (index, row) in rows.iter().enumerate() {
        draw_row(&mut svg, TOP + HEIGHT * index, row);
    }
    draw_key(&mut svg, TOP + HEIGHT * rows.len() + 22);
    svg.push_str("</svg>\n");
    svg
}

fn draw_row(svg: &mut String, y: usize, row: &Row<'_>) {
    let middle = y + HEIGHT / 2 + 5;
    let weight = if is_ours(row.name) { 600 } else { 400 };
    svg.push_str(&format!(
        "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" font-weight=\"{weight}\" fill=\"#111\">{}\
         </text>\n",
        NAME - 12,
        Text(row.name)
    ));
    for (column, cell) in row.cells.iter().enumerate() {
        let x = NAME + WIDTH * column;
        let (text, fill, ink) = match cell {
            Cell::Ratio(ratio) => {
                let fill = colour(*ratio);
                (format!("{ratio:.2}"), hex(fill), ink(fill))
            }
            Cell::Failed => ("✗".to_owned(), "#e3e3e3".to_owned(), "#555"),
            Cell::Nothing => ("–".to_owned(), "#fff".to_owned(), "#999"),
        };
        draw_cell(svg, x, y, &text, &fill, ink);
    }
}

fn draw_cell(svg: &mut String, x: usize, y: usize, text: &str, fill: &str, ink: &str) {
    svg.push_str(&format!(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\" fill=\"{fill}\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{ink}\">{text}</text>\n",
        x + 1,
        y + 1,
        WIDTH - 2,
        HEIGHT - 2,
        x + WIDTH / 2,
        y + HEIGHT / 2 + 5,
    ));
}

/// What the colours mean.
fn draw_key(svg: &mut String, y: usize) {
    svg.push_str(&format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">cheaper to dearer</text>\n",
        NAME - 12,
        y + HEIGHT / 2 + 5
    ));
    for (index, ratio) in [0.6, 0.8, 1.0, 1.1, 1.25, 1.5, 2.0].iter().enumerate() {
        let fill = colour(*ratio);
        draw_cell(svg, NAME + WIDTH * index, y, &format!("{ratio:.2}"), &hex(fill), ink(fill));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_run_from_blue_over_white_to_red() {
        assert_eq!(colour(1.0), [247, 247, 247]);
        assert_eq!(colour(0.6), colour(0.3));
        assert_eq!(colour(2.0), colour(9.0));
        let (below, above) = (colour(0.7), colour(1.6));
        assert!(below[2] > below[0] && above[0] > above[2]);
        // Two per cent can't be mistaken for nothing, nor for much.
        assert_ne!(colour(1.02), colour(1.0));
        assert_eq!(ink(colour(1.0)), "#111");
        assert_eq!(ink(colour(2.0)), "#fff");
    }

    #[test]
    fn a_plot_without_figures_is_a_plot() {
        let svg = svg(&Results::new());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
