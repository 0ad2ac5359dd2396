//! The document as a page that needs nothing besides itself.

use super::block::Block;
use super::html::Text;

const STYLE: &str = include_str!("style.css");

/// The page, with the plot in it.
pub(super) fn page(blocks: &[Block], plot: &str) -> String {
    let mut body = String::new();
    for block in blocks {
        match block {
            Block::Heading(level, title) => {
                body.push_str(&format!("<h{level}>{}</h{level}>\n", inline(title)));
            }
            Block::Paragraph(text) => body.push_str(&format!("<p>{}</p>\n", inline(text))),
            Block::List(items) => {
                body.push_str("<ul>\n");
                for item in items {
                    body.push_str(&format!("<li>{}</li>\n", inline(item)));
                }
                body.push_str("</ul>\n");
            }
            Block::Table(rows) => body.push_str(&table(rows)),
            Block::Plot => body.push_str(&format!("<figure>{plot}</figure>\n")),
        }
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>edgeloop and its peers</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         {body}</body>\n</html>\n"
    )
}

fn table(rows: &[Vec<String>]) -> String {
    let mut text = "<div class=\"wide\"><table>\n".to_owned();
    for (index, row) in rows.iter().enumerate() {
        let is_head = index == 0;
        text.push_str(if is_head { "<thead><tr>" } else { "<tr>" });
        for (at, cell) in row.iter().enumerate() {
            let name = if is_head || at == 0 { "th" } else { "td" };
            let class = match cell.as_str() {
                "met" => " class=\"good\"",
                "missed" | "missed within the interval" => " class=\"bad\"",
                _ => "",
            };
            text.push_str(&format!("<{name}{class}>{}</{name}>", inline(cell)));
        }
        text.push_str(if is_head { "</tr></thead>\n" } else { "</tr>\n" });
    }
    text.push_str("</table></div>\n");
    text
}

/// A text, with what stands in backticks as code.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = Text(part);
        if index % 2 == 1 {
            html.push_str(&format!("<code>{part}</code>"));
        } else {
            html.push_str(&part.to_string());
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::super::block::{heading, row};
    use super::*;

    #[test]
    fn texts_stay_texts() {
        let hostile = "</td><script>`x` & \"y\"";
        let page = page(&[heading(1, hostile), Block::Table(vec![row(["a", hostile])])], "<svg/>");
        assert!(!page.contains("<script>") && page.contains("<code>x</code> &amp; &quot;y"));
    }

    #[test]
    fn a_page_needs_nothing_besides() {
        let page = page(&[Block::Plot], "<svg/>");
        assert!(page.contains("<svg/>"));
        assert!(!page.contains("http://") && !page.contains("https://"));
    }
}
