//! Elements, and how they are written.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// One element.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: Option<String>,
    children: Vec<Element>,
}

/// An element without anything in it.
pub(super) fn el(name: &'static str) -> Element {
    Element {
        name,
        attributes: Vec::new(),
        text: None,
        children: Vec::new(),
    }
}

impl Element {
    /// With an attribute.
    pub(super) fn at(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// With a text.
    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// With a child.
    pub(super) fn with(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// With children.
    pub(super) fn all(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    /// As a document in UTF-8.
    pub(super) fn document(&self) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        let begun = Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None));
        let written = writer
            .write_event(begun)
            .and_then(|()| self.write(&mut writer));
        written.expect("invariant: a vector takes whatever is written");
        writer.into_inner()
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(name, value)| (*name, value.as_str()));
        let begun = writer.create_element(self.name).with_attributes(attributes);
        if self.text.is_none() && self.children.is_empty() {
            return begun.write_empty().map(|_| ());
        }
        begun
            .write_inner_content(|writer| {
                if let Some(text) = &self.text {
                    writer.write_event(Event::Text(BytesText::new(text)))?;
                }
                self.children.iter().try_for_each(|one| one.write(writer))
            })
            .map(|_| ())
    }
}
