"""A real case from request to certificate through the browser; a real worker answers it."""

import pytest

from neuralyzer.project.project import Project
from neuralyzer.service.api.app import create_app
from neuralyzer.service.settings import Settings
from neuralyzer.service.states import State
from tests.service.browser import Visit, served

pytestmark = pytest.mark.slow


def test_from_request_to_certificate(service, chromium):
    path = service.path
    text = path.read_text().replace("[policy]", '[policy]\napprove = "before-unlearn"\nretention_days = 30', 1)
    path.write_text(text)
    project = Project.read(path)
    app = create_app(Settings.of(project), project)
    secret = app.state.service.tokens.new("Ines Weber", ["request", "approve"])[1]
    service.worker()
    with served(app) as address:
        someone = Visit(chromium, address, secret)
        page = someone.page
        page.get_by_role("link", name="New request").click()
        page.get_by_label("People whose rows").fill("c0")
        page.get_by_role("button", name="Take the request in").click()
        id_ = page.url.rsplit("/", 1)[1]
        page.evaluate("window.same = true")
        seen = "document.querySelector('#display').dataset.state"
        someone.until(seen, "planned", seconds=600)
        assert page.get_by_text("The original reads").count() and page.get_by_role("radio").count() > 1
        assert page.evaluate("window.same") and someone.page.locator("#display").get_attribute("data-tone") == "red"
        page.get_by_role("radio", name="influence").check()  # whose losses move
        page.get_by_role("button", name="Approve and unlearn").click()
        page.wait_for_load_state()
        page.evaluate("window.same = true")
        someone.until("document.querySelectorAll('polyline').length > 1", True, seconds=600)
        someone.picture("unlearning", clip={"x": 0, "y": 0, "width": 1280, "height": 1000}, full_page=True)
        someone.until(seen, "done", seconds=600)
        request = service.requests.get(id_)
        assert request.state is State.DONE and request.verdict == "forgotten" and page.evaluate("window.same")
        assert page.locator("#display").get_attribute("data-tone") == "green"
        assert page.locator(".rail li:not(.done)").count() == 0
        page.wait_for_timeout(1500)  # the flash is over
        someone.picture("forgotten", clip={"x": 0, "y": 0, "width": 1280, "height": 1000}, full_page=True)
        with page.expect_download() as download:
            page.get_by_role("link", name="Certificate").click()
        kept = service.case(request) / "certificate.json"
        assert download.value.path().read_bytes() == kept.read_bytes()
        assert service.folder("certificate", "verify", str(kept)).code == 0
        page.get_by_role("link", name="Open the report").click()
        page.get_by_role("heading", name="Forgotten").wait_for()
        someone.go("/models")
        assert page.get_by_text("Version 1 is in use").count() == 1
        someone.picture("models")
        someone.go("/ledger")
        page.get_by_role("button", name="Check it now").click()
        page.get_by_text("Nothing was changed, removed").wait_for(timeout=60_000)
        someone.picture("ledger")
        assert someone.wrong == []
    app.state.service.requests.database.close()
