//! Surface reflectance of materials. Typical mid-latitude summer values in Sentinel-2's blue (B2), green (B3), red
//! (B4), near infrared (B8) and shortwave infrared (B11), rounded from what published spectral libraries show.

use super::noise::lerp;

/// Reflectance (1.0 = all light) in blue, green, red, nir, swir.
pub(super) type Spectrum = [f32; 5];

pub(super) const CONIFER: Spectrum = [0.017, 0.031, 0.019, 0.225, 0.095];
pub(super) const BROADLEAF: Spectrum = [0.021, 0.045, 0.024, 0.37, 0.16];
pub(super) const YOUNG_TREES: Spectrum = [0.033, 0.062, 0.048, 0.29, 0.185];
pub(super) const LUSH_GRASS: Spectrum = [0.035, 0.072, 0.044, 0.38, 0.195];
pub(super) const DRY_GRASS: Spectrum = [0.060, 0.090, 0.093, 0.28, 0.255];
pub(super) const GREEN_CROP: Spectrum = [0.032, 0.068, 0.039, 0.41, 0.18];
pub(super) const DARK_CROP: Spectrum = [0.024, 0.047, 0.030, 0.31, 0.135];
pub(super) const RIPE_CROP: Spectrum = [0.065, 0.103, 0.120, 0.29, 0.265];
pub(super) const STUBBLE: Spectrum = [0.082, 0.118, 0.152, 0.255, 0.29];
pub(super) const LIGHT_SOIL: Spectrum = [0.085, 0.117, 0.155, 0.225, 0.285];
pub(super) const DARK_SOIL: Spectrum = [0.058, 0.078, 0.100, 0.150, 0.205];
pub(super) const ASPHALT: Spectrum = [0.082, 0.093, 0.103, 0.135, 0.155];
pub(super) const GRAVEL: Spectrum = [0.105, 0.130, 0.155, 0.21, 0.25];
pub(super) const TILE_ROOF: Spectrum = [0.075, 0.090, 0.155, 0.22, 0.235];
pub(super) const SLATE_ROOF: Spectrum = [0.058, 0.063, 0.068, 0.088, 0.110];
pub(super) const METAL_ROOF: Spectrum = [0.230, 0.245, 0.255, 0.285, 0.255];
pub(super) const SEDGE: Spectrum = [0.036, 0.059, 0.060, 0.218, 0.156];
pub(super) const MOSS: Spectrum = [0.049, 0.076, 0.088, 0.260, 0.186];
pub(super) const POOL: Spectrum = [0.027, 0.034, 0.032, 0.060, 0.038];
pub(super) const DEEP_WATER: Spectrum = [0.021, 0.022, 0.013, 0.007, 0.004];
pub(super) const TURBID_WATER: Spectrum = [0.045, 0.060, 0.045, 0.020, 0.009];
pub(super) const SHALLOWS: Spectrum = [0.042, 0.058, 0.044, 0.050, 0.024];
pub(super) const CLOUD: Spectrum = [0.46, 0.45, 0.45, 0.50, 0.36];

/// `a` where `t` is 0, `b` where it is 1.
pub(super) fn mix(a: Spectrum, b: Spectrum, t: f32) -> Spectrum {
    std::array::from_fn(|band| lerp(a[band], b[band], t))
}

/// The same material under more or less light.
pub(super) fn lit(spectrum: Spectrum, light: f32) -> Spectrum {
    spectrum.map(|v| v * light)
}
