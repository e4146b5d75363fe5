"""The dashboard's pages: who may see and do what, what stands there, and what is refused."""

import datetime as dt
import html
import logging
import re
import stat
import time
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from neuralyzer.service.api.app import create_app
from neuralyzer.service.states import State
from tests.service.dashboard import ORIGIN, Story, guard_in, many, send, sign_in
from tests.service.http import SCOPES, world_of

PAGES = ("/", "/new", "/models", "/subject", "/ledger", "/claim", "/settings")
FOR_ALL = ("/", "/models", "/ledger", "/settings")
APPROVED = '\n[policy]\napprove = "before-unlearn"\n'


class Shown(HTMLParser):
    """What a browser makes of a page: tags with their attributes, and texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.texts).split())

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def approving(tmp_path):
    made = world_of(tmp_path, APPROVED)
    yield made
    made.service.requests.database.close()


def test_nobody_sees_a_page_without_signing_in(world):
    id_ = Story(world).id
    client = TestClient(world.app)
    for path in (*PAGES, f"/cases/{id_}", f"/cases/{id_}/report", f"/cases/{id_}/certificate"):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?to=/"), path
        assert "Ada" not in answer.text
    assert (client.get(f"/cases/{id_}/stream").status_code, client.get(f"/cases/{id_}/stream").content) == (204, b"")
    bearer = world.client("admin").get("/", follow_redirects=False)  # a token in a header is for the API
    assert bearer.status_code == 303


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_scope_sees(world, scope):
    client = sign_in(world, scope)
    for path in PAGES:
        allowed = path in FOR_ALL or scope in ("request", "admin")
        answer = client.get(path)
        assert answer.status_code == (200 if allowed else 403), path
        links = {attrs["href"] for attrs in Shown(answer.text).of("a")}
        assert ("/subject" in links) == (scope in ("request", "admin"))
    assert ("Only digests of their secrets" in client.get("/settings").text) == (scope == "admin")


def test_the_sign_in_leads_on_to_our_own_pages_alone(world):
    id_ = Story(world).id
    for to, lands in (
        (f"/cases/{id_}", f"/cases/{id_}"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil", "/"),
    ):
        client = TestClient(world.app, headers=ORIGIN)
        guard = guard_in(client.get("/sign-in", params={"to": to}).text)
        form = {"guard": guard, "secret": world.secrets["read"], "to": to}
        assert client.post("/sign-in", data=form, follow_redirects=False).headers["location"] == lands


def test_a_wrong_token_signs_nobody_in(world):
    for wrong in ("", "nz_", world.secrets["read"][:-1] + "0x", "nz_" + "0" * 12 + "_" + "0" * 64, "<script>"):
        client = TestClient(world.app, headers=ORIGIN)
        answer = send(client, "/sign-in", secret=wrong)
        assert answer.status_code == 403 and "no token that is valid" in answer.text
        assert "<script>" not in answer.text and client.get("/", follow_redirects=False).status_code == 303


def test_the_cookie_has_no_secret_and_no_script_reads_it(world):
    for scheme, secure in (("http", False), ("https", True)):
        client = TestClient(world.app, base_url=f"{scheme}://testserver", headers={"Origin": f"{scheme}://testserver"})
        cookie = send(client, "/sign-in", secret=world.secrets["admin"]).headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and ("Secure" in cookie) == secure
        value = re.search("neuralyzer=([^;]*)", cookie)[1]
        content = bytes.fromhex(value.partition(".")[0]).decode()
        assert world.token("admin") in content and world.secrets["admin"].split("_")[2] not in cookie + content
    key = world.service.project.workspace.keys / "sessions.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and len(key.read_bytes()) == 32


def test_a_changed_cookie_is_no_session(world):
    client = sign_in(world, "read")
    good = client.cookies["neuralyzer"]
    content = bytes.fromhex(good.partition(".")[0]).decode().replace(world.token("read"), world.token("admin"))
    for forged in (
        content.encode().hex() + "." + good.partition(".")[2],
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        "x",
        "",
    ):
        fresh = TestClient(world.app, cookies={"neuralyzer": forged})
        assert fresh.get("/", follow_redirects=False).status_code == 303
    assert TestClient(world.app, cookies={"neuralyzer": good}).get("/").status_code == 200


def test_a_revoked_token_is_signed_out_at_once(world):
    client = sign_in(world, "approve")
    assert client.get("/").status_code == 200
    world.service.tokens.revoke(world.token("approve"))
    assert client.get("/", follow_redirects=False).status_code == 303


def test_signing_out_ends_the_session_for_copies_of_the_cookie_too(world):
    client = sign_in(world)
    copied = client.cookies["neuralyzer"]
    answer = send(client, "/sign-out", page="/")
    assert answer.headers["location"] == "/sign-in" and client.cookies.get("neuralyzer") is None
    other = create_app(world.service.settings, world.service.project)  # or this server, started again
    for app in (world.app, other):
        answer = TestClient(app, cookies={"neuralyzer": copied}).get("/", follow_redirects=False)
        assert answer.status_code == 303
    other.state.service.requests.database.close()


def test_the_api_takes_no_cookie(world):
    client = sign_in(world)
    for path in ("/v1/requests", "/v1/models", "/metrics"):
        assert client.get(path).status_code == 401
    assert client.post("/v1/requests", json={"subjects": ["c1@example.com"]}).status_code == 401


FORMS = ("/new", "/subject", "/ledger", "/claim", "/sign-out")
VERBS = ("approve", "cancel", "extend", "refuse", "again")


def test_a_form_that_is_not_ours_is_refused(approving):
    story = Story(approving).prepare().audit().plan()
    client, other = sign_in(approving), sign_in(approving)
    guard, foreign = guard_in(client.get("/new").text), guard_in(other.get("/new").text)
    before = approving.service.requests.newest()
    for path in (*FORMS, *(f"/cases/{story.id}/{verb}" for verb in VERBS)):
        fields = {"subjects": "Eve", "subject": "Eve", "reason": "because", "guard": guard}
        for wrong in ({"guard": ""}, {"guard": foreign}, {"guard": guard[:-1] + "é"}):
            assert client.post(path, data=fields | wrong).status_code == 403, path
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""},
                        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}):  # fmt: skip
            assert client.post(path, data=fields, headers=headers).status_code == 403, (path, headers)
        assert client.post(path, json=fields).status_code == 415
        assert client.post(path, content=b"x" * (2 << 20), headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code == 413  # fmt: skip
        assert TestClient(approving.app, headers=ORIGIN).post(
            path, data=fields, follow_redirects=False
        ).status_code in (303, 403)
    assert approving.service.requests.newest() == before
    assert client.get("/").status_code == 200  # nor was it signed out


def test_every_form_brings_the_text_of_its_session(approving):
    story = Story(approving).prepare().audit().plan()
    client = sign_in(approving)
    for path in (*PAGES, f"/cases/{story.id}"):
        page = client.get(path).text
        forms = [form for form in re.findall("<form.*?</form>", page, re.DOTALL)]
        assert forms and all('name="guard"' in form and 'method="post"' in form for form in forms), path


def test_every_page_has_strict_headers_and_nothing_inline(world):
    stories = many(world)
    client = sign_in(world)
    paths = [*PAGES, "/sign-in", *(f"/cases/{story.id}" for story in stories.values()), "/cases/req-0000000000000000"]
    for path in paths:
        answer = client.get(path)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["script-src"] == policy["style-src"] == "'self'" and policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'" and policy["form-action"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
        shown = Shown(answer.text)
        for tag, attrs in shown.tags:
            assert tag != "style" and "style" not in attrs and not any(name.startswith("on") for name in attrs), attrs
            assert tag != "script" or attrs == {"src": "/static/pages.js", "defer": None}
        outside = [
            a for _, a in shown.tags for k, a in a.items() if k in ("src", "href") and a.startswith(("http", "//"))
        ]
        assert outside == []


def test_the_two_files_are_asked_for_again_only_when_they_change(world):
    client = TestClient(world.app)
    for name, kind in (("style.css", "text/css"), ("pages.js", "text/javascript")):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    for wrong in ("/static/../jobs.py", "/static/%2e%2e/jobs.py", "/static/other.css"):
        assert client.get(wrong).status_code in (404, 422)
    script = client.get("/static/pages.js").text
    assert len(script.splitlines()) <= 150 and "innerHTML =" not in script and "eval(" not in script


NASTY = '<script>alert(1)</script>" onmouseover="alert(2)\' {{ 7777*7 }}'


def test_html_in_a_name_and_in_a_reason_is_text(world):
    story = Story(world, NASTY)
    client = sign_in(world, "admin")
    send(client, f"/cases/{story.id}/extend", page=f"/cases/{story.id}", reason=NASTY)
    send(client, "/subject", subject=NASTY)
    for page in (
        client.get("/").text,
        client.get(f"/cases/{story.id}").text,
        send(client, "/subject", subject=NASTY).text,
    ):
        shown = Shown(page)
        assert len(shown.of("script")) == 1 and html.escape(NASTY, quote=False).split('"')[0] in page
        assert not any("onmouseover" in attrs for _, attrs in shown.tags) and "54439" not in shown.words
    assert NASTY.split('"', maxsplit=1)[0] in Shown(client.get(f"/cases/{story.id}").text).words


def test_a_name_is_seen_with_the_scope_request_alone(approving):
    story = Story(approving, "Ada Lindqvist").prepare().audit().plan()
    approving.service.requests.note(story.id, "extended", {"by": "x", "reason": "Ada is ill"}, extended="Ada is ill")
    approving.service.requests.note(story.id, "told", {}, message="Ada Lindqvist is not in the data")
    for scope in SCOPES:
        client = sign_in(approving, scope)
        seen = client.get("/").text + client.get(f"/cases/{story.id}").text
        assert ("Ada" in seen) == (scope in ("request", "admin")), scope
        assert story.id in seen


def test_sample_answers_and_the_report_need_the_scope_request(world):
    story = Story(world).through()
    for scope in SCOPES:
        client, path = sign_in(world, scope), f"/cases/{story.id}"
        names = scope in ("request", "admin")
        assert ("Loma Senyobe" in client.get(path).text) == names
        assert client.get(f"{path}/report").status_code == (200 if names else 403)
        assert client.get(f"{path}/certificate").status_code == 200
    report = sign_in(world).get(f"{path}/report")
    assert (
        "sandbox" in report.headers["content-security-policy"]
        and "script-src" not in report.headers["content-security-policy"]
    )


def test_late_requests_are_in_front_and_counted(world):
    stories = many(world)
    page = sign_in(world).get("/").text
    order = re.findall(r'href="/cases/(req-[0-9a-f]{16})"', page)
    due = [world.service.requests.get(one).due for one in order]
    assert order[0] == stories["late"].id and due == sorted(due) and stories["done"].id not in order
    words = Shown(page).words
    assert "Late 1" in words and "Open 6" in words and "5 days late" in words or "6 days late" in words
    closed = sign_in(world).get("/?closed=true").text
    assert re.findall(r'href="/cases/(req-[0-9a-f]{16})"', closed) == [stories["done"].id]


def test_pages_of_many_requests(world):
    for place in range(53):
        Story(world, f"person {place}")
    client = sign_in(world)
    first, second = client.get("/").text, client.get("/?start=50").text
    of = [set(re.findall(r"/cases/(req-[0-9a-f]{16})", page)) for page in (first, second)]
    assert [len(one) for one in of] == [50, 3] and not of[0] & of[1]
    assert "/?start=50" in first and "/?start=0" in second


def test_a_new_request_is_taken_in_once(world):
    client = sign_in(world, "request")
    page = client.get("/new").text
    key = re.search('name="key" value="([0-9a-f]{32})"', page)[1]
    fields = {"guard": guard_in(page), "key": key, "subjects": " c1@example.com \n\nc2@example.com\n", "reason": "privacy",
              "guarantee": "weak", "priority": "3", "due": "", "method": "", "where": ""}  # fmt: skip
    answers = [client.post("/new", data=fields, follow_redirects=False) for _ in range(2)]
    assert [one.status_code for one in answers] == [303, 303] and len({one.headers["location"] for one in answers}) == 1
    kept = world.service.requests.get(answers[0].headers["location"].removeprefix("/cases/"))
    assert kept.erasure.subjects == ("c1@example.com", "c2@example.com") and kept.priority == 3
    assert kept.client == world.token("request")


@pytest.mark.parametrize(
    "wrong",
    [
        {"subjects": ""},
        {"subjects": "a\x00b"},
        {"subjects": "c1", "priority": "12"},
        {"subjects": "c1", "due": "soon"},
        {"subjects": "c1", "method": "magic"},
        {"subjects": "c1", "reason": "<b>"},
    ],
)
def test_a_wrong_form_says_what_is_wrong_on_a_page(world, wrong):
    answer = send(sign_in(world), "/new", **wrong)
    assert answer.status_code in (409, 422) and answer.headers["content-type"].startswith("text/html")
    assert "Not done" in answer.text and world.service.requests.newest() == 0


def test_an_option_is_chosen_before_approval(approving):
    story = Story(approving).prepare().audit().plan()
    client, path = sign_in(approving, "approve"), f"/cases/{story.id}"
    shown = Shown(client.get(path).text)
    radios = [attrs for attrs in shown.of("input") if attrs.get("type") == "radio"]
    assert len(radios) == 4 and not any("disabled" in attrs for attrs in radios)
    assert [attrs["value"] for attrs in radios if "checked" in attrs] == ["influence"]
    assert send(client, f"{path}/approve", page=path, method="magic").status_code == 409
    assert send(client, f"{path}/approve", page=path, method="retrain").headers["location"] == path
    kept = approving.service.requests.get(story.id)
    assert (kept.approved, kept.method) == ("unlearn", "retrain")
    radios = [attrs for attrs in Shown(client.get(path).text).of("input") if attrs.get("type") == "radio"]
    assert all("disabled" in attrs for attrs in radios)
    assert [attrs["value"] for attrs in radios if "checked" in attrs] == ["retrain"]


def test_the_chosen_option_approved_stays_the_plans(approving):
    story = Story(approving).prepare().audit().plan()
    send(sign_in(approving, "approve"), f"/cases/{story.id}/approve", page=f"/cases/{story.id}", method="influence")
    kept = approving.service.requests.get(story.id)
    assert (kept.approved, kept.method) == ("unlearn", None)


@pytest.mark.parametrize(
    ("verb", "scope", "kind", "state"),
    [
        ("cancel", "request", "cancelled", State.CANCELLED),
        ("refuse", "approve", "refused", State.REFUSED),
        ("extend", "approve", "extended", State.RECEIVED),
    ],
)
def test_decisions_with_their_reasons(world, verb, scope, kind, state):
    story = Story(world)
    path = f"/cases/{story.id}"
    for other in {"read", "request", "approve"} - {scope}:
        client = sign_in(world, other)
        assert f"{path}/{verb}" not in client.get(path).text
        assert send(client, f"{path}/{verb}", page=path, reason="because").status_code == 403
    client = sign_in(world, scope)
    for wrong in ("", "   ", "x" * 501):
        assert send(client, f"{path}/{verb}", page=path, reason=wrong).status_code in (409, 422)
    assert send(client, f"{path}/{verb}", page=path, reason="it was\nagreed").headers["location"] == path
    event = world.service.requests.events(story.id)[-1]
    assert (event.kind, event.facts["reason"], event.facts["by"]) == (kind, "it was agreed", world.token(scope))
    assert world.service.requests.get(story.id).state is state
    assert f"{path}/{verb}" not in client.get(path).text


def test_what_needs_a_person_is_taken_up_again(world):
    story = Story(world).prepare().audit().plan().unlearn().judge("inconclusive", State.NEEDS_PERSON)
    path = f"/cases/{story.id}"
    assert send(sign_in(world, "approve"), f"{path}/again", page=path).headers["location"] == path
    assert world.service.requests.get(story.id).state is State.RECEIVED
    before = world.service.requests.newest()
    send(sign_in(world, "approve"), f"{path}/again", page=path)  # once more changes nothing
    assert world.service.requests.newest() == before


def test_the_record_and_the_figures_of_a_case(world):
    story = Story(world).through()
    words = Shown(sign_in(world).get(f"/cases/{story.id}").text).words
    for text in ("forget rows 1.3", "retained rows 0.05", "Retraining", "it reads 3", "influence chosen", "Residual trace by family",
                 "approved what unlearn", "located rows 72"):  # fmt: skip
        assert text in words, text


def test_a_stream_resumes_after_what_the_page_has_seen(world):
    story = Story(world).through().release()
    client = sign_in(world, "read")
    newest = world.service.requests.newest()
    rest = client.get(f"/cases/{story.id}/stream", params={"after": newest - 1}).text
    assert [line for line in rest.splitlines() if line.startswith("event:")] == ["event: released", "event: closed"]
    assert client.get(f"/cases/{story.id}/stream", headers={"Last-Event-ID": str(newest)}).status_code == 204
    assert client.get(f"/cases/{story.id}/stream", params={"after": "x"}).status_code == 422
    assert "data-stream" not in client.get(f"/cases/{story.id}").text


def test_the_session_lasts_an_hour_from_its_last_use_and_never_longer_than_twelve(world):
    sessions = world.service.sessions
    session, text = sessions.begin("t", now=1000.0)
    assert sessions.read(text, now=1000 + 3599) == session and sessions.read(text, now=1000 + 3600) is None
    assert sessions.renewed(session, now=1010) is None
    now = 1000.0
    while (more := sessions.renewed(session, now=now + 1800)) is not None:
        now += 1800
        session = sessions.read(more, now=now)
        assert session is not None
    assert session.until == 1000 + 12 * 3600 and sessions.read(text, now=now) is None


def test_a_page_that_is_left_open_keeps_no_session_alive(world, monkeypatch):
    client = sign_in(world)
    now = time.time()
    monkeypatch.setattr("neuralyzer.service.sessions.time.time", lambda: now + 1800)
    assert "set-cookie" not in client.get("/", headers={"X-Update": "1"}).headers
    assert "HttpOnly" in client.get("/").headers["set-cookie"]
    monkeypatch.setattr("neuralyzer.service.sessions.time.time", lambda: now + 4000)
    assert client.get("/").status_code == 200  # an hour after its last use, not after its begin


def test_the_log_has_no_name_and_no_secret(world, caplog):
    caplog.set_level(logging.DEBUG)
    client = sign_in(world)
    send(client, "/new", subjects="Ada Lindqvist\r\nroot logged in")
    send(client, "/subject", subject="Ada Lindqvist")
    send(client, "/sign-in", secret=world.secrets["read"][:-2] + "00")
    client.get("/cases/Ada%20Lindqvist%0d%0aroot")
    own = [record.getMessage() for record in caplog.records if record.name.startswith("neuralyzer")]
    assert any("POST /subject 200" in line for line in own)
    for line in own:
        assert "Ada" not in line and "root" not in line and "\n" not in line
        assert not any(secret.split("_")[2][:20] in line for secret in world.secrets.values())


def test_a_case_that_is_not_there(world):
    client = sign_in(world)
    answer = client.get("/cases/req-0000000000000000")
    assert answer.status_code == 404 and "there is no such request" in answer.text
    for wrong in ("/cases/..%2f..", "/cases/req-0", "/cases/%00"):
        assert client.get(wrong).status_code in (404, 422)


def test_a_due_date_long_past_cannot_be_extended_here(world):
    story = Story(world, received=dt.datetime.now(dt.UTC) - dt.timedelta(days=40))
    assert f"/cases/{story.id}/extend" not in sign_in(world).get(f"/cases/{story.id}").text
