import pytest

from tests.browser import launched


@pytest.fixture(scope="module")
def browser():
    with launched("the report was") as browser:
        yield browser


@pytest.fixture(params=[1280, 375])
def page(request, browser, report):
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    page.console_lines, page.requests = [], []
    page.on("console", lambda message: page.console_lines.append(message.text))
    page.on("pageerror", lambda error: page.console_lines.append(str(error)))
    page.on("request", lambda sent: page.requests.append(sent.url))
    page.goto(report.as_uri())
    yield page
    page.close()


def test_it_needs_nothing_else(page, report):
    page.wait_for_load_state("networkidle")
    assert [url for url in page.requests if url != "data:,"] == [report.as_uri()]
    assert page.console_lines == []


def test_only_tables_scroll_sideways(page):
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll('main *')]
            .filter(e => !e.closest('.scroll') && !e.closest('svg') && e.getBoundingClientRect().width)
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_nothing_is_cut_off(page):
    """On a screen no table has to be scrolled; on paper none is wider than an A4 page within its margins."""
    wider = (
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
    )
    assert page.evaluate(wider) == []
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 673, "height": 1000})  # A4 less 16 mm on either side, at 96 pixels an inch
    assert page.evaluate(wider) == [] and page.evaluate("document.documentElement.scrollWidth") <= 673


def test_charts_are_seen_whole_and_can_be_read(page):
    narrow = page.viewport_size["width"] == 375
    charts = page.locator("figure svg:visible")
    assert charts.count() == 4
    for place in range(4):
        box = charts.nth(place).bounding_box()
        assert box["height"] > 150 and box["width"] > (300 if narrow else 600)
    # Letters keep the size they were drawn in, for the chart is drawn anew for a phone, not shrunk.
    letters = page.evaluate(
        """() => [...document.querySelectorAll('figure svg text')].filter(e => e.getBoundingClientRect().width)
            .map(e => parseFloat(getComputedStyle(e).fontSize) * Math.hypot(e.getScreenCTM().a, e.getScreenCTM().b))"""
    )
    assert letters and min(letters) >= 10
    cut = page.evaluate(
        """() => [...document.querySelectorAll('figure svg text')].filter(e => e.getBoundingClientRect().width)
            .filter(e => { const t = e.getBoundingClientRect(), s = e.ownerSVGElement.getBoundingClientRect();
                return t.left < s.left - 1 || t.right > s.right + 1 || t.bottom > s.bottom + 1 })
            .map(e => e.textContent)"""
    )
    assert cut == []


def test_the_verdict_is_seen_first(page):
    box = page.get_by_role("heading", level=1).bounding_box()
    assert box["y"] + box["height"] < 400
    assert page.get_by_role("heading", level=1).inner_text() == "Forgotten"
    assert page.get_by_role("img").count() == 4
    if page.viewport_size["width"] == 1280:  # what is claimed, how sure it is, and the first thing that is left to do
        for seen in (page.locator(".bounded"), page.locator(".to-do li").first):
            box = seen.bounding_box()
            assert box["y"] + box["height"] < 800
