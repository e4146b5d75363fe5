"""Pages of models, the ledger, a person, a claim and the settings."""

import datetime as dt
import io
import sqlite3
import threading
import time

import pyarrow.csv
import pytest
from fastapi.testclient import TestClient

from neuralyzer.ledger.events import Event, Facts
from neuralyzer.project import retention
from neuralyzer.project.lineage import Lineage, Version
from neuralyzer.project.project import Project
from neuralyzer.service.api.app import create_app
from neuralyzer.service.pages.fields import LARGEST_UPLOAD
from neuralyzer.service.pages.jobs import Jobs
from neuralyzer.service.settings import Settings
from neuralyzer.service.workers import Workers
from tests.cli.test_claims import brought, claims  # noqa: F401  a fixture
from tests.service.dashboard import ORIGIN, Story, guard_in, send, sign_in
from tests.service.http import World, new, world_of
from tests.service.test_pages import Shown


def words(answer):
    assert answer.status_code == 200, answer.text
    return Shown(answer.text).words


def until(ask, seen, seconds=60):
    end = time.monotonic() + seconds
    while not seen(answer := ask()):
        assert time.monotonic() < end, answer.text
        time.sleep(0.1)
    return answer


def test_versions_with_what_was_erased_and_what_is_destroyed_when(world):
    place, now = world.service.settings.workspace, "2026-11-24T10:00:00+00:00"
    lineage = Lineage().released(Version(erased=("a", "b"), cases={"r1": "case-000000000001"}), now)
    second = Version(erased=("a", "b", "c"), cases={"r1": "case-000000000001", "r2": "case-000000000002"})
    lineage = lineage.released(second, "2026-11-25T11:30:00+00:00").destroyed(0, "2026-12-24T00:00:00+00:00")
    lineage.write(place)
    retention.keep(place, [place / "v1.safetensors"], "the weights of version 1", 30, dt.date(2026, 11, 25))
    seen = words(sign_in(world, "read").get("/models"))
    for text in ("Version 2 is in use", "Version 2 in use", "1 rows erased , 3 since the original, by 1 case", "case-000000000002",
                 "2 rows erased, by 1 case", "Released 25 Nov 2026, 11:30", "weights were destroyed on 24 Dec 2026",
                 "the weights of version 1 25 Dec 2026"):  # fmt: skip
        assert text.replace(" ,", ",") in seen.replace(" ,", ","), text


def recorded(world, names=("c1@example.com",)):
    ledger = world.service.project.ledger
    subjects = ledger.begin("case-000000000001", list(names))
    for event, facts in ((Event.RECEIVED, Facts(received="2026-11-24", due="2026-12-24")), (Event.LOCATED, Facts())):
        ledger.record(event, "case-000000000001", facts, subjects=subjects)
    return ledger


def test_the_ledger_is_shown_and_checked(world):
    ledger = recorded(world)
    ledger.checkpoint()
    client = sign_in(world, "read")
    seen = words(client.get("/ledger"))
    assert "2 Entries" in seen or "Entries 2" in seen
    assert "Counted by the last checkpoint 2" in seen and "0 of 0" in seen and "received" in seen and "c1@" not in seen
    assert "Not checked since" in seen
    assert send(client, "/ledger").headers["location"] == "/ledger"
    done = until(lambda: client.get("/ledger"), lambda answer: "It took" in answer.text)
    assert "Nothing was changed, removed, put elsewhere or cut off in 2 entries" in words(done)


def test_a_changed_entry_is_named_on_the_page(world):
    recorded(world)
    with sqlite3.connect(world.service.settings.workspace / "ledger.sqlite") as database:
        database.execute("UPDATE ledger_entries SET body = CAST(replace(body, '2026-12-24', '2027-12-24') AS BLOB)")
    database.close()
    client = sign_in(world, "read")
    send(client, "/ledger")
    seen = words(until(lambda: client.get("/ledger"), lambda answer: "It took" in answer.text))
    assert "1 fault in 2 entries" in seen and "entry 0" in seen


def test_a_ledger_that_cannot_be_read_is_shown_all_the_same(world):
    recorded(world)
    place = world.service.settings.workspace
    note = world.service.project.ledger.checkpoint()
    note.chmod(0o600)
    note.write_text(note.read_text().replace("2", "3"))
    with sqlite3.connect(place / "ledger.sqlite") as database:
        database.execute("UPDATE ledger_entries SET body = CAST('[1' AS BLOB) WHERE position = 0")
        database.execute("UPDATE ledger_entries SET body = CAST('[]' AS BLOB) WHERE position = 1")
    database.close()
    client = sign_in(world, "read")
    seen = words(client.get("/ledger"))
    assert seen.count("cannot be read") == 2 and "was changed: it is not signed" in seen
    send(client, "/ledger")
    seen = words(until(lambda: client.get("/ledger"), lambda answer: "It took" in answer.text))
    assert "Nothing was changed" not in seen


def test_a_person_is_found_with_requests_and_entries(world):
    recorded(world)
    mine, others = Story(world, "c1@example.com"), Story(world, "c2@example.com")
    client = sign_in(world, "request")
    answer = send(client, "/subject", subject="c1@example.com")
    seen = words(answer)
    assert "8 rows in 1 data set" in seen and mine.id in answer.text and others.id not in answer.text
    assert "received entry 0" in seen and "located entry 1" in seen
    assert "c1@" not in str(answer.request.url)
    other = words(send(client, "/subject", subject="c3@example.com"))
    assert "No entry can be linked to this name" in other and "None is open" in other


def test_a_person_who_is_not_there(world):
    seen = words(send(sign_in(world, "request"), "/subject", subject="c1@exampel.com"))
    assert "No row of this name was found" in seen and "c1@example.com" not in seen  # nobody similar is named
    for wrong in ("", "a\nb", "x" * 501):
        assert send(sign_in(world, "request"), "/subject", subject=wrong).status_code == 422


def upload(client, name="rows.csv", content=b"age,bought\n1,0\n2,1\n"):
    guard = guard_in(client.get("/claim").text)
    file = {"rows": (name, io.BytesIO(content))}
    return client.post("/claim", data={"guard": guard}, files=file, follow_redirects=False)


def test_a_claim_that_cannot_be_audited_says_why_to_who_brought_it(world, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client, other = sign_in(world, "request"), sign_in(world, "admin")
    assert upload(client).headers["location"] == "/claim"
    seen = words(until(lambda: client.get("/claim"), lambda answer: "could not be audited" in answer.text))
    assert "does not exist" in seen and "claim-" not in seen
    assert "No claim was audited yet" in words(other.get("/claim"))
    assert list(tmp_path.glob("claim-*")) == []  # the rows are not kept


def test_a_file_of_rows_that_cannot_be_read(world):
    client = sign_in(world, "request")
    upload(client, content=b"\x00\xff\x00not a table")
    seen = words(until(lambda: client.get("/claim"), lambda answer: "could not be audited" in answer.text))
    assert "/tmp" not in seen and "claim-" not in seen


@pytest.mark.parametrize(
    "name", ["rows.pkl", "rows", "rows.safetensors", "../../etc/passwd", "rows.csv.exe", "a\x00.csv.pt"]
)
def test_other_kinds_of_files_are_refused(world, name):
    assert upload(sign_in(world, "request"), name).status_code == 415


def test_a_path_in_a_file_name_is_not_used(world, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    upload(sign_in(world, "request"), "../../../escaped.csv")
    time.sleep(0.2)
    assert not list(tmp_path.rglob("escaped*"))


def test_a_file_that_is_too_large_is_refused(world):
    answer = upload(sign_in(world, "request"), content=b"x" * (LARGEST_UPLOAD + 1))
    assert answer.status_code == 413 and "Not done" in answer.text
    client = sign_in(world, "request")
    assert send(client, "/claim").status_code == 422


def test_nobody_uploads_without_signing_in(world):
    client = TestClient(world.app, headers=ORIGIN)
    guard = guard_in(client.get("/sign-in").text)
    file = {"rows": ("rows.csv", io.BytesIO(b"a,b"))}
    for path in ("/sign-in", "/claim"):
        assert client.post(path, data={"guard": guard}, files=file, follow_redirects=False).status_code in (303, 415)


def test_one_claim_at_a_time():
    jobs, go = Jobs(), threading.Event()
    jobs.start("a", lambda: go.wait(20), "first")
    with pytest.raises(Exception, match="one is under way"):
        jobs.start("b", lambda: 1, "second")
    go.set()
    while jobs.last.ended is None:
        time.sleep(0.01)
    assert (jobs.last.owner, jobs.last.result) == ("a", True)

    def fails():
        raise ValueError("a secret")

    jobs.start("b", fails, "third")
    while jobs.last.ended is None:
        time.sleep(0.01)
    assert jobs.last.result is None and "secret" not in jobs.last.wrong


def test_the_settings_tell_no_secret(tmp_path):
    made = world_of(
        tmp_path, '\n[policy]\nretention_days = 30\nbatch_days = 2\n[service]\ncallback_hosts = ["cmp.example"]\n'
    )
    Workers(made.service.requests.database).beat("host.1.abc")
    seen = words(sign_in(made, "admin").get("/settings"))
    for text in ("Database sqlite", "30 days", "2 days", "cmp.example", "host.1.abc", "valid"):
        assert text in seen, text
    assert str(tmp_path) not in seen and not any(secret.split("_")[2] in seen for secret in made.secrets.values())
    made.service.requests.database.close()


def test_a_request_of_the_api_is_on_the_pages(world):
    id_ = new(world.client())["id"]
    assert id_ in sign_in(world).get("/").text


def test_a_claim_is_audited_by_upload(
    claims,  # noqa: F811
    claim_world,
    monkeypatch,
    tmp_path,
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    project = Project.read(claims.path("neuralyzer.toml"))
    app = create_app(Settings.of(project), project)
    tokens = app.state.service.tokens
    made = World(app, app.state.service, {"request": tokens.new("request", ["request"])[1]})
    rows = io.BytesIO()
    pyarrow.csv.write_csv(brought(claim_world), rows)
    client = sign_in(made, "request")
    assert upload(client, content=rows.getvalue()).status_code == 303
    assert upload(client, content=rows.getvalue()).status_code in (303, 409)
    seen = words(until(lambda: client.get("/claim"), lambda answer: "p-value" in answer.text, 300))
    assert "Trained on them The model was trained on these rows" in seen and "Rows tested" in seen
    assert list(tmp_path.glob("claim-*")) == []
    made.service.requests.database.close()
