"""Opens with GDAL what our writer wrote, and compares everything that should come through.

    RASTER_CHECK=/tmp/check cargo test --test raster_write -- --ignored
    python tests/golden/raster_check.py /tmp/check

Needs rasterio and numpy; last run with rasterio 1.4.4 (GDAL 3.10.3).
"""

import hashlib
import json
import pathlib
import sys
import warnings

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
folder = pathlib.Path(sys.argv[1])
expected = json.loads((folder / "expected.json").read_text())
problems = []


def same(name, what, found, wanted):
    if found != wanted:
        problems.append(f"{name}: {what} is {found!r}, expected {wanted!r}")


for name, told in expected.items():
    with rasterio.open(folder / f"{name}.tif") as made:
        pixels = made.read()
        digest = hashlib.sha256(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()).hexdigest()
        same(name, "sha256", digest, told["sha256"])
        same(name, "shape", pixels.shape, (told["bands"], told["height"], told["width"]))
        same(name, "dtype", str(pixels.dtype), told["sample_type"])
        same(name, "epsg", made.crs.to_epsg() if made.crs else None, told["georef"]["epsg"])
        transform = None if made.transform.is_identity else list(made.transform)[:6]
        same(name, "transform", transform, told["georef"]["transform"])
        same(name, "AREA_OR_POINT", made.tags().get("AREA_OR_POINT", "Area").lower(), told["georef"]["pixel_is"])
        same(name, "descriptions", list(made.descriptions), told["band_names"])
        compression = made.compression.value.lower() if made.compression else "none"
        same(name, "compression", compression, told["compression"])
        same(name, "interleave", made.interleaving.value.lower() if made.count > 1 else "pixel", "band" if told["planar"] else "pixel")
        layout = told["layout"].get("tiled")
        if layout:
            same(name, "blocks", made.block_shapes[0], (layout["height"], layout["width"]))
        else:
            same(name, "blocks", made.block_shapes[0], (told["layout"]["strips"]["rows"], told["width"]))
        if name in ("probabilities",):
            same(name, "nodata", bool(np.isnan(made.nodata)), True)
        else:
            same(name, "nodata", made.nodata, told["nodata"])
        for band, summary in enumerate(told["summary"]):
            values = np.ma.masked_invalid(np.ma.masked_equal(pixels[band], made.nodata)) if made.nodata is not None else pixels[band]
            # float128 sums: the yardstick must be finer than what it measures.
            values = np.ma.compressed(values).astype(np.longdouble)
            for what, found in [("min", values.min()), ("max", values.max()), ("mean", values.mean()), ("std", values.std())]:
                if abs(float(found) - summary[what]) > 1e-12 * max(1, abs(float(found))):
                    problems.append(f"{name}: {what} of band {band + 1} is {float(found)!r}, we say {summary[what]!r}")
            same(name, "valid", len(values), summary["valid"])
        if name.startswith("map"):
            same(name, "colour interpretation", made.colorinterp, (ColorInterp.palette,))
            table = made.colormap(1)
            same(name, "colours", [table[c] for c in (1, 2, 6)], [(255, 0, 0, 255), (255, 255, 0, 255), (0, 0, 255, 255)])
            same(name, "colour of nodata", table[0][3], 0)
            same(name, "class names", {k: v for k, v in made.tags(1).items() if k.startswith("CLASS_")}, {"CLASS_1": "urban", "CLASS_2": 'åker & "eng"', "CLASS_6": "water"})
            print(name, made.profile, made.tags(), made.tags(1))
        else:
            same(name, "colour interpretation", made.colorinterp[0], ColorInterp.gray)

print("\n".join(problems) or f"GDAL {rasterio.__gdal_version__} agrees on all {len(expected)} files")
sys.exit(bool(problems))
