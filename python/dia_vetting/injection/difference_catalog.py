"""What a difference image shows of injections: the light in the visit minus the light in the template."""

from __future__ import annotations

__all__ = ["combine_catalogs"]

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from ..magnitudes import AB_ZERO_POINT
from ..tables import stack_tables
from .schemas import INJECTED_DIFFERENCE_CATALOG

_SUMMED = ("flux", "injected_flux")


def combine_catalogs(science: Table, template: Table) -> Table:
    """Combine the injected catalogs of a visit image and of its template.

    Parameters
    ----------
    science, template : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTED_CATALOG`; an id stands once in each.

    Returns
    -------
    catalog : `astropy.table.Table`
        In `~dia_vetting.injection.schemas.INJECTED_DIFFERENCE_CATALOG`: the rows of ``science``, then those
        that only ``template`` has. ``flux`` and ``injected_flux`` are differences (nJy) of what was really
        injected, ``mag`` is the AB magnitude of the absolute flux, and a change of exactly nothing has an
        infinite ``mag``. Where one image got its light and the other did not, the light that is there counts,
        with no flag; where neither did, the flags of both are united.
    """
    ids, template_ids = (np.asarray(table["injection_id"], np.int64) for table in (science, template))
    in_both = np.isin(template_ids, ids)
    only_template = template[~in_both].copy()
    for name in _SUMMED:
        only_template[name] *= -1.0
    rows = science.copy()
    at = _rows_of(template_ids[in_both], ids)
    flag, template_flag = (
        np.asarray(table["injection_flag"], np.int64) for table in (rows[at], template[in_both])
    )
    failed, template_failed = (flag != 0) & (template_flag == 0), (flag == 0) & (template_flag != 0)
    for name in _SUMMED:
        light, removed = np.asarray(rows[name], float)[at], np.asarray(template[name], float)[in_both]
        rows[name][at] = np.where(failed, 0.0, light) - np.where(template_failed, 0.0, removed)
    rows["injection_flag"][at] = np.where(failed | template_failed, 0, flag | template_flag)
    catalog = stack_tables([rows, only_template], INJECTED_DIFFERENCE_CATALOG)
    with np.errstate(divide="ignore"):
        mag = AB_ZERO_POINT - 2.5 * np.log10(np.abs(np.asarray(catalog["flux"], float)))
    values = {name: catalog[name] for name in INJECTED_DIFFERENCE_CATALOG.names()} | {"mag": mag}
    return INJECTED_DIFFERENCE_CATALOG.build(values)


def _rows_of(wanted: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row in ``ids`` of each wanted id; all are there."""
    order = np.argsort(ids)
    return np.asarray(order[np.searchsorted(ids, wanted, sorter=order)], np.int64)
