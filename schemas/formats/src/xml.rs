//! A document as a tree: enough for ECG files, bounded in depth, read by `quick-xml`.
//!
//! Deliberately absent: external entities, DTDs, validation.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::error::FormatError;
use crate::fields::len64;
use crate::sniff::FormatId;

/// The deepest nesting that is read.
const DEPTH_MAX: usize = 128;

/// One element: its name without a namespace prefix, its attributes, text and children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The value of an attribute, by its name without a prefix.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first child of a name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element at the end of a path of first children.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter()
            .try_fold(self, |element, name| element.child(name))
    }

    /// The trimmed text at the end of a path, if there is some.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<String> {
        let text = self.at(path)?.text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first descendant of a name, in document order.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| {
            if child.name == name {
                Some(child)
            } else {
                child.find(name)
            }
        })
    }
}

/// Bytes to text, by byte-order mark, declaration, or as UTF-8 else Latin-1.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let wide = |bytes: &[u8], value: fn([u8; 2]) -> u16| {
        let (pairs, _) = bytes.as_chunks::<2>();
        let units = pairs.iter().map(|pair| value(*pair));
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [b'<', 0, ..] => wide(bytes, u16::from_le_bytes),
        [0, b'<', ..] => wide(bytes, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => crate::text::lossless(rest),
        _ => crate::text::lossless(bytes),
    }
}

/// Reads a document; offsets in errors are those of its text in UTF-8.
pub(crate) fn parse(text: &str, format: FormatId) -> Result<Element, FormatError> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let at = reader.buffer_position();
        let event = reader
            .read_event()
            .map_err(|error| broken(format, reader.error_position(), error.to_string()))?;
        match event {
            Event::Start(start) => {
                if open.len() > DEPTH_MAX {
                    return Err(FormatError::TooLarge {
                        format,
                        field: "nesting",
                        offset: at,
                        asked: len64(open.len()),
                        limit: len64(DEPTH_MAX),
                    });
                }
                open.push(element(&start, format, at)?);
            }
            Event::Empty(start) => {
                let child = element(&start, format, at)?;
                if let Some(parent) = open.last_mut() {
                    parent.children.push(child);
                }
            }
            Event::End(_) => close(&mut open),
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text.xml10_content());
                }
            }
            Event::CData(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(name) => {
                let found = match name.resolve_char_ref() {
                    Ok(Some(found)) => found.to_string(),
                    _ => {
                        let name = name.xml10_content();
                        let known = resolve_predefined_entity(&name).unwrap_or_default();
                        known.to_owned()
                    }
                };
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&found);
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if open.len() > 1 {
        let name = open
            .last()
            .map(|last| last.name.clone())
            .unwrap_or_default();
        let why = format!("the document ends inside <{name}>");
        return Err(broken(format, len64(text.len()), why));
    }
    let document = open.pop().unwrap_or_default();
    let root = document.children.into_iter().next();
    root.ok_or_else(|| broken(format, 0, "no element".to_owned()))
}

fn close(open: &mut Vec<Element>) {
    if open.len() > 1
        && let Some(done) = open.pop()
        && let Some(parent) = open.last_mut()
    {
        parent.children.push(done);
    }
}

fn element(start: &BytesStart<'_>, format: FormatId, at: u64) -> Result<Element, FormatError> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| broken(format, at, error.to_string()))?;
        let key = attribute.key.local_name();
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| broken(format, at, error.to_string()))?;
        attributes.push((name_of(key.as_ref()), value.into_owned()));
    }
    Ok(Element {
        name: name_of(start.local_name().as_ref()),
        attributes,
        ..Element::default()
    })
}

fn name_of(name: impl AsRef<str>) -> String {
    name.as_ref().to_owned()
}

fn broken(format: FormatId, offset: u64, found: String) -> FormatError {
    FormatError::Invalid {
        format,
        field: "XML",
        offset,
        found,
        want: "a well-formed document",
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, text_of};
    use crate::sniff::FormatId;
    use proptest::prelude::*;

    #[test]
    fn names_lose_their_prefix_and_entities_are_resolved() {
        let text =
            "<?xml version=\"1.0\"?><a:r xmlns:a=\"x\"><b k=\"1&lt;2\">x &amp; y&#33;</b></a:r>";
        let root = parse(text, FormatId::Aecg).unwrap();
        assert_eq!(root.name, "r");
        let b = root.child("b").unwrap();
        assert_eq!((b.attribute("k"), b.text.as_str()), (Some("1<2"), "x & y!"));
    }

    #[test]
    fn a_cut_document_is_refused() {
        let error = parse("<a><b>", FormatId::Aecg).unwrap_err();
        assert_eq!(error.code(), "format.invalid");
    }

    #[test]
    fn sixteen_bit_text_is_read_by_its_mark() {
        assert_eq!(text_of(b"\xFF\xFE<\0a\0/\0>\0"), "<a/>");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[<>/a-c=\"'&;!\\[\\]? -]{0,120}") {
            let _ = parse(&text, FormatId::Aecg);
        }
    }
}
