"""The report page in headless Chromium: what is shown is what was asked for, and nothing leaves the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, complaints, needs_chromium, open_page, requests, wait
from dia_vetting.reliability.human_labels import read_label_files
from dia_vetting.report.joining import join_run
from dia_vetting.report.sprites import compress_stamps
from dia_vetting.report.tables import PageLimits
from dia_vetting.report.writing import render_page
from PIL import Image
from report_samples import page_text, synthetic, synthetic_page, synthetic_tables
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(page_text(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def driver(folder: Path) -> Iterator[Chrome]:
    with chromium(folder) as started:
        yield started


@pytest.fixture
def opened(driver: Chrome, page: Path) -> Iterator[Chrome]:
    """Open the page afresh, and afterwards see that it asked for nothing and complained of nothing."""
    driver.get("about:blank")
    requests(driver), complaints(driver)
    open_page(driver, page)
    driver.execute_script("localStorage.clear(); Labels.clear()")
    yield driver
    asked = [url for url in requests(driver) if not url.startswith(("data:", "blob:"))]
    assert set(asked) <= {page.as_uri()}, "a request left the page"
    assert complaints(driver) == []


def element(driver: Chrome, selector: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, selector)


def click(driver: Chrome, selector: str) -> None:
    """Click an element with the mouse, in the middle of the window."""
    found = element(driver, selector)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
    found.click()


def row_on_screen(driver: Chrome, row: int) -> tuple[float, float]:
    """Return where a source is on the map, from the middle of the canvas."""
    driver.execute_script(
        "document.getElementById('scatter').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    return tuple(
        driver.execute_script(
            "const s = App.state().map.scatter; const [x, y] = s.place(arguments[0]);"
            "return [(x - s.canvas.width / 2) / s.ratio, (y - s.canvas.height / 2) / s.ratio]",
            row,
        )
    )


def lonely_row(driver: Chrome) -> int:
    """Return a source with no other one near it on the map."""
    return driver.execute_script(
        "const s = App.state().map.scatter; const p = Array.from({length: s.n}, (_, i) => s.place(i));"
        "const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);"
        "const gap = (i) => Math.min(...p.map((q, k) => k === i ? 1e9 : apart(q, p[i])));"
        "let best = 0, most = 0;"
        "for (let i = 0; i < s.n; i++) {"
        "  const g = gap(i);"
        "  if (g > most && p[i][1] > 60) [best, most] = [i, g];"
        "}"
        "return best"
    )


def shown_triplet(driver: Chrome, canvas: str) -> np.ndarray:
    """Return the pixels of a canvas, RGB (height, width, 3)."""
    url = driver.execute_script("return document.querySelector(arguments[0]).toDataURL('image/png')", canvas)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")).astype(
        float
    )


def true_pixels(source: int) -> np.ndarray:
    """Return the grey levels of the science stamp of a source, from its cutout, rows from the top."""
    for cutouts in synthetic().cutouts():
        at = np.flatnonzero(np.asarray(cutouts["diaSourceId"]) == source)
        if len(at):
            return compress_stamps(cutouts[at]).pixels[0, 0, ::-1].astype(float)
    raise AssertionError(source)


def test_hovering_shows_the_stamp_of_that_source(opened: Chrome) -> None:
    row = lonely_row(opened)
    canvas = element(opened, "#scatter")
    dx, dy = row_on_screen(opened, row)
    ActionChains(opened).move_to_element_with_offset(canvas, round(dx), round(dy)).perform()
    source = str(synthetic_page()[1].sources["id"][row])
    wait(lambda: element(opened, "#inspector").get_attribute("data-source") == source)
    wait(lambda: element(opened, "#inspect-stamp").get_attribute("data-source") == source)
    shown = shown_triplet(opened, "#inspect-stamp")
    size = 30
    assert shown.shape == (size, 3 * size + 4, 3)
    grey = shown[:, :size].mean(axis=2)
    known = np.ptp(shown[:, :size], axis=2) == 0  # yellow is what is not known
    distance = {
        int(other): np.abs(grey - true_pixels(int(other)))[known].mean() for other in (source, other_id(row))
    }
    assert distance[int(source)] < 10
    assert distance[other_id(row)] > 20


def other_id(row: int) -> int:
    ids = synthetic_page()[1].sources["id"]
    return int(ids[(row + 17) % len(ids)])


def test_clicking_opens_the_object_of_that_source(opened: Chrome) -> None:
    row = lonely_row(opened)
    dx, dy = row_on_screen(opened, row)
    ActionChains(opened).move_to_element_with_offset(
        element(opened, "#scatter"), round(dx), round(dy)
    ).click().perform()
    _, page, _ = synthetic_page()
    owner = page.sources["object"][row]
    assert element(opened, "#panel-title").text == f"Object {page.objects['id'][owner]}"
    tiles = opened.find_elements(By.CSS_SELECTOR, "#panel .tile[data-source]")
    assert [t.get_attribute("data-source") for t in tiles] == [
        str(i) for i in page.sources["id"][page.sources["object"] == owner]
    ]
    verdict = str(page.objects["v_verdict"][owner])
    assert verdict in element(opened, "#panel .verdict").text
    query = element(opened, "#panel .query").text
    assert str(page.objects["id"][owner]) in query
    assert str(page.sources["id"][row]) in query
    assert opened.current_url.endswith(f"#object={page.objects['id'][owner]}")
    assert len(opened.find_elements(By.CSS_SELECTOR, "#panel svg.chart")) == 2
    ActionChains(opened).send_keys(Keys.ESCAPE).perform()
    assert not element(opened, "#panel").is_displayed()


def test_the_light_curve_has_every_detection_and_forced_point(opened: Chrome) -> None:
    _, page, _ = synthetic_page()
    owner = int(np.argmax(page.objects["n"]))
    opened.execute_script(
        "App.openObject(arguments[0], App.state().data.objects.col.first[arguments[0]])", owner
    )
    chart = element(opened, "#panel svg.chart")
    n_detections = int((page.sources["object"] == owner).sum())
    assert len(chart.find_elements(By.CSS_SELECTOR, ".epoch")) == n_detections
    detected = page.sources["visit"][page.sources["object"] == owner]
    others = (page.forced["object"] == owner) & ~np.isin(page.forced["visit"], detected)
    assert f"{n_detections} detections, {others.sum()} forced points" in chart.get_attribute("aria-label")
    limits = np.abs(page.forced["flux"][others]) < 3 * page.forced["err"][others]
    hollow = chart.find_elements(By.CSS_SELECTOR, ".hollow")
    triangles = chart.find_elements(By.CSS_SELECTOR, "polygon[fill='none']")
    assert (len(hollow), len(triangles)) == (int((~limits).sum()), int(limits.sum()))


def _column(driver: Chrome, key: str) -> list[str]:
    script = (
        "const c = App.state().candidates; const column = c.columns.find((one) => one.key === arguments[0]);"
        "return c.rows.map((i) => column.text(i))"
    )
    return driver.execute_script(script, key)


def _shown_objects(driver: Chrome) -> list[str]:
    script = (
        "return [...document.querySelectorAll('.candidates .rows .row')].map((row) => row.dataset.object)"
    )
    return driver.execute_script(script)


def test_the_table_sorts(opened: Chrome) -> None:
    _, page, _ = synthetic_page()
    click(opened, "[data-sort=n]")
    counts = page.objects["n"]
    order = np.lexsort((np.arange(len(counts)), -counts))
    assert _shown_objects(opened)[:8] == [str(i) for i in page.objects["id"][order[:8]]]
    click(opened, "[data-sort=n]")
    assert _column(opened, "n") == [str(n) for n in np.sort(counts)]
    assert element(opened, "[aria-sort=ascending]").text.startswith("Sources")
    click(opened, "[data-sort=id]")
    ids = [int(text) for text in _column(opened, "id")]
    assert ids == sorted(ids), "ids of 63 bits are compared as numbers"


def test_the_table_filters(opened: Chrome) -> None:
    _, page, _ = synthetic_page()
    Select(element(opened, ".candidates [name=verdict]")).select_by_value("confirmed")
    wanted = page.objects["v_verdict"] == "confirmed"
    assert 0 < wanted.sum() < len(wanted)
    assert set(_column(opened, "verdict")) == {"confirmed"}
    assert element(opened, "#candidate-count").text == f"{wanted.sum()} of {len(wanted)} objects"
    Select(element(opened, ".candidates [name=verdict]")).select_by_value("")
    source = str(page.sources["id"][40])
    element(opened, ".candidates [name=text]").send_keys(source)
    assert _shown_objects(opened) == [str(page.objects["id"][page.sources["object"][40]])]
    click(opened, ".candidates .rows .row")
    assert element(opened, "#panel").get_attribute("data-object") == _shown_objects(opened)[0]


def test_the_map_filters_and_colours(opened: Chrome) -> None:
    _, page, _ = synthetic_page()
    count = element(opened, "#map-count")
    n = len(page.sources["id"])
    click(opened, "#legend [data-class=artefact]")
    real = int((page.sources["truth"] != "artefact").sum())
    assert count.text == f"{real} of {n} sources"
    Select(element(opened, "#colour")).select_by_visible_text("Score")
    assert count.text == f"{n} of {n} sources"
    low = element(opened, "#score-low")
    low.clear()
    low.send_keys("0.5")
    assert count.text == f"{int((page.sources['reliability'] >= 0.5).sum())} of {n} sources"
    for option in Select(element(opened, "#colour")).options:
        option.click()
    for option in Select(element(opened, "#projection")).options:
        option.click()


def test_it_works_without_a_mouse(opened: Chrome) -> None:
    opened.execute_script("document.getElementById('scatter').focus()")
    ActionChains(opened).send_keys(Keys.ARROW_RIGHT).perform()
    first = wait(lambda: element(opened, "#inspector").get_attribute("data-source"))
    ActionChains(opened).send_keys(Keys.ARROW_RIGHT).perform()
    second = wait(lambda: element(opened, "#inspector").get_attribute("data-source"))
    assert first != second
    ActionChains(opened).send_keys("r").perform()
    assert opened.execute_script("return Labels.of(arguments[0])", second) == "real"
    ActionChains(opened).send_keys(Keys.ENTER).perform()
    assert element(opened, "#panel").is_displayed()
    assert opened.execute_script("return document.activeElement.id") == "panel-title"
    ActionChains(opened).send_keys(Keys.ESCAPE).perform()
    assert opened.execute_script("return document.activeElement.id") == "scatter"
    opened.execute_script("document.querySelector('.viewport').focus()")
    ActionChains(opened).send_keys(Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER).perform()
    third = opened.execute_script(
        "const c = App.state().candidates; return App.state().data.objects.get('id', c.rows[2])"
    )
    assert element(opened, "#panel").get_attribute("data-object") == third


def test_labels_survive_a_reload_and_are_saved_to_a_file_that_can_be_read(
    opened: Chrome, folder: Path
) -> None:
    _, page, _ = synthetic_page()
    ids = [str(page.sources["id"][row]) for row in (3, 50, 51)]
    for row, key in zip((3, 50, 51), "rbu", strict=True):
        opened.execute_script("App.point(arguments[0])", row)
        ActionChains(opened).send_keys(key).perform()
    opened.refresh()
    wait(lambda: opened.execute_script("return document.documentElement.dataset.ready"))
    assert element(opened, "#label-counts").text == "1 real, 1 bogus, 1 unsure"
    opened.execute_script("document.getElementById('label-save').click()")
    path = wait(lambda: next(folder.glob("labels_*.json"), None))
    table = read_label_files([path], "Synthetic", "somebody")
    assert {str(i): label for i, label in table["diaSourceId", "label"].iterrows()} == dict(
        zip(ids, ("real", "bogus", "unsure"), strict=True)
    )
    assert all(len(json.loads(path.read_text())["labels"][k]["time"]) == 24 for k in range(3))
    opened.execute_script("Labels.clear()")
    assert element(opened, "#label-counts").text == "0 real, 0 bogus, 0 unsure"
    element(opened, "#label-read").send_keys(str(path))
    wait(lambda: element(opened, "#label-counts").text == "1 real, 1 bogus, 1 unsure")


def test_an_address_opens_an_object_and_dark_is_remembered(opened: Chrome, page: Path) -> None:
    tables = synthetic_page()[1]
    opened.get("about:blank")
    open_page(opened, page, f"#object={tables.objects['id'][5]}")
    assert element(opened, "#panel-title").text == f"Object {tables.objects['id'][5]}"
    before = opened.execute_script("return document.documentElement.dataset.theme")
    opened.execute_script("document.getElementById('theme').click()")
    opened.refresh()
    wait(lambda: opened.execute_script("return document.documentElement.dataset.ready"))
    assert opened.execute_script("return document.documentElement.dataset.theme") != before


def test_a_small_window_has_no_horizontal_scroll(opened: Chrome) -> None:
    opened.set_window_size(560, 900)
    try:
        opened.execute_script("App.open(4)")
        width, inner = opened.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width <= inner
        assert element(opened, "#panel").rect["width"] <= inner
    finally:
        opened.set_window_size(1440, 900)


def test_what_is_missing_is_said(driver: Chrome, folder: Path) -> None:
    run = synthetic_tables(verdicts=False, embedding=False, metrics=False)
    tables = join_run(run, PageLimits())
    path = folder / "bare.html"
    path.write_text(render_page(run, tables, None, PageLimits()), encoding="utf-8")
    complaints(driver)
    open_page(driver, path)
    notes = element(driver, "#notes").get_attribute("textContent")
    assert "No dia_object_verdict in the collection" in notes
    assert "No reliability_embedding in the collection" in notes
    driver.execute_script("App.open(4)")
    text = element(driver, "#panel").text
    assert "no verdict of this object" in text
    assert "no embedding in the collection" in text
    assert "no stamp on this page" in text
    assert "no metrics" in element(driver, "#figures-table").get_attribute("textContent")
    assert complaints(driver) == []
