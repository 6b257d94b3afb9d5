"""The task that measures what blends do to detection, photometry, clustering and difference images."""

__all__ = [
    "MeasureBlendingImpactConfig",
    "MeasureBlendingImpactConnections",
    "MeasureBlendingImpactTask",
]

from collections.abc import Iterable, Sequence
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.images import MaskedImage
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, QuantumContext, Struct

from ..errors import annotates_failures
from ..injection.object_table import read_column, read_id
from ..reliability.schemas import RELIABILITY_TRUTH
from ..reliability.truth_matching import REAL
from ..tables import stack_tables
from .impact.catalog import CatalogObjects, blank_flux_err, psf_sigma, read_objects
from .impact.coverage import Coverage, covered_cells
from .impact.matches import MatchCriteria
from .impact.measure import ImpactSettings, Tract, measure_impact
from .impact.residuals import DiaSources
from .impact.rows import impact_table
from .impact.truth import TrueSources, true_sources
from .impact_connections import MeasureBlendingImpactConnections


def _is_nside(nside: int) -> bool:
    return nside > 0 and nside & (nside - 1) == 0


class MeasureBlendingImpactConfig(PipelineTaskConfig, pipelineConnections=MeasureBlendingImpactConnections):
    """Configuration of `MeasureBlendingImpactTask`."""

    band = Field[str](doc="Band of fluxes, flags and coadds.", default="r")
    blendThreshold = RangeField[float](
        doc="Probability above which an object is a blend for us.", default=0.5, min=0.0, max=1.0
    )
    doDifferences = Field[bool](doc="Measure sources of difference images at objects, too.", default=True)
    doDiaTruth = Field[bool](
        doc="Tell artefacts from real ones among them, by what evaluateReliability found.", default=True
    )
    matchRadius = RangeField[float](
        doc="Largest distance of an object from its true source, arcsec.", default=1.0, min=0.0
    )
    matchMagnitudes = RangeField[float](
        doc="Largest difference of their magnitudes.", default=1.5, min=0.0, inclusiveMin=False
    )
    blendRadius = RangeField[float](
        doc="Another true source within it makes an object a blend, arcsec.", default=2.0, min=0.0
    )
    blendRatio = RangeField[float](
        doc="If it has at least this fraction of the flux.", default=0.1, min=0.0, max=1.0
    )
    minSnr = RangeField[float](
        doc="Expected signal-to-noise ratio of the true sources that are asked for.", default=10.0, min=0.0
    )
    residualRadius = RangeField[float](
        doc="DIA sources belong to the nearest object within it, arcsec.", default=2.0, min=0.0
    )
    coverageNside = Field[int](
        doc="HEALPix resolution of the covered sky; 131072 is 1.6 arcsec.", default=131072, check=_is_nside
    )
    nside = Field[int](
        doc="HEALPix resolution of the sky groups of the bootstrap; 4096 is 0.86 arcmin.",
        default=4096,
        check=_is_nside,
    )
    replicates = RangeField[int](doc="Bootstrap replicates.", default=500, min=100)
    randoms = RangeField[int](doc="Random positions for each object, for clustering.", default=20, min=1)
    seed = Field[int](doc="Seed of bootstrap and random positions.", default=0)

    def settings(self) -> ImpactSettings:
        """Return what the engine takes."""
        return ImpactSettings(
            MatchCriteria(self.matchRadius, self.matchMagnitudes, self.blendRadius, self.blendRatio),
            self.minSnr,
            self.residualRadius,
            self.nside,
            self.replicates,
            self.randoms,
            self.seed,
        )


@annotates_failures
class MeasureBlendingImpactTask(PipelineTask):
    """Measure all objects, those without SExtractor's blends, and those without ours, side by side.

    It reads the truth of a simulation. What blends do to shear is no matter of a tract, whose sky has one
    shear: see `.impact.shear` and ``benchmarks/blending_impact.py``.
    """

    ConfigClass = MeasureBlendingImpactConfig
    _DefaultName = "measureBlendingImpact"
    config: MeasureBlendingImpactConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        from .schemas import BLENDING_IMPACT

        self.impactSchema = BLENDING_IMPACT.describe()

    def runQuantum(self, butlerQC: QuantumContext, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        inputs = butlerQC.get(inputRefs)
        inputs["coadds"] = self._of_band(inputs["coadds"])
        butlerQC.put(self.run(**inputs), outputRefs)

    def _of_band(self, handles: Sequence[DeferredDatasetHandle]) -> Iterable[MaskedImage]:
        """Yield the coadds of the band, one at a time."""
        return (handle.get() for handle in handles if handle.dataId["band"] == self.config.band)

    def run(
        self,
        objects: Table,
        blends: Sequence[Table],
        coadds: Iterable[MaskedImage],
        truthObjects: Table,
        diaSources: Table | None = None,
        diaTruth: Sequence[Table] | None = None,
    ) -> Struct:
        """Measure.

        Parameters
        ----------
        objects : `astropy.table.Table`
            Objects of the tract, by DRP's names: ``objectId``, ``x``, ``y``, ``coord_ra``, ``coord_dec``,
            ``detect_isPrimary``, and of the band PSF and Kron fluxes and the moments of the PSF.
        blends : `~collections.abc.Sequence` of `astropy.table.Table`
            ``object_blend`` of its patches, in any bands.
        coadds : `~collections.abc.Iterable` of `lsst.images.MaskedImage`
            Coadds of its patches in the band.
        truthObjects : `astropy.table.Table`
            ``sim_truth_object``.
        diaSources : `astropy.table.Table`, optional
            ``dia_source``: ``diaSourceId``, ``ra``, ``dec``. Without it, difference images are left out.
        diaTruth : `~collections.abc.Sequence` of `astropy.table.Table`, optional
            ``reliability_truth``. Without it, artefacts are not told from real sources.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``impact`` (`astropy.table.Table`) and the plots.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            If there is no coadd in the band, or no primary object or true source on their sky.
        NoUsablePixelsError, MissingImageComponentError
            If a coadd has no finite pixel or no WCS.
        TableSchemaError
            If a table lacks a column, or it has another unit.
        """
        from .impact import plots

        name, band = self.config.connections.objectType, self.config.band
        catalog = read_objects(objects, blends, band, self.config.blendThreshold, name)
        coverage = self._coverage(coadds)
        truth = self._truth(objects, truthObjects)
        self._check(catalog, truth, coverage)
        found = None if diaSources is None else self._dia_sources(diaSources, diaTruth)
        rows, counts = measure_impact(Tract(catalog, truth, coverage, found), self.config.settings())
        self._report(counts)
        impact = impact_table(rows, {**counts, "band": band})
        title = f"band {band}, {counts['objects'] - counts['not_covered']} objects, 95 % intervals"
        outputs = {
            "impact": impact,
            "detectionPlot": plots.detection_figure(impact, f"Detection: {title}"),
            "photometryPlot": plots.photometry_figure(impact, f"Photometry: {title}"),
            "clusteringPlot": plots.clustering_figure(impact, f"Density and clustering: {title}"),
        }
        if found is not None:
            outputs["residualPlot"] = plots.residual_figure(impact, f"Difference images: {title}")
        return Struct(**outputs)

    def _coverage(self, coadds: Iterable[MaskedImage]) -> Coverage:
        nside, name = self.config.coverageNside, self.config.connections.coaddType
        coverage = Coverage.joined(nside, [covered_cells(coadd, nside, name) for coadd in coadds])
        if not len(coverage.cells):
            raise NoWorkFound(f"{name}: no pixel can be used in band {self.config.band}.")
        return coverage

    def _truth(self, objects: Table, truth: Table) -> TrueSources:
        band, name = self.config.band, self.config.connections.objectType
        sigma, error = psf_sigma(objects, band, name), blank_flux_err(objects, band, name)
        self.metadata["psf_sigma"], self.metadata["blank_flux_err"] = sigma, error
        return true_sources(truth, band, sigma, error, least_companion=self.config.blendRatio)

    def _check(self, objects: CatalogObjects, truth: TrueSources, coverage: Coverage) -> None:
        for name, one in ((self.config.connections.objectType, objects), ("sim_truth_object", truth)):
            if not coverage.holds(one.ra, one.dec).any():
                raise NoWorkFound(f"{name}: none of {len(one)} rows is on the sky of the coadds.")

    def _dia_sources(self, sources: Table, truth: Sequence[Table] | None) -> DiaSources:
        name = self.config.connections.diaSourceType
        ids = read_id(sources, "diaSourceId", name)
        ra, dec = (read_column(sources, axis, u.deg, name) for axis in ("ra", "dec"))
        tables = [RELIABILITY_TRUTH.check(t, self.config.connections.truthType) for t in truth or ()]
        known = stack_tables(tables, RELIABILITY_TRUTH)
        kind, of = np.asarray(known["truth_class"], str), np.asarray(known["diaSourceId"], np.int64)
        artefact = np.isin(ids, of[kind == "artefact"])
        real = np.isin(ids, of[np.isin(kind, REAL)])
        self.metadata["n_dia_sources"] = len(ids)
        self.metadata["n_dia_sources_unknown"] = int(np.count_nonzero(~artefact & ~real))
        return DiaSources(ra, dec, artefact, real, truth is not None)

    def _report(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self.metadata[f"n_{name}"] = count
        self.log.info("%s.", ", ".join(f"{name} {count}" for name, count in counts.items()))
