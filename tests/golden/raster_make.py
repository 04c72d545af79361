"""Makes the tiny GeoTIFFs that tests/raster_golden.rs reads, and what rasterio says about them.

    python tests/golden/raster_make.py

Needs rasterio and numpy. Made with rasterio 1.4.4 (GDAL 3.10.3).
"""

import hashlib
import json
import pathlib

import numpy as np
import rasterio
from rasterio.transform import Affine

HERE = pathlib.Path(__file__).parent
UTM = Affine(10, 0, 264890, 0, -10, 6660170)


def ramp(bands, height, width, dtype):
    """Smooth, different in every band, over zero where the type has negative numbers."""
    band, row, col = np.indices((bands, height, width))
    values = band * 31 + row * 7 + col * 3
    if np.dtype(dtype).kind != "u":
        values = values - 60
    return (values / 7 if np.dtype(dtype).kind == "f" else values).astype(dtype)


CASES = {
    "palette": dict(dtype="uint8", count=1, crs="EPSG:32633", transform=UTM, nodata=0, compress="deflate"),
    "truth": dict(dtype="uint8", count=1, crs="EPSG:32633", transform=UTM, compress="lzw", tiled=True, blockxsize=16, blockysize=16, BIGTIFF="YES"),
    "scene": dict(dtype="int32", count=6, crs="EPSG:32633", transform=UTM),
    "planar": dict(dtype="int16", count=3, crs="EPSG:25833", transform=UTM, interleave="band", compress="lzw", predictor=2, nodata=-9999),
    "float3": dict(dtype="float32", count=2, crs="EPSG:4326", transform=Affine(0.1, 0, 5, 0, -0.1, 60), compress="deflate", predictor=3, nodata=float("nan")),
    "double3": dict(dtype="float64", count=1, compress="lzw", predictor=3),
    "big_endian": dict(dtype="uint16", count=2, compress="deflate", predictor=2, ENDIANNESS="BIG"),
    "wide64": dict(dtype="int64", count=2, compress="zstd", predictor=2, tiled=True, blockxsize=16, blockysize=16),
    "signed8": dict(dtype="int8", count=1, compress="packbits"),
    "bits1": dict(dtype="uint8", count=1, NBITS=1),
    "bits4": dict(dtype="uint8", count=1, NBITS=4, compress="deflate"),
    "half": dict(dtype="float32", count=1, NBITS=16, compress="deflate", predictor=3),
    "sparse": dict(dtype="int16", count=1, nodata=-7, tiled=True, blockxsize=16, blockysize=16, SPARSE_OK="YES", compress="deflate"),
    "point": dict(dtype="uint8", count=1, crs="EPSG:32633", transform=UTM),
    "rotated": dict(dtype="uint8", count=1, crs="EPSG:3035", transform=Affine(8, 3, 100, 4, -9, 200)),
}


def main():
    told = {}
    for name, profile in CASES.items():
        path = HERE / f"raster_{name}.tif"
        height, width = (9, 11) if name == "scene" else (19, 23)
        pixels = ramp(profile["count"], height, width, profile["dtype"])
        if "NBITS" in profile and profile["dtype"] == "uint8":
            pixels %= 1 << profile["NBITS"]
        if name in ("palette", "truth"):
            pixels %= 7
        with rasterio.open(path, "w", driver="GTiff", height=height, width=width, **profile) as out:
            if name == "sparse":
                out.write(pixels[:, :16, :16], window=((0, 16), (0, 16)))
            else:
                out.write(pixels)
            if name == "palette":
                out.write_colormap(1, {1: (255, 0, 0), 2: (255, 255, 0), 6: (0, 0, 255)})
                out.set_band_description(1, "land cover æøå")
            if name == "point":
                out.update_tags(AREA_OR_POINT="Point")
        path.with_suffix(".tif.aux.xml").unlink(missing_ok=True)
        with rasterio.open(path) as made:
            pixels = made.read()
            told[name] = dict(
                shape=pixels.shape,
                dtype=str(pixels.dtype),
                sha256=hashlib.sha256(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()).hexdigest(),
                epsg=made.crs.to_epsg() if made.crs else None,
                transform=None if made.transform.is_identity else list(made.transform)[:6],
                nodata=str(made.nodata),
                area_or_point=made.tags().get("AREA_OR_POINT", "Area"),
                descriptions=made.descriptions,
                colormap={k: v[:3] for k, v in made.colormap(1).items() if k < 8} if name == "palette" else None,
            )
    (HERE / "raster_golden.json").write_text(json.dumps(told, indent=1) + "\n")
    print(sum(p.stat().st_size for p in HERE.glob("raster_*.tif")), "bytes of GeoTIFFs")


main()
