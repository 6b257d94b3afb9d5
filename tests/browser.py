"""A headless Chromium for the tests of the report page, and what it says of requests and errors."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find(*names: str) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)


CHROMIUM = find("chromium", "chromium-browser", "google-chrome")
DRIVER = find("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no chromium and chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)",
)


@contextmanager
def chromium(folder: Path, width: int = 1440, height: int = 900) -> Iterator[webdriver.Chrome]:
    """Start a Chromium with a profile and downloads of its own in a folder."""
    assert CHROMIUM is not None
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait[T](find: Callable[[], T], seconds: float = 30.0) -> T:
    """Return what a function returns, once that is true."""
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.05)
    return found


def open_page(driver: webdriver.Chrome, page: Path, anchor: str = "") -> float:
    """Open a page; return the seconds until everything on it can be used."""
    start = time.monotonic()
    driver.get(f"{page.as_uri()}{anchor}")
    wait(lambda: driver.execute_script("return document.documentElement.dataset.ready"), 120)
    return time.monotonic() - start


def requests(driver: webdriver.Chrome) -> list[str]:
    """Return the addresses of all requests since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def complaints(driver: webdriver.Chrome) -> list[str]:
    """Return what has been written to the console since the last call."""
    return [f"{entry['level']}: {entry['message']}" for entry in driver.get_log("browser")]
