//! Composes figures, rasterises them, writes JPEG.
