"""The task that combines the catalogs of what was injected into a visit image and into its template."""

import pytest
from dia_vetting.errors import TableSchemaError
from dia_vetting.injection.combine_injections import (
    CombineInjectionsConfig,
    CombineInjectionsConnections,
    CombineInjectionsTask,
)
from dia_vetting.injection.schemas import INJECTED_CATALOG, INJECTED_DIFFERENCE_CATALOG
from lsst.pipe.base.testUtils import assertValidInitOutput, lintConnections
from test_difference_catalog import catalog


def _task():
    return CombineInjectionsTask(config=CombineInjectionsConfig())


def test_it_combines_and_counts():
    task = _task()
    found = task.run(catalog([1, 2], [10.0, 20.0]), catalog([3, 2], [5.0, 60.0])).catalog
    INJECTED_DIFFERENCE_CATALOG.check(found)
    assert found["injection_id"].tolist() == [1, 2, 3]
    assert found["flux"].tolist() == [10.0, -40.0, -5.0]
    assert (task.metadata["injections"], task.metadata["negative"]) == (3, 2)


def test_nothing_injected_gives_an_empty_table():
    task = _task()
    assert len(task.run(INJECTED_CATALOG.empty(), INJECTED_CATALOG.empty()).catalog) == 0
    assert task.metadata["negative"] == 0


def test_a_table_that_cannot_be_used_is_named():
    good, bad = catalog([1], [10.0]), catalog([1], [10.0])
    bad.remove_column("flux")
    with pytest.raises(TableSchemaError, match="injected_visit_image_catalog: expected column 'flux'"):
        _task().run(bad, good)
    with pytest.raises(TableSchemaError, match="injected_template_detector_catalog: expected column 'flux'"):
        _task().run(good, bad)


def test_connections_and_schema():
    lintConnections(CombineInjectionsConnections)
    assertValidInitOutput(_task())
    config = CombineInjectionsConfig()
    config.connections.differenceCatalogType = "other"
    connections = CombineInjectionsConnections(config=config)
    assert (connections.catalog.name, connections.catalogSchema.name) == ("other", "other_schema")
