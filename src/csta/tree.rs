//! A small XML document as a flat tree, read under hard limits.
//!
//! Local names and text only: prefixes and attributes are checked and dropped, except the root's own namespace. The
//! elements lie in document order in one vector, so nothing here recurses on what the input nests.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{Error as ReaderError, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

use super::xml::{ATTRIBUTES_MAX, BODY_BYTES_MAX, DEPTH_MAX, XmlError};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A whole document. It borrows its text from the body wherever that needs no resolving.
#[derive(Debug)]
pub struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    namespace: Cow<'a, str>,
}

#[derive(Debug)]
struct Node<'a> {
    name: &'a str,
    text: Text<'a>,
    /// One past the last descendant.
    end: usize,
}

/// An element's own text, the pieces around child elements joined.
#[derive(Debug)]
enum Text<'a> {
    /// One piece as it stands in the body, line ends not yet normalised: most are layout that nobody asks for.
    Raw(&'a str),
    /// References resolved, line ends normalised.
    Joined(String),
}

impl Text<'_> {
    fn normalised(&self) -> Cow<'_, str> {
        match self {
            Self::Raw(text) => normalised(text),
            Self::Joined(text) => Cow::Borrowed(text),
        }
    }

    fn append(&mut self, piece: &str) {
        if let Self::Raw(text) = self {
            *self = Self::Joined(normalised(text).into_owned());
        }
        if let Self::Joined(text) = self {
            text.push_str(piece);
        }
    }
}

/// One element of a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub struct Element<'t, 'a> {
    tree: &'t Tree<'a>,
    index: usize,
}

impl<'a> Tree<'a> {
    /// Reads a well-formed document in UTF-8 with one root, no DTD, and no more than the limits allow.
    pub fn parse(body: &'a [u8]) -> Result<Self, XmlError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(XmlError::TooLarge { bytes: body.len() });
        }
        let text = std::str::from_utf8(body).map_err(|fault| XmlError::NotUtf8 { at: fault.valid_up_to() })?;
        if let Some(at) = forbidden_character(text) {
            return Err(XmlError::Character { at });
        }
        let document = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start();
        Builder::new(document, text.len() - document.len()).build()
    }

    pub fn root(&self) -> Element<'_, 'a> {
        Element { tree: self, index: 0 }
    }

    /// The root element's namespace; empty when it declares none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl<'t, 'a> Element<'t, 'a> {
    /// The local name.
    pub fn name(self) -> &'a str {
        self.tree.nodes[self.index].name
    }

    pub fn children(self) -> impl Iterator<Item = Element<'t, 'a>> {
        let tree = self.tree;
        let end = tree.nodes[self.index].end;
        let mut index = self.index + 1;
        std::iter::from_fn(move || {
            let child = (index < end).then_some(Element { tree, index })?;
            index = tree.nodes[index].end;
            Some(child)
        })
    }

    /// The first child of this local name.
    pub fn child(self, name: &str) -> Option<Element<'t, 'a>> {
        self.children().find(|child| child.name() == name)
    }

    /// The first element of this local name anywhere below.
    pub fn descendant(self, name: &str) -> Option<Element<'t, 'a>> {
        let tree = self.tree;
        (self.index + 1..tree.nodes[self.index].end)
            .find(|&index| tree.nodes[index].name == name)
            .map(|index| Element { tree, index })
    }

    /// The text, byte for byte. With child elements: theirs and its own, joined, blank pieces (layout) left out.
    pub fn text(self) -> Cow<'t, str> {
        let node = &self.tree.nodes[self.index];
        if node.end == self.index + 1 {
            return node.text.normalised();
        }
        let mut joined = String::new();
        for node in &self.tree.nodes[self.index..node.end] {
            joined.push_str(node.text.normalised().trim_ascii());
        }
        Cow::Owned(joined)
    }

    /// A text that is a word of the standard (enumeration, boolean, number): surrounding blanks do not count.
    pub fn word(self) -> Cow<'t, str> {
        match self.text() {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
            Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_owned()),
        }
    }
}

struct Builder<'a> {
    document: &'a str,
    /// Bytes of the body before `document`: added to every reported position.
    skipped: usize,
    reader: Reader<&'a [u8]>,
    tree: Tree<'a>,
    open: [usize; DEPTH_MAX],
    depth: usize,
}

impl<'a> Builder<'a> {
    fn new(document: &'a str, skipped: usize) -> Self {
        let mut reader = Reader::from_str(document);
        reader.config_mut().check_comments = true;
        let tree = Tree { nodes: Vec::with_capacity(32), namespace: Cow::Borrowed("") };
        Self { document, skipped, reader, tree, open: [0; DEPTH_MAX], depth: 0 }
    }

    fn build(mut self) -> Result<Tree<'a>, XmlError> {
        loop {
            let start = self.reader.buffer_position() as usize;
            let at = self.skipped + start;
            match self.reader.read_event().map_err(|fault| self.fault(&fault))? {
                Event::Start(tag) => self.open(&tag, start)?,
                Event::Empty(tag) => {
                    self.open(&tag, start)?;
                    self.close();
                }
                Event::End(_) => self.close(),
                Event::Text(text) => self.text(text.into_inner(), at)?,
                Event::CData(text) => self.resolved(&text.xml10_content(), at)?,
                Event::GeneralRef(reference) => {
                    let character = resolve(&reference).ok_or(XmlError::Reference { at })?;
                    self.resolved(&character, at)?;
                }
                Event::Decl(declaration) => self.declaration(&declaration, start)?,
                Event::PI(instruction) if instruction.target().eq_ignore_ascii_case("xml") => {
                    return Err(XmlError::Declaration { at });
                }
                Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) => return Err(XmlError::Doctype { at }),
                Event::Eof if self.depth > 0 => return Err(XmlError::Unclosed { at }),
                Event::Eof if self.tree.nodes.is_empty() => return Err(XmlError::NoRoot { at }),
                Event::Eof => return Ok(self.tree),
            }
        }
    }

    fn open(&mut self, tag: &BytesStart<'_>, start: usize) -> Result<(), XmlError> {
        let at = self.skipped + start;
        if self.depth == 0 && !self.tree.nodes.is_empty() {
            return Err(XmlError::SecondRoot { at });
        }
        if self.depth == DEPTH_MAX {
            return Err(XmlError::TooDeep { at });
        }
        // The reader's own slice lives only as long as the event; the document's lives as long as the tree.
        let from = start + '<'.len_utf8();
        let name = self.document.get(from..from + tag.name().as_ref().len()).ok_or(XmlError::Name { at })?;
        let (prefix, local) = name.split_once(':').map_or((None, name), |(prefix, local)| (Some(prefix), local));
        if !is_name(local) || !prefix.is_none_or(is_name) {
            return Err(XmlError::Name { at });
        }
        if !tag.attributes_raw().is_empty() {
            self.attributes(tag, prefix, at)?;
        }
        self.open[self.depth] = self.tree.nodes.len();
        self.depth += 1;
        let end = self.tree.nodes.len() + 1;
        self.tree.nodes.push(Node { name: local, text: Text::Raw(""), end });
        Ok(())
    }

    fn attributes(&mut self, tag: &BytesStart<'_>, prefix: Option<&str>, at: usize) -> Result<(), XmlError> {
        let is_root = self.tree.nodes.is_empty();
        for (count, attribute) in tag.attributes().enumerate() {
            if count == ATTRIBUTES_MAX {
                return Err(XmlError::TooManyAttributes { at });
            }
            let attribute = attribute.map_err(|_| XmlError::Attribute { at })?;
            let name = attribute.key.as_ref();
            if !name.split(':').all(is_name) || attribute.value.contains('<') {
                return Err(XmlError::Attribute { at });
            }
            let value = unescape(&attribute.value).ok_or(XmlError::Reference { at })?;
            let declares_root = match prefix {
                None => name == "xmlns",
                Some(prefix) => name.strip_prefix("xmlns:") == Some(prefix),
            };
            if is_root && declares_root {
                self.tree.namespace = Cow::Owned(value.into_owned());
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        // The reader refuses an end tag that matches no open element before it gets here.
        self.depth = self.depth.checked_sub(1).expect("only a matching end tag closes");
        self.tree.nodes[self.open[self.depth]].end = self.tree.nodes.len();
    }

    fn text(&mut self, piece: Cow<'a, str>, at: usize) -> Result<(), XmlError> {
        // XML 1.0 §2.4: the end mark of a CDATA section may not stand in plain text.
        if piece.as_bytes().contains(&b']') && piece.contains("]]>") {
            return Err(XmlError::Character { at });
        }
        let is_layout = piece.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        let Some(innermost) = self.depth.checked_sub(1) else {
            return if is_layout { Ok(()) } else { Err(XmlError::OutsideRoot { at }) };
        };
        let index = self.open[innermost];
        let has_children = self.tree.nodes.len() > index + 1;
        let text = &mut self.tree.nodes[index].text;
        match (piece, &text) {
            _ if is_layout && has_children => {}
            (Cow::Borrowed(piece), Text::Raw("")) => *text = Text::Raw(piece),
            (piece, _) => text.append(&normalised(&piece)),
        }
        Ok(())
    }

    /// What a reference or a CDATA section stands for; inside the root only.
    fn resolved(&mut self, piece: &str, at: usize) -> Result<(), XmlError> {
        let innermost = self.depth.checked_sub(1).ok_or(XmlError::OutsideRoot { at })?;
        self.tree.nodes[self.open[innermost]].text.append(piece);
        Ok(())
    }

    fn declaration(&self, declaration: &BytesDecl<'_>, start: usize) -> Result<(), XmlError> {
        let at = self.skipped + start;
        let version = declaration.version().map_err(|_| XmlError::Declaration { at })?;
        if start != 0 || !version.starts_with("1.") {
            return Err(XmlError::Declaration { at });
        }
        let Some(encoding) = declaration.encoding() else { return Ok(()) };
        let encoding = encoding.map_err(|_| XmlError::Declaration { at })?;
        let is_ours = ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| encoding.eq_ignore_ascii_case(name));
        if is_ours { Ok(()) } else { Err(XmlError::Encoding { at }) }
    }

    fn fault(&self, fault: &ReaderError) -> XmlError {
        let at = self.skipped + self.reader.error_position() as usize;
        match fault {
            ReaderError::Syntax(SyntaxError::UnclosedDoctype) => XmlError::Doctype { at },
            ReaderError::Syntax(_) | ReaderError::IllFormed(IllFormedError::MissingEndTag(_)) => {
                XmlError::Unclosed { at }
            }
            ReaderError::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_)) => {
                XmlError::Mismatched { at }
            }
            ReaderError::IllFormed(IllFormedError::UnclosedReference) | ReaderError::Escape(_) => {
                XmlError::Reference { at }
            }
            ReaderError::IllFormed(IllFormedError::DoubleHyphenInComment) => XmlError::Comment { at },
            ReaderError::IllFormed(IllFormedError::MissingDoctypeName) => XmlError::Doctype { at },
            ReaderError::IllFormed(IllFormedError::MissingDeclVersion(_) | IllFormedError::UnknownVersion) => {
                XmlError::Declaration { at }
            }
            ReaderError::InvalidAttr(_) => XmlError::Attribute { at },
            ReaderError::Encoding(_) => XmlError::Encoding { at },
            ReaderError::Namespace(_) | ReaderError::Io(_) => XmlError::Name { at },
        }
    }
}

/// XML 1.0 §2.2, Char.
pub fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// XML 1.0 §2.3 without the colon; beyond ASCII every letter-like character is let through.
pub fn is_name(name: &str) -> bool {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii();
    let is_part = |byte: u8| is_start(byte) || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    name.bytes().next().is_some_and(is_start) && name.bytes().all(is_part)
}

fn forbidden_character(text: &str) -> Option<usize> {
    // Only control bytes and the two non-characters U+FFFE and U+FFFF (lead byte EF) can be wrong in valid UTF-8.
    let suspect = |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xef;
    // Folded, not searched: without an early exit the compiler looks at many bytes at once.
    if !text.bytes().fold(false, |found, byte| found | suspect(byte)) {
        return None;
    }
    text.char_indices().find(|&(_, character)| !is_character(character)).map(|(at, _)| at)
}

fn resolve(reference: &BytesRef<'_>) -> Option<Cow<'static, str>> {
    if reference.is_char_ref() {
        let character = reference.resolve_char_ref().ok()??;
        return is_character(character).then(|| Cow::Owned(character.to_string()));
    }
    resolve_predefined_entity(reference).map(Cow::Borrowed)
}

/// XML 1.0 §2.11: CR LF and lone CR are read as LF.
fn normalised(text: &str) -> Cow<'_, str> {
    if !text.contains('\r') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn unescape(value: &str) -> Option<Cow<'_, str>> {
    let value = quick_xml::escape::unescape(value).ok()?;
    value.chars().all(is_character).then_some(value)
}
