import io

import numpy as np
import pytest
from dia_vetting.reliability.ablation import ablation_figure, ablation_table


def figure(value, width=0.01):
    return {"value": value, "low": value - width, "high": value + width}


ROWS = {
    "plain": {"fnr": figure(0.05), "auc": figure(0.98, np.nan), "parameters": 123456, "note": "as it was"},
    "co-teaching": {"fnr": figure(0.02), "auc": 0.99, "parameters": 123456},
    "failed": {"fnr": figure(np.nan), "auc": None},
}


def test_table():
    text = ablation_table(ROWS, digits=3, best={"fnr": "lowest", "auc": "highest"})
    assert text.splitlines() == [
        "| | fnr | auc | parameters | note |",
        "|---|---|---|---|---|",
        "| plain | 0.050 [0.040, 0.060] | 0.980 | 123,456 | as it was |",
        "| co-teaching | **0.020 [0.010, 0.030]** | **0.990** | 123,456 | - |",
        "| failed | - | - | - | - |",
    ]


def test_headings_choose_order_and_name():
    text = ablation_table(ROWS, {"auc": "AUC", "fnr": "FNR at FPR 1 %"})
    assert text.splitlines()[0] == "| | AUC | FNR at FPR 1 % |"
    assert "123,456" not in text
    with pytest.raises(ValueError, match="fnr is either the highest or the lowest, not the least"):
        ablation_table(ROWS, best={"fnr": "least"})


def test_figure_has_a_point_for_each_number():
    drawn = ablation_figure(ROWS, {"fnr": "FNR", "auc": "AUC"}, "Strategies", log=["fnr"])
    left, right = drawn.axes
    assert left.get_xscale() == "log"
    np.testing.assert_allclose(left.containers[0].lines[0].get_xdata(), [0.05, 0.02])
    np.testing.assert_allclose(right.containers[0].lines[0].get_xdata(), [0.98, 0.99])
    assert [label.get_text() for label in left.get_yticklabels()] == list(ROWS)
    buffer = io.BytesIO()
    drawn.savefig(buffer)
    assert buffer.getvalue()


def test_zero_on_a_logarithmic_axis_is_an_upper_limit():
    drawn = ablation_figure(
        {"none": {"fnr": {"value": 0.0, "low": 0.0, "high": 0.004}}}, {"fnr": "FNR"}, log=["fnr"]
    )
    (arrow,) = (line for line in drawn.axes[0].lines if line.get_marker() == "<")
    np.testing.assert_allclose(arrow.get_xdata(), [0.004])
