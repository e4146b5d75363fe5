"""Debian's Chromium for tests that look at pages."""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launched(what):
    """Start it; skip the test where it is not installed."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip(f"chromium is not installed, so {what} not looked at in a browser (apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()
