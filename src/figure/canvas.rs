//! A drawing under construction: shapes and text above rasters.

use std::fmt::Write as _;

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::Tree;

use super::error::{FigureError, Result};
use super::picture::Picture;
use super::text::{Weight, escape, options};
use super::theme;
use crate::raster::Rgb;

/// Most pixels on a side of a JPEG.
const JPEG_LIMIT: u32 = 65_535;

/// Most pixels of a figure: half a gigabyte while it is drawn.
const PIXEL_LIMIT: u64 = 120_000_000;

/// An 8-bit sRGB raster, 3 bytes a pixel, drawn pixel for pixel.
#[derive(Clone, Debug)]
pub(super) struct Raster {
    pub(super) width: usize,
    pub(super) rgb: Vec<u8>,
}

impl Raster {
    /// A raster from the colour of each (column, row).
    pub(super) fn from_fn(width: usize, height: usize, mut colour: impl FnMut(usize, usize) -> Rgb) -> Self {
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let Rgb(r, g, b) = colour(x, y);
                rgb.extend([r, g, b]);
            }
        }
        Self { width, rgb }
    }
}

/// Where a text stands in relation to its x.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Anchor {
    #[default]
    Start,
    Middle,
    End,
}

/// A line of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'a> {
    pub(super) text: &'a str,
    pub(super) size: f64,
    pub(super) weight: Weight,
    pub(super) colour: Rgb,
    pub(super) anchor: Anchor,
    /// Degrees, clockwise, about its own x and y.
    pub(super) turn: f64,
    /// A paper-coloured rim, where the text crosses lines.
    pub(super) halo: bool,
}

impl<'a> Label<'a> {
    pub(super) fn new(text: &'a str, size: f64) -> Self {
        Self { text, size, weight: Weight::Regular, colour: theme::INK, anchor: Anchor::Start, turn: 0.0, halo: false }
    }

    pub(super) fn bold(self) -> Self {
        Self { weight: Weight::Bold, ..self }
    }

    pub(super) fn colour(self, colour: Rgb) -> Self {
        Self { colour, ..self }
    }

    pub(super) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(super) fn turned(self, turn: f64) -> Self {
        Self { turn, ..self }
    }

    pub(super) fn halo(self) -> Self {
        Self { halo: true, ..self }
    }
}

/// Distance from the middle of a line of text down to its baseline, as a share of the font size: half a capital.
pub(super) const HALF_CAPITAL: f64 = 0.357;

/// Stroke of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub(super) colour: Rgb,
    pub(super) width: f64,
    pub(super) dashed: bool,
}

impl Stroke {
    pub(super) fn new(colour: Rgb, width: f64) -> Self {
        Self { colour, width, dashed: false }
    }

    pub(super) fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    fn attributes(self) -> String {
        let dashes = if self.dashed {
            format!(r#" stroke-dasharray="{} {}""#, self.width * 3.5, self.width * 2.5)
        } else {
            String::new()
        };
        format!(r#"stroke="{}" stroke-width="{}"{dashes}"#, self.colour, self.width)
    }
}

/// What is drawn after one another.
enum Layer {
    /// SVG elements.
    Shapes(String),
    /// Pixels, with their upper left corner.
    Raster(usize, usize, Raster),
}

/// Shapes, text and rasters in output pixels: x to the right, y down. What comes later lies above.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    layers: Vec<Layer>,
}

impl Canvas {
    /// Paper of this size; fractions of a pixel are rounded up.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width: width.ceil() as u32, height: height.ceil() as u32, layers: Vec::new() }
    }

    /// Lays a raster with its upper left corner at the pixel nearest to (x, y).
    pub(super) fn raster(&mut self, x: f64, y: f64, raster: Raster) {
        self.layers.push(Layer::Raster(x.round() as usize, y.round() as usize, raster));
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, fill: Rgb) {
        self.shape(format_args!(
            r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" fill="{fill}"/>"#
        ));
    }

    /// A rounded, slightly see-through sheet of paper, to write on a picture.
    pub(super) fn plate(&mut self, x: f64, y: f64, width: f64, height: f64) {
        self.shape(format_args!(
            r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" rx="6" fill="{}" fill-opacity="0.88"/>"#,
            theme::PAPER
        ));
    }

    /// An outline whose stroke lies just outside the box, on whole pixels.
    pub(super) fn frame(&mut self, x: f64, y: f64, width: f64, height: f64, stroke: Stroke) {
        let half = stroke.width / 2.0;
        self.shape(format_args!(
            r#"<rect x="{:.2}" y="{:.2}" width="{:.2}" height="{:.2}" fill="none" {}/>"#,
            x.round() - half,
            y.round() - half,
            width + stroke.width,
            height + stroke.width,
            stroke.attributes()
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.polyline(&[from, to], stroke);
    }

    pub(super) fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let mut list = String::new();
        for (x, y) in points {
            // Writing to a String cannot fail.
            let _ = write!(list, "{x:.2},{y:.2} ");
        }
        let join = r#"stroke-linejoin="round" fill="none""#;
        self.shape(format_args!(r#"<polyline points="{}" {join} {}/>"#, list.trim_end(), stroke.attributes()));
    }

    pub(super) fn dot(&mut self, x: f64, y: f64, radius: f64, fill: Rgb, rim: Stroke) {
        self.shape(format_args!(
            r#"<circle cx="{x:.2}" cy="{y:.2}" r="{radius:.2}" fill="{fill}" {}/>"#,
            rim.attributes()
        ));
    }

    /// Writes a line of text with its baseline at y.
    pub(super) fn text(&mut self, x: f64, y: f64, label: Label<'_>) {
        let anchor = match label.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let turn = if label.turn == 0.0 {
            String::new()
        } else {
            format!(r#" transform="rotate({} {x:.2} {y:.2})""#, label.turn)
        };
        let halo = if label.halo {
            format!(
                r#" paint-order="stroke" stroke="{}" stroke-width="{:.1}" stroke-linejoin="round""#,
                theme::PAPER,
                label.size * 0.28
            )
        } else {
            String::new()
        };
        let (size, weight, colour, text) = (label.size, label.weight.css(), label.colour, escape(label.text));
        self.shape(format_args!(
            r#"<text x="{x:.2}" y="{y:.2}" font-size="{size:.2}" font-weight="{weight}" fill="{colour}" text-anchor="{anchor}"{halo}{turn}>{text}</text>"#
        ));
    }

    /// Writes a line of text with the middle of its capitals at y.
    pub(super) fn text_middle(&mut self, x: f64, y: f64, label: Label<'_>) {
        self.text(x, y + label.size * HALF_CAPITAL, label);
    }

    fn shape(&mut self, shape: std::fmt::Arguments<'_>) {
        match self.layers.last_mut() {
            Some(Layer::Shapes(shapes)) => {
                // Writing to a String cannot fail.
                let _ = shapes.write_fmt(shape);
            }
            _ => self.layers.push(Layer::Shapes(shape.to_string())),
        }
    }

    /// Draws everything.
    pub(super) fn render(self) -> Result<Picture> {
        let (width, height) = (self.width, self.height);
        let too_large = FigureError::TooLarge { width, height };
        if width.max(height) > JPEG_LIMIT || u64::from(width) * u64::from(height) > PIXEL_LIMIT {
            return Err(too_large);
        }
        let mut pixmap = Pixmap::new(width, height).ok_or(too_large)?;
        pixmap.fill(Color::WHITE);
        for layer in &self.layers {
            match layer {
                Layer::Raster(x, y, raster) => blit(&mut pixmap, *x, *y, raster),
                Layer::Shapes(shapes) => draw(&mut pixmap, shapes)?,
            }
        }
        let rgb = pixmap.data().as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
        Ok(Picture::new(width, height, rgb))
    }
}

fn draw(pixmap: &mut Pixmap, shapes: &str) -> Result<()> {
    let (width, height) = (pixmap.width(), pixmap.height());
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{shapes}</svg>"#
    );
    let tree = Tree::from_str(&svg, &options()).map_err(|error| FigureError::Drawing(error.to_string()))?;
    resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
    Ok(())
}

/// Copies a raster into the pixmap; what would lie outside is cut off.
fn blit(pixmap: &mut Pixmap, x: usize, y: usize, raster: &Raster) {
    let stride = pixmap.width() as usize * 4;
    let columns = raster.width.min((pixmap.width() as usize).saturating_sub(x));
    let lines = pixmap.data_mut().chunks_exact_mut(stride).skip(y);
    for (line, source) in lines.zip(raster.rgb.chunks_exact(raster.width.max(1) * 3)) {
        let target = &mut line[x * 4..(x + columns) * 4];
        for (to, from) in target.as_chunks_mut::<4>().0.iter_mut().zip(source.as_chunks::<3>().0) {
            *to = [from[0], from[1], from[2], 255];
        }
    }
}
