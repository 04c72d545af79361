//! Fonts, and how wide a text will be.

use std::sync::{Arc, LazyLock};

use resvg::usvg::{self, Node, Options, Tree, fontdb};

/// The one family of all figures. Regular and bold cover Latin, Greek and Cyrillic.
const FAMILY: &str = "Noto Sans";

/// Text is measured at this size and scaled: outlines without hinting grow in proportion.
const MEASURE_SIZE: f64 = 100.0;

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    for face in [notosans::REGULAR_TTF, notosans::BOLD_TTF] {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(face)));
    }
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
});

/// Parser options with the built-in fonts only: a figure must not depend on the machine's.
pub(super) fn options() -> Options<'static> {
    Options { font_family: FAMILY.to_owned(), fontdb: Arc::clone(&FONTS), ..Options::default() }
}

/// Weight of a face.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Weight {
    #[default]
    Regular,
    Bold,
}

impl Weight {
    /// Value of the SVG attribute `font-weight`.
    pub(super) fn css(self) -> u16 {
        match self {
            Self::Regular => 400,
            Self::Bold => 700,
        }
    }
}

/// Width of a text in pixels at this font size.
pub(super) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><text font-size="{MEASURE_SIZE}" font-weight="{}">{}</text></svg>"#,
        weight.css(),
        escape(text)
    );
    let Ok(tree) = Tree::from_str(&svg, &options()) else { return 0.0 };
    text_width(tree.root()) * size / MEASURE_SIZE
}

fn text_width(group: &usvg::Group) -> f64 {
    let widths = group.children().iter().map(|node| match node {
        Node::Text(text) => f64::from(text.bounding_box().width()),
        Node::Group(group) => text_width(group),
        _ => 0.0,
    });
    widths.fold(0.0, f64::max)
}

/// Text as XML content. Characters that XML 1.0 forbids (controls) become spaces.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Lines that fit a width, and the font size that makes them fit.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Fitted {
    pub(super) lines: Vec<String>,
    pub(super) size: f64,
}

/// Fits a text into `max_width`: on one line, if need be down to 75 % of `size`; else wrapped at spaces at that smaller
/// size into at most `max_lines`, the last one cut with an ellipsis.
pub(super) fn fit(text: &str, size: f64, weight: Weight, max_width: f64, max_lines: usize) -> Fitted {
    let natural = width(text, size, weight);
    let smallest = size * 0.75;
    if natural <= max_width {
        return Fitted { lines: vec![text.to_owned()], size };
    }
    if natural * 0.75 <= max_width {
        return Fitted { lines: vec![text.to_owned()], size: size * max_width / natural };
    }
    Fitted { lines: wrap(text, smallest, weight, max_width, max_lines), size: smallest }
}

fn wrap(text: &str, size: f64, weight: Weight, max_width: f64, max_lines: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while words.peek().is_some() && lines.len() + 1 < max_lines {
        let mut line = words.next().unwrap_or_default().to_owned();
        while let Some(word) = words.peek() {
            let longer = format!("{line} {word}");
            if width(&longer, size, weight) > max_width {
                break;
            }
            line = longer;
            words.next();
        }
        lines.push(shorten(&line, size, weight, max_width));
    }
    let rest = words.collect::<Vec<_>>().join(" ");
    if !rest.is_empty() {
        lines.push(shorten(&rest, size, weight, max_width));
    }
    lines
}

/// The longest beginning of a text that fits, with an ellipsis where something is cut.
pub(super) fn shorten(text: &str, size: f64, weight: Weight, max_width: f64) -> String {
    if width(text, size, weight) <= max_width {
        return text.to_owned();
    }
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let cut = |end: usize| format!("{}…", text[..end].trim_end());
    let fitting = ends.partition_point(|&end| width(&cut(end), size, weight) <= max_width);
    cut(ends[fitting.saturating_sub(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_grow_with_text_size_and_weight() {
        let narrow = width("skog", 30.0, Weight::Regular);
        assert!(narrow > 50.0 && narrow < 90.0, "{narrow}");
        assert!((width("skog", 60.0, Weight::Regular) / narrow - 2.0).abs() < 1e-3);
        assert!(width("skog", 30.0, Weight::Bold) > narrow);
        assert!(width("iiii", 30.0, Weight::Regular) < narrow);
    }

    /// A font without the letter would draw the empty box of glyph 0 for all three: one width.
    #[test]
    fn norwegian_letters_have_glyphs_of_their_own() {
        let box_width = width("\u{4e00}", 30.0, Weight::Regular);
        for letter in ["æ", "ø", "å", "Æ", "Ø", "Å", "ÿ", "ß", "ő", "č"] {
            assert!((width(letter, 30.0, Weight::Regular) - box_width).abs() > 0.01, "{letter}");
        }
        assert!(width("æ", 30.0, Weight::Regular) > width("å", 30.0, Weight::Regular));
    }

    #[test]
    fn long_titles_shrink_then_wrap_then_end_in_an_ellipsis() {
        let title = "Land cover of the inner Oslo fjord";
        let natural = width(title, 50.0, Weight::Bold);
        assert_eq!(fit(title, 50.0, Weight::Bold, natural + 1.0, 2).size, 50.0);
        let shrunk = fit(title, 50.0, Weight::Bold, natural * 0.9, 2);
        assert_eq!(shrunk.lines.len(), 1);
        assert!((shrunk.size - 45.0).abs() < 0.1);
        let wrapped = fit(title, 50.0, Weight::Bold, natural * 0.5, 2);
        assert_eq!(wrapped.lines.len(), 2);
        assert_eq!(wrapped.lines.join(" "), title);
        let cut = fit(title, 50.0, Weight::Bold, natural * 0.2, 2);
        assert_eq!(cut.lines.len(), 2);
        assert!(cut.lines[1].ends_with('…'), "{cut:?}");
        assert!(cut.lines.iter().all(|line| width(line, cut.size, Weight::Bold) <= natural * 0.2));
    }

    #[test]
    fn one_word_wider_than_the_figure_is_cut() {
        let fitted = fit("Donaudampfschifffahrtsgesellschaft", 50.0, Weight::Regular, 200.0, 3);
        assert!(fitted.lines[0].ends_with('…'));
        assert!(width(&fitted.lines[0], fitted.size, Weight::Regular) <= 200.0);
    }

    #[test]
    fn markup_and_controls_cannot_break_the_drawing() {
        assert_eq!(escape("a<b>&\u{0}c"), "a&lt;b&gt;&amp; c");
        assert!(width("<&>\u{1}", 30.0, Weight::Regular) > 0.0);
    }
}
