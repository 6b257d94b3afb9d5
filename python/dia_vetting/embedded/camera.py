"""The detector that a `lsst.images.VisitImage` needs: a rectangle in a focal plane without distortion."""

from __future__ import annotations

__all__ = ["make_detector"]

import functools

import numpy as np
from lsst.images import Box
from lsst.images.cameras import CameraFrameSetSerializationModel, Detector, DetectorAttributes, DetectorType
from lsst.images.cameras import Orientation as DetectorOrientation


class _Lines:
    """What an AST channel writes to."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def astsink(self, line: str) -> None:
        self.lines.append(line)


@functools.lru_cache(maxsize=32)
def _frame_set(
    detector: int, size: tuple[int, int], centre: tuple[float, float], pixel: float, scale: float
) -> str:
    """Return the native text of the AST FrameSet that lsst.images reads its camera geometry from."""
    from starlink import Ast

    nx, ny = size
    plane = Ast.Frame(2, 'Ident=FOCAL_PLANE,Title="Focal plane",Unit(1)=mm,Unit(2)=mm')
    frames = Ast.FrameSet(plane)
    angle = Ast.Frame(2, 'Ident=FIELD_ANGLE,Title="Field angle",Unit(1)=rad,Unit(2)=rad')
    frames.addframe(1, Ast.ZoomMap(2, float(np.deg2rad(scale / 3600.0)) / pixel), angle)
    pixels = Ast.Frame(2, f'Ident=DETECTOR_{detector},Title="Pixels",Unit(1)=pix,Unit(2)=pix')
    for axis, top in ((1, nx - 1), (2, ny - 1)):
        setattr(pixels, f"Bottom_{axis}", 0)
        setattr(pixels, f"Top_{axis}", top)
    # From the focal plane to pixels: move the detector's centre to the middle of its pixels, then scale.
    shift = [0.5 * (nx - 1) * pixel - centre[0], 0.5 * (ny - 1) * pixel - centre[1]]
    frames.addframe(1, Ast.CmpMap(Ast.ShiftMap(shift), Ast.ZoomMap(2, 1.0 / pixel), True), pixels)
    sink = _Lines()
    Ast.Channel(None, sink).write(frames)
    return "\n".join(sink.lines) + "\n"


def make_detector(
    instrument: str,
    detector: int,
    name: str,
    bbox: Box,
    *,
    visit: int,
    centre: tuple[float, float] = (0.0, 0.0),
    pixel_size: float = 0.01,
    pixel_scale: float,
) -> Detector:
    """Make a detector without amplifiers.

    Parameters
    ----------
    instrument
        Short name of the instrument.
    detector, name
        Id and full name.
    bbox
        Its pixels.
    visit
        Visit that the geometry belongs to.
    centre
        Position of its centre in the focal plane, mm.
    pixel_size
        Side of a pixel, mm.
    pixel_scale
        Side of a pixel on the sky, arcsec.

    Returns
    -------
    detector : `lsst.images.cameras.Detector`
        Not rotated, without distortion: the image's WCS has that.
    """
    size = (bbox.x.size, bbox.y.size)
    text = _frame_set(
        detector, size, (float(centre[0]), float(centre[1])), float(pixel_size), float(pixel_scale)
    )
    frames = CameraFrameSetSerializationModel(instrument=instrument, ast=text).deserialize(None)  # type: ignore[arg-type]
    attributes = DetectorAttributes(
        name=name,
        id=detector,
        type=DetectorType.SCIENCE,
        serial=name,
        bbox=bbox,
        orientation=DetectorOrientation(
            focal_plane_x=centre[0],
            focal_plane_y=centre[1],
            focal_plane_z=0.0,
            pixel_reference_x=0.5 * (size[0] - 1),
            pixel_reference_y=0.5 * (size[1] - 1),
        ),
        pixel_size=pixel_size,
        physical_type="CCD",
    )
    return Detector(attributes, [], frames, visit=visit)
