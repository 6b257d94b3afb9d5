import numpy as np
import pytest
from astropy.table import vstack
from dia_vetting.blends.schemas import OBJECT_BLEND
from dia_vetting.injection.blend_efficiency import blend_efficiency, host_blends
from dia_vetting.injection.evaluate_injection import EvaluateInjectionTask
from dia_vetting.reliability.ids import MissingIdError
from test_evaluate_injection import outcomes


def blends(ids, p_blend, band="r"):
    n = len(ids)
    values = {"objectId": ids, "p_blend": p_blend, "band": np.full(n, band), "blendVersion": np.full(n, "a")}
    zeros = {name: np.zeros(n) for name in OBJECT_BLEND.names() if name not in values}
    return OBJECT_BLEND.build(values | zeros)


def test_hosts_are_found_by_id_in_the_band_of_the_injection():
    table = outcomes(6, host_id=[5, 7, 0, 9, 5, 8], band=["r", "r", "r", "r", "g", "g"])
    patches = [blends([7, 5], [0.1, 0.9]), blends([8, 5], [0.3, 0.2], "g"), blends([9], [np.nan])]
    expected = [0.9, 0.1, np.nan, np.nan, 0.2, 0.3]
    np.testing.assert_allclose(host_blends(table, patches), expected, rtol=1e-6)
    assert np.isnan(host_blends(table, [])).all()
    with pytest.raises(MissingIdError, match="object_blend in r"):
        host_blends(table, [*patches, blends([5], [0.5])])


def test_completeness_by_the_blending_of_the_host():
    n = 400
    rng = np.random.default_rng(0)
    hosted, p_blend = np.arange(n) % 4 > 0, rng.random(n)
    p_blend[~hosted] = np.nan
    p_blend[1::8] = np.nan
    recovered = np.where(p_blend >= 0.7, rng.random(n) < 0.5, True)
    snr = np.full(n, 6.0)
    snr[:20] = 10.0
    table = outcomes(n, host_id=hosted.astype(int), recovered=recovered, expected_snr=snr)
    figures = blend_efficiency(table, p_blend, 0.7)
    assert sum(part["all"]["n"] for part in figures.values()) == n
    blended = p_blend >= 0.7
    assert figures["blended"]["all"]["n"] == blended.sum()
    assert figures["blended"]["all"]["value"] == pytest.approx(recovered[blended].mean())
    assert figures["blended"]["all"]["low"] < 0.5 < figures["blended"]["all"]["high"]
    assert figures["not_blended"]["all"]["value"] == 1
    assert figures["not_flagged"]["all"]["n"] == (hosted & np.isnan(p_blend)).sum()
    assert figures["no_host"]["all"]["n"] == (~hosted).sum()
    assert figures["blended"]["snr_8_to_20"]["n"] == (blended & (snr == 10)).sum()
    none = blend_efficiency(table[:0], p_blend[:0], 0.7)["blended"]["all"]
    assert none == {"value": None, "low": None, "high": None, "n": 0}


def test_the_task_has_the_figures_where_it_is_told():
    config = EvaluateInjectionTask.ConfigClass()
    assert "blends" not in config.ConnectionsClass(config=config).inputs
    config.doBlends = True
    assert "blends" in config.ConnectionsClass(config=config).inputs
    table = vstack([outcomes(60, host_id=np.arange(60) % 3), outcomes(60, seed=1, host_id=np.full(60, 3))])
    task = EvaluateInjectionTask(config=config)
    metrics = task.run(table, [], [blends([1, 2], [0.9, 0.1])]).metrics
    assert [metrics["blends"][part]["all"]["n"] for part in metrics["blends"]] == [20, 20, 60, 20]
    assert "blends" not in task.run(table, []).metrics
