//! GDAL's metadata tag: a little XML of names and values.

use serde::Serialize;
use tiff::tags::Tag;

/// The tag that holds it.
pub(super) const TAG: Tag = Tag::Unknown(42112);

/// One item of the GDAL_METADATA tag (42112).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct MetadataItem {
    /// Its name.
    pub name: String,
    /// The band that it belongs to, counted from 0; [`None`] for the whole raster.
    pub band: Option<usize>,
    /// What GDAL uses it for, e.g. `description`, `scale`.
    pub role: Option<String>,
    /// Its value.
    pub value: String,
}

/// Reads all items; whatever is no item is passed over, as metadata must not keep anyone from the pixels.
pub(super) fn parse(xml: &str) -> Vec<MetadataItem> {
    let mut items = Vec::new();
    for part in xml.split("<Item").skip(1) {
        let Some((attributes, rest)) = part.split_once('>') else { continue };
        let Some((value, _)) = rest.split_once("</Item>") else { continue };
        let Some(name) = attribute(attributes, "name") else { continue };
        items.push(MetadataItem {
            name,
            band: attribute(attributes, "sample").and_then(|s| s.parse().ok()),
            role: attribute(attributes, "role"),
            // GDAL escapes values twice and undoes both; text that was escaped once comes through as well.
            value: unescape(&unescape(value)),
        });
    }
    items
}

/// The tag's text for these items.
pub(super) fn format(items: &[MetadataItem]) -> String {
    let mut xml = String::from("<GDALMetadata>\n");
    for item in items {
        xml.push_str(&format!("  <Item name=\"{}\"", escape(&item.name)));
        if let Some(band) = item.band {
            xml.push_str(&format!(" sample=\"{band}\""));
        }
        if let Some(role) = &item.role {
            xml.push_str(&format!(" role=\"{}\"", escape(role)));
        }
        xml.push_str(&format!(">{}</Item>\n", escape(&escape(&item.value))));
    }
    xml.push_str("</GDALMetadata>\n");
    xml
}

/// GDAL's band descriptions, one place a band.
pub(super) fn band_names(items: &[MetadataItem], bands: usize) -> Vec<Option<String>> {
    let mut names = vec![None; bands];
    for item in items.iter().filter(|item| item.role.as_deref() == Some("description")) {
        if let Some(name) = item.band.and_then(|band| names.get_mut(band)) {
            *name = Some(item.value.clone());
        }
    }
    names
}

/// The item that names a band.
pub(super) fn band_name(band: usize, name: &str) -> MetadataItem {
    MetadataItem {
        name: "DESCRIPTION".to_owned(),
        band: Some(band),
        role: Some("description".to_owned()),
        value: name.to_owned(),
    }
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let (_, rest) = attributes.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(unescape(value))
}

const ENTITIES: [(&str, char); 5] = [("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\''), ("&amp;", '&')];

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match ENTITIES.iter().find(|(_, plain)| *plain == c) {
            Some((entity, _)) => escaped.push_str(entity),
            // Control characters are no XML, and a NUL would end the tag.
            None if c.is_control() && c != '\n' && c != '\t' => escaped.push(' '),
            None => escaped.push(c),
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        match ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity)) {
            Some((entity, c)) => {
                plain.push(*c);
                rest = &rest[entity.len()..];
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let items = [
            band_name(0, "land cover"),
            MetadataItem { name: "CLASS_1".into(), band: Some(0), role: None, value: "bog & \"fen\" <æøå>".into() },
            MetadataItem { name: "S2PIPE".into(), band: None, role: None, value: "1".into() },
        ];
        assert_eq!(parse(&format(&items)), items);
        let as_gdal_has_it =
            "<Item name=\"CLASS_1\" sample=\"0\">bog &amp;amp; &amp;quot;fen&amp;quot; &amp;lt;æøå&amp;gt;</Item>";
        assert!(format(&items).contains(as_gdal_has_it), "{}", format(&items));
        assert_eq!(parse("<Item name=\"K\">{ &quot;a&quot;: 0 }</Item>")[0].value, "{ \"a\": 0 }");
        assert_eq!(band_names(&items, 2), [Some("land cover".to_owned()), None]);
    }

    #[test]
    fn a_damaged_tag_gives_what_it_can() {
        assert_eq!(parse("<GDALMetadata><Item name=\"A\">1</Item><Item name=\"B\">2").len(), 1);
        assert_eq!(parse("<Item>no name</Item><Item name=").len(), 0);
        assert_eq!(unescape("a &amp;lt; &nosuch; &"), "a &lt; &nosuch; &");
    }
}
