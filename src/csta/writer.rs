//! Compact XML on one line.

use super::tree::is_character;

const PROLOG: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;

/// Appends elements to one buffer. Names are the caller's constants; text is escaped here.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Writes prolog, root and what `fill` puts into it. An empty namespace is not declared.
    pub fn document(root: &str, namespace: &str, fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut writer = Self { out: Vec::with_capacity(1024) };
        writer.raw(PROLOG);
        writer.declared(root, "xmlns", namespace, fill);
        writer.out
    }

    /// An element with content; `<name/>` when `fill` writes nothing.
    pub fn element(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.declared(name, "xmlns", "", fill);
    }

    /// An element with a namespace declaration under the given attribute name (`xmlns`, `xmlns:lcs`).
    pub fn declared(&mut self, name: &str, attribute: &str, namespace: &str, fill: impl FnOnce(&mut Self)) {
        self.raw("<");
        self.raw(name);
        if !namespace.is_empty() {
            self.raw(" ");
            self.raw(attribute);
            self.raw("=\"");
            self.escaped(namespace);
            self.raw("\"");
        }
        self.raw(">");
        let filled_from = self.out.len();
        fill(self);
        if self.out.len() == filled_from {
            self.out.pop();
            self.raw("/>");
        } else {
            self.raw("</");
            self.raw(name);
            self.raw(">");
        }
    }

    pub fn text(&mut self, name: &str, text: &str) {
        self.element(name, |writer| writer.escaped(text));
    }

    pub fn text_if(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    pub fn flag(&mut self, name: &str, on: bool) {
        self.text(name, if on { "true" } else { "false" });
    }

    pub fn empty(&mut self, name: &str) {
        self.element(name, |_| {});
    }

    /// Character data. What XML 1.0 cannot carry at all becomes U+FFFD, so that the document stays well-formed.
    pub fn escaped(&mut self, text: &str) {
        let is_plain = |byte: u8| (byte >= b' ' && byte != 0xef) && !matches!(byte, b'&' | b'<' | b'>' | b'"');
        if text.bytes().all(is_plain) {
            return self.raw(text);
        }
        for character in text.chars() {
            match character {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                // Raw line ends would be normalised by the reader (XML 1.0 §2.11), tabs and line ends in attributes too.
                '\r' => self.raw("&#13;"),
                '\n' => self.raw("&#10;"),
                '\t' => self.raw("&#9;"),
                character if is_character(character) => {
                    self.raw(character.encode_utf8(&mut [0; 4]));
                }
                _ => self.raw("\u{fffd}"),
            }
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}
