"""The task that chooses host galaxies for injected transients."""

from __future__ import annotations

__all__ = ["SelectHostsConfig", "SelectHostsConnections", "SelectHostsTask"]

from typing import Any

import astropy.units as u
import lsst.pipe.base.connectionTypes as cT
import numpy as np
from astropy.table import Table
from lsst.pex.config import Field, FieldValidationError, ListField, RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from numpy.typing import NDArray

from ..magnitudes import ab_magnitude
from ..tables import Column
from .host_geometry import Ellipses
from .hosts import HostCuts, MeasuredObjects, host_ellipses, pixel_scale, select
from .object_table import ObjectTableNames, read_column, read_id, read_length, read_objects
from .schemas import HOST_PROFILE, HOST_REDSHIFT, host_galaxy_schema


class SelectHostsConnections(
    PipelineTaskConnections,
    dimensions=("skymap", "tract"),
    defaultTemplates={"objectType": "object", "hostType": "host_galaxy"},
):
    """One object table in, one table of hosts out."""

    objects = cT.Input(
        doc="Objects measured on the coadds of a tract, with DRP column names.",
        name="{objectType}",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
        deferLoad=True,
    )
    hosts = cT.Output(
        doc="Galaxies that may host a transient.",
        name="{hostType}",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
    )
    hostSchema = cT.InitOutput(
        doc="Columns of the host table.", name="{hostType}_schema", storageClass="ArrowAstropy"
    )


class SelectHostsConfig(PipelineTaskConfig, pipelineConnections=SelectHostsConnections):
    """Configuration of `SelectHostsTask`; in column names, ``{band}`` stands for the reference band."""

    band = Field[str](doc="Reference band: of magnitude, extendedness and quality.", default="r")
    bands = ListField[str](
        doc="Bands whose magnitudes are kept as well, so that a transient's magnitude follows that of its "
        "host in the band of the visit. In bands that are not listed the reference band's is used.",
        default=[],
    )
    idColumn = Field[str](doc="Id of the object.", default="objectId")
    tractColumn = Field[str](doc="Tract of the object.", default="tract")
    patchColumn = Field[str](doc="Patch of the object.", default="patch")
    raColumn = Field[str](doc="ICRS right ascension.", default="coord_ra")
    decColumn = Field[str](doc="ICRS declination.", default="coord_dec")
    xColumn = Field[str](doc="Column in the pixel frame of the tract.", default="x")
    yColumn = Field[str](doc="Row in the pixel frame of the tract.", default="y")
    xxColumn = Field[str](doc="Second moment along x of the tract (DP2: {band}_ixx).", default="shape_xx")
    yyColumn = Field[str](doc="Second moment along y of the tract (DP2: {band}_iyy).", default="shape_yy")
    xyColumn = Field[str](doc="Mixed second moment (DP2: {band}_ixy).", default="shape_xy")
    extendednessColumn = Field[str](doc="1 for galaxies, 0 for stars.", default="refExtendedness")
    fluxColumn = Field[str](
        doc="Total flux; its uncertainty is the column of this name and 'Err'.", default="{band}_kronFlux"
    )
    redshiftColumn = Field[str](doc="Redshift, kept as host_redshift; none if empty.", default="")
    bulgeFluxColumn = Field[str](
        doc="Flux of a de Vaucouleurs bulge that was fitted together with an exponential disc; with the next "
        "three columns it gives the profile that makeTransients places transients by. None if empty.",
        default="",
    )
    discFluxColumn = Field[str](doc="Flux of the disc.", default="")
    bulgeRadiusColumn = Field[str](doc="Half-light semi-major axis of the bulge.", default="")
    discRadiusColumn = Field[str](doc="Half-light semi-major axis of the disc.", default="")
    trueFlags = ListField[str](
        doc="Flags that a host must have. detect_isPrimary says that it lies in the inner region of patch "
        "and tract, so that no galaxy is a host in two tracts.",
        default=["detect_isPrimary"],
    )
    falseFlags = ListField[str](
        doc="Flags that a host must not have.", default=["shape_flag", "{band}_kronFlux_flag"]
    )
    minExtendedness = Field[float](doc="Least extendedness.", default=0.5)
    withStars = Field[bool](
        doc="Keep stars too, whatever minExtendedness is: makeTransients lets them vary (starFraction).",
        default=False,
    )
    minSnr = Field[float](doc="Least signal-to-noise ratio of the flux.", default=10.0)
    minMag = Field[float](doc="Brightest magnitude of a host.", default=15.0)
    maxMag = Field[float](doc="Faintest magnitude of a host.", default=25.0)
    minSize = Field[float](doc="Smallest semi-major axis (rms, PSF included), arcsec.", default=0.1)
    maxSize = Field[float](doc="Largest semi-major axis (rms, PSF included), arcsec.", default=10.0)
    minAxisRatio = RangeField[float](
        doc="Least ratio of minor to major axis; below it are trails and spikes.",
        default=0.1,
        min=0.0,
        max=1.0,
    )

    def validate(self) -> None:
        """Check that the profile has all of its columns, or none."""
        super().validate()
        if any(self.profile_columns()) and not all(self.profile_columns()):
            names = "bulgeFluxColumn, discFluxColumn, bulgeRadiusColumn and discRadiusColumn"
            raise FieldValidationError(self.__class__.bulgeFluxColumn, self, f"{names} go together.")

    def profile_columns(self) -> tuple[str, str, str, str]:
        """Return the columns of bulge and disc: fluxes, then radii; empty if there are none."""
        return self.bulgeFluxColumn, self.discFluxColumn, self.bulgeRadiusColumn, self.discRadiusColumn

    def extra_columns(self) -> tuple[Column, ...]:
        """Return the columns that the host table has beyond the magnitudes."""
        return (HOST_REDSHIFT if self.redshiftColumn else ()) + (HOST_PROFILE if self.bulgeFluxColumn else ())

    def names(self) -> ObjectTableNames:
        """Return the column names."""
        return ObjectTableNames(
            ra=self.raColumn,
            dec=self.decColumn,
            x=self.xColumn,
            y=self.yColumn,
            xx=self.xxColumn,
            yy=self.yyColumn,
            xy=self.xyColumn,
            extendedness=self.extendednessColumn,
            flux=self.fluxColumn,
            true_flags=tuple(self.trueFlags),
            false_flags=tuple(self.falseFlags),
        )

    def cuts(self) -> HostCuts:
        """Return the cuts."""
        return HostCuts(
            min_extendedness=0.0 if self.withStars else self.minExtendedness,
            min_snr=self.minSnr,
            mag_range=(self.minMag, self.maxMag),
            size_range=(self.minSize, self.maxSize),
            min_axis_ratio=self.minAxisRatio,
        )

    def columns(self) -> list[str]:
        """Return the columns that are read of the object table."""
        names = self.names()
        single = [
            self.idColumn, self.tractColumn, self.patchColumn, names.ra, names.dec, names.x, names.y,
            names.xx, names.yy, names.xy, names.extendedness, *names.true_flags, *names.false_flags,
            *filter(None, (self.redshiftColumn, *self.profile_columns())),
        ]  # fmt: skip
        fluxes = [names.flux.format(band=band) for band in (self.band, *self.bands)]
        errors = [names.flux.format(band=self.band) + "Err"]
        return list(dict.fromkeys([name.format(band=self.band) for name in single] + fluxes + errors))


class SelectHostsTask(PipelineTask):
    """Choose galaxies by extendedness, magnitude, size and quality; turn their moments into ellipses."""

    ConfigClass = SelectHostsConfig
    _DefaultName = "selectHosts"
    config: SelectHostsConfig

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = host_galaxy_schema(self.config.bands, self.config.extra_columns())
        self.hostSchema = self.schema.describe()

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read the columns that are needed, of perhaps a thousand."""
        handle = butlerQC.get(inputRefs.objects)
        there = set(handle.get(component="columns"))
        columns = [name for name in self.config.columns() if name in there]
        objects = handle.get(parameters={"columns": columns})
        source = f"{inputRefs.objects.datasetType.name} {inputRefs.objects.dataId}"
        butlerQC.put(self.run(objects, source), outputRefs)

    def run(self, objects: Table, source: str = "object") -> Struct:
        """Choose the hosts of a tract.

        Parameters
        ----------
        objects : `astropy.table.Table`
            With the columns of the configuration. A column without a unit is in degrees, nJy or pixel^2.
        source : `str`, optional
            Dataset type and data ID, for the messages.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``hosts``: `astropy.table.Table` in `~dia_vetting.injection.schemas.host_galaxy_schema`.

        Raises
        ------
        TableSchemaError
            If a column is missing or has an impossible unit.
        TangentFitError
            If pixel and sky positions do not belong together.
        lsst.pipe.base.NoWorkFound
            If there is no host.
        """
        if not len(objects):
            raise NoWorkFound(f"{source}: no objects, so no hosts.")
        measured = read_objects(objects, self.config.names(), self.config.band, source)
        ellipses = host_ellipses(measured, source)
        chosen, rejected = select(measured, ellipses, self.config.cuts())
        self._report(len(objects), int(chosen.sum()), rejected)
        if not chosen.any():
            raise NoWorkFound(f"{source}: none of {len(objects)} objects is a host; rejected {rejected}.")
        return Struct(hosts=self._table(objects, measured, ellipses, chosen, source))

    def _report(self, n_objects: int, n_hosts: int, rejected: dict[str, int]) -> None:
        counts = ", ".join(f"{reason} {count}" for reason, count in rejected.items() if count)
        self.log.info(
            "Chose %d hosts of %d objects. Rejected by: %s.", n_hosts, n_objects, counts or "nothing"
        )
        self.metadata["objects"], self.metadata["hosts"] = n_objects, n_hosts
        self.metadata["rejected"] = rejected

    def _table(
        self,
        objects: Table,
        measured: MeasuredObjects,
        ellipses: Ellipses,
        chosen: NDArray[np.bool_],
        source: str,
    ) -> Table:
        config = self.config
        host_id = read_id(objects, config.idColumn, source)
        columns = {
            "host_id": host_id,
            "tract": read_id(objects, config.tractColumn, source),
            "patch": read_id(objects, config.patchColumn, source),
            "host_ra": measured.ra,
            "host_dec": measured.dec,
            "host_a": ellipses.a,
            "host_b": ellipses.b,
            "host_pa": ellipses.pa,
            "host_mag": measured.magnitude(),
            "host_extendedness": measured.extendedness,
            **{f"host_mag_{band}": self._magnitude(objects, band, source) for band in config.bands},
            **self._extra(objects, measured, source),
        }
        order = np.argsort(host_id[chosen], kind="stable")
        rows = {name: values[chosen][order] for name, values in columns.items()}
        return self.schema.build(rows, {"band": config.band})

    def _extra(
        self, objects: Table, measured: MeasuredObjects, source: str
    ) -> dict[str, NDArray[np.float64]]:
        """Return redshift, and bulge and disc, where the configuration names their columns."""
        values: dict[str, NDArray[np.float64]] = {}
        if self.config.redshiftColumn:
            name = self.config.redshiftColumn.format(band=self.config.band)
            values["host_redshift"] = read_column(objects, name, u.dimensionless_unscaled, source)
        if self.config.bulgeFluxColumn:
            names = [name.format(band=self.config.band) for name in self.config.profile_columns()]
            bulge, disc = (read_column(objects, name, u.nJy, source) for name in names[:2])
            scale = pixel_scale(measured, source)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.where((bulge >= 0) & (disc >= 0), bulge / (bulge + disc), np.nan)
            values["host_bulge_fraction"] = share
            values["host_bulge_radius"] = read_length(objects, names[2], scale, source)
            values["host_disc_radius"] = read_length(objects, names[3], scale, source)
        return values

    def _magnitude(self, objects: Table, band: str, source: str) -> NDArray[np.float64]:
        return ab_magnitude(read_column(objects, self.config.fluxColumn.format(band=band), u.nJy, source))
