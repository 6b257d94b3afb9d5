"""What configurations of populations are refused."""

import pytest
from dia_vetting.injection.make_transients import MakeTransientsTask
from dia_vetting.injection.transients import Visit
from dia_vetting.injection.visit_records import DimensionRecordError
from lsst.pex.config import FieldValidationError
from test_populations import field, hosts, visits

BAD_RANGES = {
    "supernova": {"minRedshift": 0.5, "maxRedshift": 0.3},
    "supernova peak": {"peakMagnitudes": [20.0]},
    "agn": {"minTau": 0.0},
    "variable": {"minSigma": 0.3, "maxSigma": 0.1},
    "moving": {"minMag": 25.0},
    "static": {"range": [24.0, 20.0]},
    "static host": {"brightness": "host_offset"},
}


@pytest.mark.parametrize(("name", "values"), BAD_RANGES.items(), ids=BAD_RANGES.keys())
def test_ranges_that_are_none_are_refused(name, values):
    config = MakeTransientsTask.ConfigClass()
    config.validate()
    section = getattr(config, name.split()[0])
    for key, value in values.items():
        setattr(section, key, value)
    with pytest.raises(FieldValidationError):
        config.validate()


def test_a_population_is_named_once():
    config = MakeTransientsTask.ConfigClass()
    config.populations = ["moving", "moving"]
    with pytest.raises(ValueError, match="each once"):
        config.validate()


def test_template_exposures_need_times():
    config = MakeTransientsTask.ConfigClass()
    config.populations = ["agn"]
    timeless = [Visit(v.visit, v.band, v.regions) for v in visits(1)]
    with pytest.raises(DimensionRecordError, match="timespan"):
        MakeTransientsTask(config=config).run(hosts(5), visits(1), field(), timeless)
