"""Presets of the stamp simulator: telescope, noise, what is in a stamp and where.

The numbers of each preset, and where they are from, are in its YAML file in the folder ``presets``.
"""

from __future__ import annotations

__all__ = [
    "BandModel",
    "Kind",
    "KindModel",
    "LayoutModel",
    "NoiseModel",
    "PopulationModel",
    "Preset",
    "PsfModel",
    "available_presets",
    "load_preset",
]

import importlib.resources
from typing import Annotated, Any, Literal

import pydantic
import yaml  # type: ignore[import-untyped]
from pydantic import Field

from ..bad_input import BadInputError
from .stamps import MAX_SIZE, MAX_SOURCES, MIN_SIZE

type Kind = Literal["single", "blend", "separated"]
type Range = tuple[float, float]
Positive = Annotated[float, Field(gt=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class PsfModel(_Section):
    """Point-spread function of a stamp, drawn anew for each."""

    kind: Literal["moffat", "airy"] = Field(description="Profile")
    beta: Positive = Field(default=3.0, description="Slope of a Moffat profile")
    obscuration: Fraction = Field(default=0.0, description="Central obscuration of an Airy profile")
    fwhm: Range = Field(description="FWHM before the pixel, uniform between both, arcsec")
    ellipticity: Fraction = Field(description="Rms of each component of the reduced shear")


class NoiseModel(_Section):
    """Noise of a blank pixel."""

    sigma: Range = Field(description="Rms, log-uniform between both, in the unit of the pixels")
    correlation: float = Field(ge=0.0, lt=0.7, description="Correlation of neighbours along an axis")


class KindModel(_Section):
    """How often each kind of stamp, and each number of sources in a blend, is drawn."""

    fractions: dict[Kind, Fraction] = Field(description="Fraction of the stamps of each kind")
    sources: tuple[Fraction, ...] = Field(
        max_length=MAX_SOURCES - 1, description="Probability of 2, 3 ... sources in a blend"
    )

    @pydantic.model_validator(mode="after")
    def _sum_to_one(self) -> KindModel:
        for values in (self.fractions.values(), self.sources):
            if abs(sum(values) - 1.0) > 1e-6:
                raise ValueError(f"fractions that add up to 1 are needed, not {sum(values):g}")
        return self


class LayoutModel(_Section):
    """Where companions are. Distances are in units of the sum of both observed half-light radii."""

    offset: Range | None = Field(
        default=None, description="Offset along x and along y, uniform between both, pixel; replaces the rest"
    )
    blend: Range = Field(default=(0.6, 1.6), description="Distance in a blend, uniform between both")
    separated: Positive = Field(default=2.5, description="Least distance of separated sources")
    margin: float = Field(default=4.0, ge=0.0, description="Least distance to the edge, pixel")


class PopulationModel(_Section):
    """Brightness, size and shape of the sources."""

    magnitude: Range = Field(description="Brightest and faintest AB magnitude")
    slope: float = Field(description="d log10 N / d magnitude")
    contrast: Positive = Field(description="By how much a companion may be fainter than the central, mag")
    star_fraction: Fraction = Field(description="Fraction of the sources that are stars")
    size: Positive = Field(default=0.45, description="Median half-light radius at magnitude 22, arcsec")
    size_slope: float = Field(default=-0.08, description="d log10 size / d magnitude")
    size_scatter: Positive = Field(default=0.16, description="Rms of log10 size")
    size_range: Range = Field(description="Smallest and largest half-light radius, arcsec")
    ellipticity: Positive = Field(default=0.2, description="Rms of each component of the reduced shear")
    bulge_size: Range = Field(default=(0.3, 0.8), description="Radius of the bulge over that of the disc")
    knotty_fraction: Fraction = Field(default=0.0, description="Fraction of the galaxies with knots of light")
    knot_light: Range = Field(default=(0.05, 0.5), description="Fraction of the disc's light in its knots")


class BandModel(_Section):
    """One band beside the reference band."""

    colour: float = Field(description="Mean magnitude in this band minus that in the reference band")
    colour_scale: float = Field(description="Its change with one standard deviation of the common colour")
    noise: Positive = Field(description="Noise over that of the reference band, in the unit of the pixels")
    psf: Positive = Field(description="FWHM over that in the reference band")


class Preset(_Section):
    """All that the simulator needs to know."""

    name: str = Field(description="Name; the random numbers depend on it")
    size: int = Field(ge=MIN_SIZE, le=MAX_SIZE, description="Side of what is drawn, pixel")
    padding: int = Field(default=0, ge=0, description="Pixels of noise alone around it, on each side")
    pixel_scale: Positive = Field(description="arcsec per pixel")
    zero_point: float = Field(description="AB magnitude of one unit of the pixels")
    psf: PsfModel
    noise: NoiseModel
    kinds: KindModel
    layout: LayoutModel = LayoutModel()
    population: PopulationModel
    band: str = Field(default="", description="Reference band")
    bands: dict[str, BandModel] = Field(default={}, description="Bands that can be asked for")

    @property
    def side(self) -> int:
        """Side of a stamp with its padding, pixel."""
        return self.size + 2 * self.padding

    @property
    def centre(self) -> float:
        """Middle of a stamp along each axis, 0 at the middle of its first pixel, pixel."""
        return 0.5 * (self.side - 1)

    @property
    def reach(self) -> float:
        """Largest distance of a companion from a central source that is half a pixel off, pixel."""
        return 0.5 * (self.size - 1) - 0.5 - self.layout.margin

    @property
    def widest(self) -> float:
        """Largest half-light radius of a source that two separated ones have room for, pixel."""
        return 0.5 * self.reach / self.layout.separated

    def with_noise(self, sigma: float) -> Preset:
        """Return the preset with the same noise in all stamps; the sources stay the same.

        Parameters
        ----------
        sigma : `float`
            Rms of a blank pixel, in the unit of the pixels.
        """
        noise = NoiseModel(sigma=(sigma, sigma), correlation=self.noise.correlation)
        return self.model_copy(update={"noise": noise})

    def with_structure(self, knotty_fraction: float) -> Preset:
        """Return the preset with knots of light in a fraction of the galaxies; all else stays the same."""
        population = self.population.model_copy(update={"knotty_fraction": knotty_fraction})
        return self.model_copy(update={"population": population})

    def with_seeing(self, fwhm: Range) -> Preset:
        """Return the preset with PSFs of other widths, uniform between both, arcsec."""
        return self.model_copy(update={"psf": self.psf.model_copy(update={"fwhm": fwhm})})

    def with_kinds(self, **fractions: float) -> Preset:
        """Return the preset with other fractions of ``single``, ``blend`` and ``separated``."""
        kinds = KindModel.model_validate({"fractions": fractions, "sources": self.kinds.sources})
        return self.model_copy(update={"kinds": kinds})

    @pydantic.model_validator(mode="after")
    def _has_room(self) -> Preset:
        from .layout import observed_radius

        largest = float(observed_radius(self.population.size_range[1], self.psf.fwhm[1])) / self.pixel_scale
        if self.layout.offset is None and largest > self.widest:
            raise ValueError(
                f"size_range: two sources of {largest:.1f} pixels have no room apart in the stamp"
            )
        return self


def available_presets() -> list[str]:
    """Return the names of the presets that come with the package."""
    return sorted(e.name.removesuffix(".yaml") for e in _folder().iterdir() if e.name.endswith(".yaml"))


def load_preset(name: str) -> Preset:
    """Load a preset.

    Parameters
    ----------
    name : `str`
        See `available_presets`.

    Returns
    -------
    preset : `Preset`
        Validated and frozen.

    Raises
    ------
    BadInputError
        If there is none of that name.
    """
    if name not in available_presets():
        raise BadInputError("blend preset", f"one of {', '.join(available_presets())}", repr(name))
    content = yaml.safe_load((_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    return Preset.model_validate({"name": name, **content})


def _folder() -> Any:
    return importlib.resources.files(__package__) / "presets"
