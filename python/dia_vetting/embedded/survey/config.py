"""Configuration of the simulated survey: what the telescope, the site, the sky and the defects are like.

A configuration file is YAML with the keys of `SurveyConfig`, and two more: ``preset`` (lsst, hsc, ztf) and
``size`` (demo, quick, tiny), whose values it starts from. Every number has its unit in the description of its
field.
"""

from __future__ import annotations

__all__ = [
    "AstrometryConfig",
    "Band",
    "CameraConfig",
    "DefectConfig",
    "NoiseConfig",
    "ObservingConfig",
    "PsfConfig",
    "SizeConfig",
    "SkyConfig",
    "SurveyConfig",
    "TransientConfig",
    "available_presets",
    "available_sizes",
    "load_config",
]

import importlib.resources
import pathlib
from typing import Annotated, Any, Literal

import pydantic
import yaml  # type: ignore[import-untyped]
from pydantic import Field

from ...errors import BadInputError

type Band = Literal["u", "g", "r", "i", "z", "y"]
type Range = tuple[float, float]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class SizeConfig(_Section):
    """How much is simulated."""

    columns: int = Field(default=2, ge=1, description="Detectors along x")
    rows: int = Field(default=1, ge=1, description="Detectors along y")
    detector_width: int = Field(default=1000, ge=128, description="Columns of a detector, pixel")
    detector_height: int = Field(default=1000, ge=128, description="Rows of a detector, pixel")
    bands: tuple[Band, ...] = Field(default=("g", "r"), min_length=1, description="Bands, visited in turn")
    science_visits: int = Field(default=12, ge=1, description="Science visits, all bands together")
    template_visits: int = Field(default=4, ge=1, description="Template visits of each band")


class CameraConfig(_Section):
    """Detectors and optics."""

    pixel_scale: Positive = Field(default=0.2, description="arcsec per pixel")
    gap: float = Field(default=50.0, ge=0.0, description="Gap between detectors, pixel")
    zero_points: dict[Band, float] = Field(description="AB magnitude that gives 1 electron per second")
    read_noise: float = Field(default=9.0, ge=0.0, description="electron")
    full_well: Positive = Field(default=100_000.0, description="Charge at which a pixel saturates, electron")
    masked_level: Fraction = Field(
        default=0.95, description="Fraction of the full well from which pixels are SAT"
    )
    distortion: float = Field(default=2e-9, description="Radial cubic distortion, 1 / pixel^2")
    diffusion: float = Field(default=0.3, ge=0.0, description="Rms charge diffusion, pixel")
    thickness: Positive = Field(default=100.0, description="Thickness of the silicon, micron")
    pixel_pitch: Positive = Field(default=10.0, description="Side of a pixel, micron")
    amplifier_columns: int = Field(default=4, ge=1, description="Amplifiers side by side on a detector")


class ObservingConfig(_Section):
    """Site and cadence."""

    exposure_time: Positive = Field(default=30.0, description="second")
    seeing: Range = Field(default=(0.6, 1.1), description="Range of the FWHM of science visits, arcsec")
    template_seeing: Range = Field(
        default=(0.6, 0.85), description="Range of the FWHM of template visits, arcsec"
    )
    sky_brightness: dict[Band, float] = Field(description="Dark sky, AB mag / arcsec^2")
    sky_scatter: Rate = Field(
        default=0.3, description="Largest brightening of the sky from visit to visit, mag"
    )
    extinction: Range = Field(default=(0.0, 0.15), description="Range of grey extinction by cloud, mag")
    airmass: Range = Field(default=(1.0, 1.6), description="Range of the airmass")
    dither: Rate = Field(default=12.0, description="Largest offset of a pointing along each axis, arcsec")
    template_dither: Rate = Field(
        default=14.0, description="The same for template visits, whose number falls towards the edges, arcsec"
    )
    rotation: Rate = Field(default=1.0, description="Largest rotation of the field to either side, deg")
    first_mjd: float = Field(default=61_000.0, description="First night of the science visits, MJD (TAI)")
    science_span: Positive = Field(default=60.0, description="Time covered by the science visits, day")
    template_lead: Positive = Field(default=400.0, description="Templates start this long before, day")
    template_span: Positive = Field(default=50.0, description="Time covered by the template visits, day")


class PsfConfig(_Section):
    """Point spread function: atmosphere, optics, guiding."""

    profile: Literal["kolmogorov", "moffat"] = Field(
        default="kolmogorov", description="Shape of the seeing disc"
    )
    moffat_beta: float = Field(default=3.5, gt=1.1, description="Exponent of a Moffat profile")
    fwhm_variation: Rate = Field(
        default=0.04, description="Change of the FWHM from field centre to corner, fraction"
    )
    ellipticity: Rate = Field(
        default=0.03, description="Rms ellipticity (a-b)/(a+b) that varies over the field"
    )
    obscuration: Fraction = Field(default=0.6, description="Inner over outer radius of the pupil")
    coma: Rate = Field(default=0.05, description="Rms radius of the coma spot, at the field corner, arcsec")
    defocus: Rate = Field(default=0.10, description="Rms radius of the defocused pupil, arcsec")
    elongated_fraction: Fraction = Field(
        default=0.10, description="Visits with a tracking error; 1 at least if > 0"
    )
    tracking: Range = Field(default=(1.0, 1.6), description="Length of tracking errors, in units of the FWHM")
    donut_fraction: Fraction = Field(default=0.06, description="Visits out of focus; 1 at least if > 0")
    donut_radius: Range = Field(
        default=(0.5, 0.8), description="Outer radius of the donut, in units of the FWHM"
    )
    aureole: Fraction = Field(default=0.003, description="Fraction of a bright star's light in its far wings")


class AstrometryConfig(_Section):
    """How far things are from where the WCS of the image says they are."""

    field_error: Rate = Field(
        default=0.04, description="Rms of the smooth error field along each axis, pixel"
    )
    field_scale: Positive = Field(default=500.0, description="Shortest wavelength of the error field, pixel")
    visit_shift: Rate = Field(
        default=0.004, description="Rms offset of a whole visit along each axis, arcsec"
    )
    refraction: dict[Band, float] = Field(
        default={"u": 0.08, "g": 0.035, "r": 0.010, "i": 0.004, "z": 0.002, "y": 0.001},
        description="Differential refraction, arcsec per mag of g-i and unit tangent of the zenith distance",
    )
    proper_motion: Rate = Field(
        default=0.012, description="Rms proper motion of stars along each axis, arcsec / yr"
    )


class NoiseConfig(_Section):
    """What the variance plane does not know."""

    correlation: float = Field(
        default=0.015,
        ge=0.0,
        lt=0.5,
        description="Noise shared with each of the 4 neighbours; absent from the variance",
    )
    sky_offset: Rate = Field(
        default=0.05, description="Rms of the residual sky level, in units of the sky noise"
    )
    sky_gradient: Rate = Field(
        default=0.15, description="Rms of the residual sky slope, sky noise across the detector"
    )
    calibration: Rate = Field(default=0.004, description="Rms error of the zero point of a visit, mag")


class SkyConfig(_Section):
    """The static sky."""

    ra: float = Field(default=150.0, ge=0.0, lt=360.0, description="Centre, ICRS, deg")
    dec: float = Field(default=2.0, ge=-85.0, le=85.0, description="Centre, ICRS, deg")
    limit: float = Field(default=25.6, description="Faintest r magnitude of stars and galaxies")
    star_density: Rate = Field(default=4.0, description="Stars with r < 20, per arcmin^2")
    star_slope: Positive = Field(default=0.20, description="Slope of log10 of the star counts, per mag")
    brightest_star: float = Field(default=13.0, description="r magnitude")
    galaxy_density: Rate = Field(default=18.0, description="Galaxies with r < 24, per arcmin^2")
    galaxy_slope: Positive = Field(default=0.36, description="Slope of log10 of the galaxy counts, per mag")
    brightest_galaxy: float = Field(default=16.5, description="r magnitude")
    margin: Rate = Field(default=10.0, description="Sky simulated beyond the detectors and dithers, arcsec")


class TransientConfig(_Section):
    """What changes in the sky by itself. Densities are per million pixels of sky."""

    magnitude: Range = Field(
        default=(20.5, 24.7), description="r magnitude at peak of transients and moving objects"
    )
    hidden: Rate = Field(default=65.0, description="Transients that nobody injected, per megapixel")
    hosted_fraction: Fraction = Field(default=0.8, description="Of these, how many lie in a galaxy")
    template_fraction: Fraction = Field(
        default=0.15, description="Of these, how many shone in the template epoch only"
    )
    rise: Range = Field(default=(3.0, 18.0), description="Range of the rise time, day")
    decline: Range = Field(default=(10.0, 60.0), description="Range of the e-folding decline, day")
    variable_star_fraction: Fraction = Field(default=0.10, description="Of the stars, how many vary")
    variable_galaxy_fraction: Fraction = Field(
        default=0.015, description="Of the galaxies, how many have a variable core"
    )
    amplitude: Range = Field(default=(0.05, 0.8), description="Range of the half-amplitude of variables, mag")
    period: Range = Field(default=(0.3, 150.0), description="Range of the time scale of variables, day")
    moving: Rate = Field(default=2.0, description="Moving objects per megapixel and visit")
    moving_rate: Positive = Field(default=0.01, description="Median rate of moving objects, arcsec / s")
    fast_fraction: Fraction = Field(default=0.15, description="Moving objects that are ten times as fast")


class DefectConfig(_Section):
    """How often each defect occurs, per megapixel and visit unless said otherwise.

    The rates are far above those of a survey in operation, whose pipelines find most of these: the sample
    is to be small, and dominated by artefacts.
    """

    muon: Rate = Field(default=60.0, description="Straight tracks of muons")
    worm: Rate = Field(default=120.0, description="Wriggling tracks of Compton electrons")
    spot: Rate = Field(default=170.0, description="Compact hits")
    worm_energy: Positive = Field(default=5_000.0, description="Mean charge of a worm, electron")
    spot_energy: Positive = Field(default=700.0, description="Smallest charge of a spot, electron")
    spot_slope: float = Field(
        default=2.2, gt=1.0, description="Exponent of the differential spectrum of spots"
    )
    muon_deposit: Positive = Field(default=80.0, description="Charge left by a muon, electron per micron")
    cosmic_ray_masked: Fraction = Field(
        default=0.7, description="Of the cosmic rays over 20 sky sigma, how many are CR"
    )
    streak: Rate = Field(default=0.3, description="Satellite streaks")
    streak_brightness: Range = Field(
        default=(0.4, 6.0), description="Range of the peak of a streak, sky noise"
    )
    streak_masked: Fraction = Field(default=0.5, description="Of the streaks, how many are STREAK")
    glint: Rate = Field(default=0.3, description="Rows of point-like flashes of a tumbling satellite")
    glint_flashes: tuple[int, int] = Field(default=(2, 7), description="Range of the flashes in a row")
    hot_pixel: Rate = Field(
        default=150.0, description="Hot pixels of a detector, per megapixel, the same in all visits"
    )
    hot_pixel_masked: Fraction = Field(default=0.5, description="Of the hot pixels, how many are BAD")
    hot_pixel_level: Range = Field(
        default=(250.0, 8_000.0), description="Range of their charge, electron (log-uniform)"
    )
    hot_column: Rate = Field(default=3.0, description="Warm part-columns of a detector, per 1000 columns")
    hot_column_masked: Fraction = Field(default=0.5, description="Of the warm columns, how many are BAD")
    hot_column_level: Range = Field(default=(2.0, 5.0), description="Range of their excess, sky noise")
    dead_column: Rate = Field(
        default=1.0, description="Dead columns of a detector, all BAD, per 1000 columns"
    )
    dead_edge: int = Field(default=3, ge=0, description="Rows and columns without data at each edge, pixel")
    edge_width: int = Field(default=6, ge=0, description="Rows and columns masked EDGE beyond these, pixel")
    edge_glow: Rate = Field(default=0.8, description="Excess where the EDGE mask ends on one side, sky noise")
    ghost: Rate = Field(default=0.5, description="Rings and arcs reflected from bright stars")
    ghost_brightness: Range = Field(
        default=(0.3, 1.2), description="Range of their surface brightness, sky noise"
    )
    crosstalk: Rate = Field(
        default=3e-4, description="Charge of a saturated pixel copied into the next amplifier"
    )
    crosstalk_masked: Fraction = Field(
        default=0.5, description="Of the crosstalk images, how many are CROSSTALK"
    )
    spikes: Rate = Field(
        default=0.002, description="Fraction of a bright star's light in its four diffraction spikes"
    )
    template_nan_patch: Rate = Field(default=6.0, description="Patches of NaN in a template exposure")
    template_nan_radius: Range = Field(default=(3.0, 14.0), description="Range of the radius of these, pixel")
    template_factor: Rate = Field(default=0.4, description="Rates in template over science exposures")


class SurveyConfig(_Section):
    """Everything that defines a simulated survey but its seed."""

    instrument: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="Name of the instrument")
    size: SizeConfig = SizeConfig()
    camera: CameraConfig
    observing: ObservingConfig
    psf: PsfConfig = PsfConfig()
    astrometry: AstrometryConfig = AstrometryConfig()
    noise: NoiseConfig = NoiseConfig()
    sky: SkyConfig = SkyConfig()
    transients: TransientConfig = TransientConfig()
    defects: DefectConfig = DefectConfig()

    @pydantic.model_validator(mode="after")
    def _bands_are_known(self) -> SurveyConfig:
        for band in self.size.bands:
            if band not in self.camera.zero_points:
                raise ValueError(f"camera.zero_points has no {band!r}, which size.bands asks for")
            if band not in self.observing.sky_brightness:
                raise ValueError(f"observing.sky_brightness has no {band!r}, which size.bands asks for")
            if band not in self.astrometry.refraction:
                raise ValueError(f"astrometry.refraction has no {band!r}, which size.bands asks for")
        return self

    @property
    def n_detectors(self) -> int:
        """Number of detectors."""
        return self.size.columns * self.size.rows

    @property
    def detectors(self) -> range:
        """Ids of the detectors."""
        return range(self.n_detectors)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (rows, columns) of a detector."""
        return self.size.detector_height, self.size.detector_width

    @property
    def megapixels(self) -> float:
        """Area of a detector, in millions of pixels."""
        return self.size.detector_width * self.size.detector_height / 1e6


def _presets() -> Any:
    return importlib.resources.files(__package__) / "presets"


def available_presets() -> list[str]:
    """Return the names of the cameras that come with the package."""
    names = [entry.name.removesuffix(".yaml") for entry in _presets().iterdir()]
    return sorted(name for name in names if not name.startswith("size_"))


def available_sizes() -> list[str]:
    """Return the names of the sizes that come with the package."""
    names = [entry.name.removesuffix(".yaml") for entry in _presets().iterdir()]
    return sorted(name.removeprefix("size_") for name in names if name.startswith("size_"))


def _packaged(kind: str, name: str, known: list[str], stem: str) -> dict[str, Any]:
    if name not in known:
        raise BadInputError(f"survey configuration, key {kind!r}", f"one of {', '.join(known)}", repr(name))
    text = (_presets() / f"{stem}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInputError(str(path), "a YAML file with a survey configuration", str(error)) from error
    if not isinstance(content, dict):
        raise BadInputError(str(path), "a mapping of configuration keys", type(content).__name__)
    return content


def load_config(
    source: str | pathlib.Path = "lsst", size: str | None = None, overrides: dict[str, Any] | None = None
) -> SurveyConfig:
    """Load a survey configuration.

    Parameters
    ----------
    source : `str` or `pathlib.Path`, optional
        Name of a preset (see `available_presets`) or the path of a YAML file.
    size : `str`, optional
        Name of a packaged size (see `available_sizes`); it replaces that of the file. "demo" by default.
    overrides : `dict`, optional
        Nested keys that win over everything else.

    Returns
    -------
    config : `SurveyConfig`
        Validated and frozen.

    Raises
    ------
    BadInputError
        If the file cannot be read, a name is unknown, or a key is unknown, missing or out of range; the
        message names the key.
    """
    path = pathlib.Path(source)
    is_file = path.suffix in {".yaml", ".yml"} or path.is_file()
    content = _read(path) if is_file else {"preset": str(source)}
    preset = str(content.pop("preset", "lsst"))
    sizes = content.get("size")
    named = size or (content.pop("size") if isinstance(sizes, str) else "demo")
    merged = _merged(
        _packaged("preset", preset, available_presets(), preset),
        _packaged("size", named, available_sizes(), f"size_{named}"),
    )
    if size is not None:
        content.pop("size", None)
    merged = _merged(_merged(merged, content), overrides or {})
    try:
        return SurveyConfig.model_validate(merged)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "survey configuration"
        raise BadInputError(f"{source}, key {key!r}", first["msg"], repr(first.get("input"))[:80]) from error
