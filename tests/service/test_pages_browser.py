"""The pages in a browser: they move by themselves, can be used by all, and work without a script."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.service.browser import Visit, served
from tests.service.dashboard import Story, many
from tests.service.http import world_of

POLICY = '\n[policy]\napprove = "before-unlearn"\nretention_days = 30\n[service]\nrate = 1000000\n'
PATHS = (
    "/",
    "/?closed=true",
    "/new",
    "/models",
    "/subject",
    "/ledger",
    "/claim",
    "/settings",
    "/cases/req-0000000000000000",
)
# Which pages a look sees: half of them, in the quick tests, or all.
LOOKS = [
    ("dark", 1280, slice(0, None, 2)),
    ("light", 390, slice(1, None, 2)),
    *(
        pytest.param(scheme, width, slice(None), marks=pytest.mark.slow)
        for scheme in ("dark", "light")
        for width in (1280, 390)
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A service with requests in every state, and its address."""
    world = world_of(tmp_path_factory.mktemp("site"), POLICY)
    stories = many(world)
    with served(world.app) as address:
        yield world, address, stories


@pytest.fixture
def visit(chromium, site):
    made = []

    def make(scope="admin", **more):
        world, address, _ = site
        made.append(Visit(chromium, address, world.secrets[scope], **more))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
        assert all("404" in line for line in one.wrong), one.wrong  # of the page that is not there


@pytest.mark.parametrize(("scheme", "width", "seen"), LOOKS)
def test_axe_finds_nothing(visit, site, scheme, width, seen):
    someone = visit(scheme=scheme, width=width, reduced_motion="reduce")
    paths = [*PATHS, *(f"/cases/{story.id}" for story in site[2].values())]
    for path in paths[seen]:
        page = someone.go(path)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        found = Axe().run(
            page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
        )
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page = someone.go("/subject")
    page.get_by_label("Name").fill("c1@example.com")
    page.get_by_role("button", name="Search").click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    someone.page.get_by_role("button", name="Sign out").click()
    someone.page.wait_for_url("**/sign-in")
    assert Axe().run(someone.page).violations_count == 0


def test_a_case_moves_by_itself(visit, site):
    world, _, _ = site
    story = Story(world, "Live Person")
    someone = visit()
    page = someone.go(f"/cases/{story.id}")
    page.evaluate("window.same = true")  # gone if the page were loaded anew
    title, lit = page.locator("#display h1"), page.locator(".rail li.done")

    def expect(text, stops, tone):
        someone.until(
            "document.querySelector('#display h1').textContent", text,
            "document.querySelectorAll('.rail li.done').length", stops,
            "document.querySelector('#display').dataset.tone", tone,
        )  # fmt: skip
        assert (title.inner_text(), lit.count()) == (text, stops)

    expect("Received", 1, "red")
    story.prepare()
    expect("Preparing", 2, "red")
    story.audit()
    expect("Preparing", 3, "red")
    page.get_by_text("The original reads").first.wait_for()
    assert page.locator("#families figure svg:visible").count() == 1
    story.plan()
    expect("Planned", 4, "red")
    assert page.get_by_role("radio").count() == 4 and page.get_by_role("radio").first.is_checked()
    story.unlearn(8)
    expect("Unlearning", 5, "red")
    before = page.locator("polyline.forget").get_attribute("points")
    for step in range(8, 20):
        story.progress(step)
    someone.until("document.querySelector('progress').value", 20)
    after = page.locator("polyline.forget").get_attribute("points")
    assert len(after.split()) == 20 > len(before.split())
    assert not page.evaluate("document.body.classList.contains('flash')")
    story.judge()
    expect("Forgotten", 8, "green")
    assert page.evaluate("document.body.classList.contains('flash')") and page.get_by_text("Now judged").count() == 1
    story.release()
    expect("Forgotten", 9, "green")
    assert page.evaluate("window.same") and someone.wrong == []


@pytest.mark.parametrize(
    ("verdict", "tone"), [("inconclusive", "amber"), ("not forgotten", "red"), ("untraceable", "steel")]
)
def test_the_glow_stays_red_or_amber_where_it_should(visit, site, verdict, tone):
    world, _, _ = site
    story = Story(world, "Somebody").prepare().audit().plan().unlearn(3)
    someone = visit()
    page = someone.go(f"/cases/{story.id}")
    story.judge(verdict)
    someone.until("document.querySelector('#display h1').textContent", verdict.capitalize())
    assert page.locator("#display").get_attribute("data-tone") == tone
    assert not page.evaluate("document.body.classList.contains('flash')")
    green = page.evaluate("getComputedStyle(document.body).getPropertyValue('--green')")
    own = page.evaluate("getComputedStyle(document.querySelector('#display')).getPropertyValue('--tone')")
    assert own != green


def test_what_somebody_writes_is_not_taken_from_them(visit, site):
    world, _, _ = site
    story = Story(world, "Slow Writer")
    someone = visit()
    page = someone.go(f"/cases/{story.id}")
    page.get_by_text("Cancel the request").first.click()
    page.get_by_label("Why it is cancelled").fill("because the per")
    story.prepare().audit()
    someone.until("document.querySelector('#display h1').textContent", "Preparing")
    page.get_by_label("Why it is cancelled").press_sequentially("son asked for it")
    assert page.get_by_label("Why it is cancelled").input_value() == "because the person asked for it"
    page.get_by_role("button", name="Cancel the request").click()
    page.wait_for_load_state()
    assert world.service.requests.get(story.id).stop == "because the person asked for it"


def test_all_of_it_without_a_script(visit, site):
    world, _, _ = site
    someone = visit(java_script_enabled=False)
    page = someone.page
    page.get_by_role("link", name="New request").click()
    page.get_by_label("People whose rows").fill("No Script")
    page.get_by_role("button", name="Take the request in").click()
    id_ = page.url.rsplit("/", 1)[1]
    assert page.locator("#display h1").inner_text() == "Received"
    story = Story.of(world, id_).prepare().audit().plan()
    page.reload()
    page.get_by_role("radio", name="retrain").check()
    page.get_by_role("button", name="Approve and unlearn").click()
    assert world.service.requests.get(id_).method == "retrain"
    story.unlearn(3).judge()
    page.reload()
    assert page.locator("#display h1").inner_text() == "Forgotten"
    with page.expect_download() as download:
        page.get_by_role("link", name="Certificate").click()
    assert download.value.suggested_filename == f"{story.case}.json"
    page.get_by_role("link", name="Open the report").click()
    assert page.get_by_role("heading", name="Report").count() == 1


def test_by_the_keyboard_alone(visit, site):
    stories = site[2]
    page = visit().go("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = page.locator(".skip").bounding_box()
    assert box["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(12):
        page.keyboard.press("Tab")
        ring = page.evaluate(
            "getComputedStyle(document.activeElement).outlineWidth + getComputedStyle(document.activeElement).outlineStyle"
        )
        assert ring == "3pxsolid", page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("document.activeElement.getAttribute('href')") == f"/cases/{stories['late'].id}":
            break
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/cases/{stories['late'].id}")


def test_nothing_moves_for_who_wants_that(visit, site):
    page = visit(reduced_motion="reduce").go(f"/cases/{site[2]['running'].id}")
    moving = "[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).animationName !== 'none').length"
    assert page.evaluate(moving) == 0
    page.evaluate("document.body.classList.add('flash')")
    assert page.evaluate("getComputedStyle(document.body, '::after').display") == "none"


def test_a_session_that_is_over_leads_to_the_sign_in(visit, site):
    world, _, stories = site
    token, secret = world.service.tokens.new("for a while", ["read"])
    world.secrets["passing"] = secret
    page = visit("passing").go(f"/cases/{stories['running'].id}")
    world.service.tokens.revoke(token.id)
    stories["running"].progress(25)
    page.wait_for_url("**/sign-in**")


def test_pictures_for_the_docs(visit, site):
    stories = site[2]
    someone = visit()
    someone.go("/")
    someone.picture("requests", clip={"x": 0, "y": 0, "width": 1280, "height": 700})
    phone = visit(width=390, device_scale_factor=1.6)
    phone.go(f"/cases/{stories['inconclusive'].id}")
    phone.picture("phone")
    day = visit(scheme="light")
    day.go(f"/cases/{stories['planned'].id}")
    day.page.locator("#options").scroll_into_view_if_needed()
    day.picture("options")
    assert someone.wrong == phone.wrong == day.wrong == []
