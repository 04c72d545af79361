//! The class table: label code -> name and colour.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The label code that means "no label": never trained on, never scored.
pub const NO_LABEL: u8 = 0;

/// An sRGB colour, 8 bits a channel. Serialised as `"#rrggbb"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rgb(pub u8, pub u8, pub u8);

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

impl From<Rgb> for String {
    fn from(rgb: Rgb) -> Self {
        rgb.to_string()
    }
}

/// A colour that is neither `#rrggbb` nor a known colour name.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no colour: expected #rrggbb or a CSS colour name such as \"red\"")]
pub struct ColorError(pub String);

impl TryFrom<String> for Rgb {
    type Error = ColorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl Rgb {
    /// Reads `#rrggbb`, `#rgb` or a CSS colour name (CSS Color Module Level 4, section 6.1).
    ///
    /// # Errors
    /// [`ColorError`] when the text is neither.
    pub fn parse(text: &str) -> Result<Self, ColorError> {
        text.parse::<svgtypes::Color>().map(|c| Self(c.red, c.green, c.blue)).map_err(|_| ColorError(text.to_owned()))
    }
}

/// One land-cover class.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Class {
    /// Label code in the truth raster, 1..=255 (0 is [`NO_LABEL`]).
    pub code: u8,
    /// Name for people, in figures and tables.
    pub name: String,
    /// Colour in maps and figures.
    pub color: Rgb,
}

/// All classes of a pipeline, ascending by label code. The *class index* used by the network is the position here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassTable(Vec<Class>);

/// In a table made by [`index_of_code`]: this code is not a class.
pub const NO_CLASS: u8 = 255;

impl ClassTable {
    /// Sorts the classes by code. The caller has checked that codes are unique and not 0.
    pub fn new(mut classes: Vec<Class>) -> Self {
        classes.sort_by_key(|c| c.code);
        Self(classes)
    }

    /// The classes, ascending by code.
    pub fn iter(&self) -> std::slice::Iter<'_, Class> {
        self.0.iter()
    }

    /// Number of classes (without "no label").
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no class at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Label codes, ascending.
    pub fn codes(&self) -> Vec<u8> {
        self.0.iter().map(|c| c.code).collect()
    }

    /// The class with this label code.
    pub fn by_code(&self, code: u8) -> Option<&Class> {
        self.0.iter().find(|c| c.code == code)
    }
}

/// Lookup table from label code to class index, the code's position in `codes`; [`NO_CLASS`] for all other codes.
pub fn index_of_code(codes: &[u8]) -> [u8; 256] {
    let mut table = [NO_CLASS; 256];
    for (index, &code) in codes.iter().enumerate() {
        table[usize::from(code)] = index as u8;
    }
    table
}
