"""What the service refuses, with the right status; and that its log never has a secret or a name."""

import json
import logging
import re
import secrets

import pytest
import sqlalchemy as sa
from fastapi import Request

from neuralyzer.project.project import Project
from neuralyzer.service.api.limits import DEPTH, Rates, depth
from neuralyzer.service.opening import require_recipe
from neuralyzer.service.settings import Settings
from neuralyzer.service.tables import tokens as table
from tests.service.http import new, world_of

NAME = "Anna Secret"
FORM = {"subjects": [NAME]}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def told_nothing(caplog):
    """No log line has a secret or a name, whatever the test did; httpx, which asks, logs the URLs that it asks for."""
    caplog.set_level(logging.DEBUG)
    yield
    records = [
        one for when in ("setup", "call") for one in caplog.get_records(when) if not one.name.startswith("httpx")
    ]
    lines = [one.getMessage() for one in records]
    wrong = re.compile(f"{NAME}|Secret|%0a|forged|nz_|\n", re.IGNORECASE)
    assert not [line for line in lines if wrong.search(line)]


def test_the_log_has_method_route_status_and_token(world, caplog):
    made = new(world.client())
    world.client("read").get(f"/v1/cases/{made['id']}?x=1")
    world.client(None).get("/somewhere/else")
    lines = [one.getMessage() for one in caplog.records if one.name == "neuralyzer.access"]
    assert re.fullmatch(rf"POST /v1/requests 201 \d+ ms {world.token('request')}", lines[0])
    assert re.fullmatch(rf"GET /v1/cases/{{id}} 200 \d+ ms {world.token('read')}", lines[1])
    assert re.fullmatch(r"GET \(no route\) 404 \d+ ms -", lines[2])


def expired(world, token):
    with world.service.requests.database.transaction(writes=True) as connection:
        connection.execute(sa.update(table).where(table.c.id == token).values(expires="2020-01-01T00:00:00+00:00"))


@pytest.mark.parametrize("kind", ["none", "wrong", "expired", "revoked", "basic", "empty", "no token", "two"])
def test_without_a_valid_token_nothing_is_answered(world, kind):
    good = world.secrets["request"]
    if kind == "expired":
        expired(world, world.token("request"))
    if kind == "revoked":
        world.service.tokens.revoke(world.token("request"))
    given = {
        "none": [], "wrong": [("Authorization", f"Bearer nz_{world.token('request')}_{secrets.token_hex(32)}")],
        "expired": [("Authorization", f"Bearer {good}")], "revoked": [("Authorization", f"Bearer {good}")],
        "basic": [("Authorization", f"Basic {good}")], "empty": [("Authorization", "Bearer ")],
        "no token": [("Authorization", "Bearer null")],
        "two": [("Authorization", f"Bearer {good}"), ("Authorization", "Bearer x")],
    }[kind]  # fmt: skip
    client = world.client(None)
    for method, path in (
        ("GET", "/v1/requests"), ("POST", "/v1/requests"), ("GET", "/v1/cases/req-0000000000000000"),
        ("GET", "/v1/cases/req-0000000000000000/events"), ("POST", "/v1/subjects/search"), ("GET", "/v1/models"),
        ("GET", "/v1/no-such-thing"), ("POST", "/opendsr/requests"), ("POST", "/fides/webhook"), ("GET", "/metrics"),
    ):  # fmt: skip
        answer = client.request(method, path, headers=given, json=FORM if method == "POST" else None)
        if kind == "two":
            assert answer.status_code == 400, path
            continue
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert ("invalid_token" in answer.headers["WWW-Authenticate"]) == (kind != "none")
    assert world.service.requests.find() == []


def test_a_scope_does_not_reach_further(world):
    for scope in ("read", "approve"):
        assert world.client(scope).post("/v1/requests", json=FORM).status_code == 403
        assert world.client(scope).post("/v1/subjects/search", json={"subject": NAME}).status_code == 403
        assert world.client(scope).post("/fides/webhook", json={}).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/v1/requests?token={}", "/v1/requests?access_token=abc", "/v1/cases/{}", "/v1/requests?state=received&x={}",
        "/{}", "/health/live?api_key=1", "/v1/requests?t=%6ez_0123456789ab_", "/openapi.json?a={}",
    ],
)  # fmt: skip
def test_a_token_in_a_url_is_refused(world, path):
    answer = world.client().get(path.format(world.secrets["request"]))
    assert answer.status_code == 400 and "token came in the URL" in answer.json()["detail"]


@pytest.mark.parametrize(
    "id_",
    ["..%2f..%2f..%2fetc%2fpasswd", "%2e%2e", "req-0000000000000000%00", "req-..", "req-000000000000000g", "x" * 5000,
     "req-0000000000000000%2freport", "REQ-0000000000000000", "%0aforged%20line", "case-0123456789ab"],
)  # fmt: skip
def test_an_id_that_is_none_opens_nothing(world, id_):
    for verb in ("", "/report", "/certificate", "/plan", "/events"):
        assert world.client("admin").get(f"/v1/cases/{id_}{verb}").status_code in (404, 422)


def sized(size):
    return b'{"subjects":["' + b"a" * (size - 17) + b'"]}'


def test_a_body_is_not_larger_than_the_limit(tmp_path):
    world = world_of(tmp_path, "\n[service]\nlargest_body = 2000\n")
    client = world.client()
    assert (
        client.post("/v1/requests", content=sized(2000), headers=JSON).status_code == 422
    )  # only the name is too long
    for content in (sized(2001), iter([sized(1500), sized(1500)]), iter([b" "] * 3000)):
        answer = client.post("/v1/requests", content=content, headers=JSON)
        assert answer.status_code == 413, answer.text
    lied = client.post("/v1/requests", content=b"{}", headers=JSON | {"Content-Length": "9" * 30})
    assert lied.status_code == 413
    assert client.post("/v1/requests", content=b"{}", headers=JSON | {"Content-Length": "-1"}).status_code == 400
    world.service.requests.database.close()


def test_what_goes_to_other_paths_has_a_limit_too(tmp_path):
    world = world_of(tmp_path, "\n[service]\nlargest_upload = 1000\n")

    @world.app.post("/pages/upload")
    async def upload(request: Request) -> int:
        return len(await request.body())

    client = world.client(None)
    assert client.post("/pages/upload", content=b"x" * 1000).json() == 1000
    assert client.post("/pages/upload", content=b"x" * 1001).status_code == 413
    assert client.post("/pages/upload", content=iter([b"x" * 600] * 2)).status_code == 413
    world.service.requests.database.close()


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b'{"subjects": ["Anna Secret"', b"subjects=Anna+Secret", b"\x80\x04\x95pickle", b"NaN" * 3,
     b'{"subjects": [' + b"9" * 5000 + b"]}"],
)  # fmt: skip
def test_what_is_not_json_is_refused(world, content):
    assert world.client().post("/v1/requests", content=content, headers=JSON).status_code in (400, 422)


@pytest.mark.parametrize("deep", [DEPTH + 1, 1000, 100_000])
def test_deeply_nested_bodies_are_refused(world, deep):
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        content = opening * deep + b"1" + closing * deep
        assert world.client().post("/v1/requests", content=content, headers=JSON).status_code == 400
        assert world.client().post("/v1/requests", content=opening * deep, headers=JSON).status_code == 400


def test_depth_does_not_count_brackets_in_texts():
    assert depth(b'{"a": "[[[[\\"[[[[", "b": [1, {"c": []}]}') == 4
    assert depth(b'"[[[[') == 0 and depth(b"") == 0 and depth(b"[]" * 100) == 1
    assert depth(json.dumps([[["\\", "]]]", [["["]]]]]).encode()) == 5
    assert depth(b'"' + b'\\"' * 500_000) == 0  # a text without an end takes no longer


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/xml"]
)
def test_a_body_of_another_type_is_refused(world, kind):
    answer = world.client().post("/v1/requests", content=json.dumps(FORM), headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_html_in_a_name_stays_text(world):
    name = '<img src=x onerror="alert(1)">'
    made = new(world.client(), subjects=[name])
    answer = world.client().get(f"/v1/cases/{made['id']}")
    assert answer.json()["erasure"]["subjects"] == [name]
    assert answer.headers["content-type"] == "application/json"
    assert (
        answer.headers["X-Content-Type-Options"] == "nosniff"
        and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    )


def test_every_answer_has_strict_headers(world):
    for path in ("/v1/requests", "/health/live", "/nowhere", "/v1/cases/x", "/openapi.json"):
        headers = world.client().get(path).headers
        assert headers["Cache-Control"] == "no-store" and headers["X-Frame-Options"] == "DENY", path
        assert headers["Referrer-Policy"] == "no-referrer" and "server" not in headers


def test_methods_that_are_not_there_are_405(world):
    assert world.client().delete("/v1/requests").status_code == 405
    assert world.client().put("/v1/cases/req-0000000000000000", json={}).status_code == 405


def test_a_key_that_is_none_is_refused(world):
    for key in ("", "a b", "x" * 201, "a\tb"):
        answer = world.client().post("/v1/requests", json=FORM, headers={"Idempotency-Key": key})
        assert answer.status_code == 422, key
    two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Authorization", f"Bearer {world.secrets['request']}")]
    assert world.client(None).post("/v1/requests", json=FORM, headers=two).status_code == 400


def test_a_name_that_would_forge_a_log_line_is_refused(world):
    for name in ("a\nforged line", "a\rforged", "a\x1b[2J", "a\u2028forged"):
        assert world.client().post("/v1/requests", json={"subjects": [name]}).status_code == 422


def test_a_fault_says_nothing_of_what_is_within(world, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(f"secret value of {NAME}")

    monkeypatch.setattr(world.service.requests.__class__, "create", fail)
    answer = world.client().post("/v1/requests", json=FORM)
    assert answer.status_code == 500 and "Secret" not in answer.text and "Runtime" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_database_that_is_gone_is_503(world, monkeypatch):
    monkeypatch.setattr(world.service.requests.database, "engine", sa.create_engine("sqlite:////no/such/folder/x"))
    answer = world.client().get("/health/ready")
    assert answer.status_code == 503 and "/no/such" not in answer.text and answer.headers["Retry-After"]


def test_too_many_requests_wait(tmp_path):
    world = world_of(tmp_path, "\n[service]\nrate = 20\n")
    client = world.client()
    answers = [client.get("/v1/requests") for _ in range(25)]
    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    assert answers[-1].status_code == 429 and int(answers[-1].headers["Retry-After"]) >= 1
    assert world.client("read").get("/v1/requests").status_code == 200  # another token has a bucket of its own
    wrong = [world.client(None).get("/v1/requests").status_code for _ in range(5)]
    assert wrong == [401, 401, 429, 429, 429]
    world.service.requests.database.close()


def test_a_bucket_fills_up_evenly_and_old_ones_are_forgotten():
    rates = Rates()
    assert [rates.wait("a", 3, now=0.0) for _ in range(3)] == [0, 0, 0]
    assert rates.wait("a", 3, now=0.0) == pytest.approx(20)
    assert rates.wait("a", 3, now=10.0) == pytest.approx(10) and rates.wait("a", 3, now=20.1) == 0
    for other in range(20_000):
        rates.wait(str(other), 3, now=30.0)
    assert len(rates._left) == 10_000


@pytest.mark.parametrize(
    "recipe", ["os:system", "torch.hub:load", "elsewhere:recipe", "..oracle:recipe", "missing:recipe"]
)
def test_a_recipe_outside_the_allowed_folders_is_refused(world, tmp_path, tmp_path_factory, recipe):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "elsewhere.py").write_text("raise SystemExit('it was imported')")
    (tmp_path / "elsewhere.py").symlink_to(outside / "elsewhere.py")
    path = tmp_path / "neuralyzer.toml"
    path.write_text(path.read_text().replace("oracle:recipe", recipe))
    project = Project.read(path)
    with pytest.raises(Exception, match="not in recipe_roots"):
        require_recipe(Settings.of(project), project)


def test_a_recipe_in_an_allowed_folder_is_taken(world):
    require_recipe(world.service.settings, world.service.project)
