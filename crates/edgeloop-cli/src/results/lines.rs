//! The layout of results in JSON: a line for each figure, and one for each element of a list.

use std::io::{self, Write};

use serde_json::ser::Formatter;

/// Breaks the line behind each member of the outermost object, and behind each element of its
/// lists.
#[derive(Debug, Default)]
pub(super) struct Lines {
    depth: usize,
    /// Whether the list that is written has an element.
    has_element: bool,
}

impl Lines {
    /// Whether what is written now stands directly in the outermost object.
    const fn is_outermost(&self) -> bool {
        self.depth == 1
    }
}

impl Formatter for Lines {
    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.has_element &= self.depth > 2;
        out.write_all(b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        out.write_all(if self.is_outermost() && self.has_element { b"\n]" } else { b"]" })
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if self.depth != 2 {
            return if first { Ok(()) } else { out.write_all(b",") };
        }
        self.has_element = true;
        out.write_all(if first { b"\n" } else { b",\n" })
    }

    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(if self.is_outermost() { b"\n}" } else { b"}" })?;
        self.depth -= 1;
        Ok(())
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        let separator: &[u8] = match (self.is_outermost(), first) {
            (true, true) => b"\n",
            (true, false) => b",\n",
            (false, true) => b"",
            (false, false) => b",",
        };
        out.write_all(separator)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(if self.is_outermost() { b": " } else { b":" })
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_member_and_each_element_of_its_lists_has_a_line() {
        let value = json!({
            "a": 1, "none": [], "list": [[1, [2, 3]], {"b": [4], "c": []}], "object": {"d": [5, 6]}
        });
        let mut out = Vec::new();
        value
            .serialize(&mut serde_json::Serializer::with_formatter(&mut out, Lines::default()))
            .expect("written");
        let expected = "{\n\"a\": 1,\n\"none\": [],\n\"list\": [\n[1,[2,3]],\n{\"b\":[4],\"c\":[]}\n],\n\
                        \"object\": {\"d\":[5,6]}\n}";
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }
}
