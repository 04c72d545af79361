//! GeoTIFF in and out, georeference, windows, label codes and colours.

mod classes;

pub use classes::{Class, ClassTable, ColorError, NO_CLASS, NO_LABEL, Rgb};
