//! A chart: SVG that fills whatever room there is, with its labels beside it as text.
//!
//! The drawing is stretched to its box, and lines keep their width (`vector-effect`). Labels are
//! HTML that is placed in percent, so that letters keep their size on a phone, where a scaled
//! drawing would make them too small to read.

use std::fmt::{self, Write};

use super::axis::{Axis, Tick};
use super::html::Text;

/// The drawing's own unit: it is so many wide and high.
const SIDE: f64 = 1000.0;

/// A chart.
pub(super) struct Chart<'a> {
    /// What is seen on it, for those who don't see it.
    pub(super) description: &'a str,
    pub(super) x: &'a Axis,
    pub(super) y: &'a Axis,
    /// From back to front.
    pub(super) layers: Vec<Layer>,
    /// What is told of a part of the x axis where one points at it: from, to, and the text.
    pub(super) notes: Vec<(f64, f64, String)>,
}

/// Something to see on a chart. Places are the values of the axes; how it looks is the class's.
pub(super) enum Layer {
    /// A line through points, with gaps.
    Line { class: &'static str, points: Vec<Option<(f64, f64)>> },
    /// Rectangles: from x and y, to x and y.
    Boxes { class: String, boxes: Vec<[f64; 4]> },
    /// A line across, at a value of the y axis.
    Across { class: &'static str, y: f64 },
}

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<div class=\"plot\">\n")?;
        labels(f, "y", "bottom", &self.y.ticks)?;
        writeln!(
            f,
            "<svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{}\">",
            Text(self.description)
        )?;
        self.grid(f)?;
        for layer in &self.layers {
            self.layer(f, layer)?;
        }
        for (from, to, note) in &self.notes {
            let (from, to) = (self.across(*from), self.across(*to));
            let width = Number(to - from);
            writeln!(
                f,
                "<rect class=\"note\" x=\"{}\" y=\"0\" width=\"{width}\" height=\"{SIDE}\">\
                 <title>{}</title></rect>",
                Number(from),
                Text(note)
            )?;
        }
        f.write_str("</svg>\n")?;
        labels(f, "x", "left", &self.x.ticks)?;
        f.write_str("</div>\n")
    }
}

impl Chart<'_> {
    fn across(&self, x: f64) -> f64 {
        self.x.at(x).clamp(0.0, 1.0) * SIDE
    }

    fn down(&self, y: f64) -> f64 {
        (1.0 - self.y.at(y).clamp(0.0, 1.0)) * SIDE
    }

    fn grid(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::new();
        for tick in &self.y.ticks {
            write!(path, "M0 {}H{SIDE}", Number((1.0 - tick.at) * SIDE))?;
        }
        for tick in &self.x.ticks {
            write!(path, "M{} 0V{SIDE}", Number(tick.at * SIDE))?;
        }
        writeln!(f, "<path class=\"grid\" d=\"{path}\"/>")
    }

    fn layer(&self, f: &mut fmt::Formatter<'_>, layer: &Layer) -> fmt::Result {
        let mut path = String::new();
        let class = match layer {
            Layer::Line { class, points } => {
                self.line(&mut path, points)?;
                class
            }
            Layer::Boxes { class, boxes } => {
                for [left, bottom, right, top] in boxes {
                    // Edges and not widths, so that neighbours round alike and leave no seam.
                    let (left, right) = (Number(self.across(*left)), Number(self.across(*right)));
                    let (bottom, top) = (Number(self.down(*bottom)), Number(self.down(*top)));
                    write!(path, "M{left} {top}H{right}V{bottom}H{left}z")?;
                }
                class.as_str()
            }
            Layer::Across { class, y } => {
                write!(path, "M0 {}H{SIDE}", Number(self.down(*y)))?;
                class
            }
        };
        if path.is_empty() { Ok(()) } else { writeln!(f, "<path class=\"{class}\" d=\"{path}\"/>") }
    }

    fn line(&self, path: &mut String, points: &[Option<(f64, f64)>]) -> fmt::Result {
        let mut drawing = false;
        for (index, point) in points.iter().enumerate() {
            if let Some((x, y)) = point {
                let (x, y) = (Number(self.across(*x)), Number(self.down(*y)));
                write!(path, "{}{x} {y}", if drawing { 'L' } else { 'M' })?;
                // A point alone is a line of no length, which round ends make visible.
                if !drawing && points.get(index + 1).copied().flatten().is_none() {
                    path.push_str("h0");
                }
            }
            drawing = point.is_some();
        }
        Ok(())
    }
}

/// A number with a digit behind the point, if it needs one.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 10.0).round() / 10.0;
        // Without the sign of a zero.
        write!(f, "{}", rounded + 0.0)
    }
}

fn labels(f: &mut fmt::Formatter<'_>, axis: &str, side: &str, ticks: &[Tick]) -> fmt::Result {
    write!(f, "<div class=\"{axis}\" aria-hidden=\"true\">")?;
    for tick in ticks {
        let minor = if tick.minor { " class=\"minor\"" } else { "" };
        let place = Number(tick.at * 100.0);
        write!(f, "<span{minor} style=\"{side}:{place}%\">{}</span>", Text(&tick.label))?;
    }
    f.write_str("</div>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(layers: Vec<Layer>, notes: Vec<(f64, f64, String)>) -> String {
        let axis = Axis::from_zero(4.0, |value| value.to_string());
        let chart = Chart { description: "a \"chart\"", x: &axis, y: &axis, layers, notes };
        chart.to_string()
    }

    #[test]
    fn a_line_has_gaps_and_lone_points() {
        let points = vec![Some((0.0, 0.0)), Some((1.0, 4.0)), None, Some((4.0, 9.0)), None];
        let drawn = drawn(vec![Layer::Line { class: "one", points }], Vec::new());
        let path = "<path class=\"one\" d=\"M0 1000L250 0M1000 0h0\"/>";
        assert!(drawn.contains(path), "{drawn}");
    }

    #[test]
    fn boxes_and_lines_across_lie_where_the_axes_say() {
        let boxes = Layer::Boxes { class: "b".to_owned(), boxes: vec![[1.0, 0.0, 2.0, 3.0]] };
        let across = Layer::Across { class: "a", y: 1.0 };
        let none = Layer::Line { class: "none", points: vec![None] };
        let drawn = drawn(vec![boxes, across, none], Vec::new());
        assert!(drawn.contains("<path class=\"b\" d=\"M250 250H500V1000H250z\"/>"), "{drawn}");
        assert!(drawn.contains("<path class=\"a\" d=\"M0 750H1000\"/>"), "{drawn}");
        assert!(!drawn.contains("none\" d="), "{drawn}");
    }

    #[test]
    fn labels_are_placed_in_percent_and_texts_stay_texts() {
        let drawn = drawn(Vec::new(), vec![(0.0, 1.0, "<b> & 5 µs".to_owned())]);
        assert!(drawn.contains("<span style=\"left:25%\">1</span>"), "{drawn}");
        assert!(drawn.contains("<span style=\"bottom:100%\">4</span>"), "{drawn}");
        assert!(drawn.contains("<title>&lt;b&gt; &amp; 5 µs</title>"), "{drawn}");
        assert!(drawn.contains("aria-label=\"a &quot;chart&quot;\""), "{drawn}");
    }
}
