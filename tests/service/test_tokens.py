"""Tokens: what is kept of them, what they allow, and when they are refused."""

import datetime as dt
import hashlib
import json

import pytest
import sqlalchemy as sa

from neuralyzer.cli.app import app
from neuralyzer.errors import UsageError
from neuralyzer.service.requests import Requests
from neuralyzer.service.tables import tokens as table
from neuralyzer.service.tokens import Scope, Tokens
from tests.service.http import lay_out


@pytest.fixture
def tokens(database_url):
    requests = Requests(database_url)
    yield Tokens(requests.database)
    requests.database.close()


def test_only_a_digest_of_the_secret_is_kept(tokens, tmp_path):
    token, text = tokens.new("platform", ["request"])
    prefix, id_, secret = text.split("_")
    assert (prefix, id_) == ("nz", token.id) and len(bytes.fromhex(secret)) == 32
    with tokens._database.transaction() as connection:
        row = connection.execute(sa.select(table)).one()
    assert bytes(row.digest) == hashlib.sha256(bytes.fromhex(secret)).digest()
    assert secret not in str(row)


def test_no_two_secrets_are_the_same(tokens):
    assert len({tokens.new("one", ["read"])[1] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], {"read"}),
        (["request"], {"read", "request"}),
        (["approve"], {"read", "approve"}),
        (["request", "approve"], {"read", "request", "approve"}),
        (["admin"], {"read", "request", "approve", "admin"}),
    ],
)
def test_scopes_allow_what_they_say(tokens, scopes, allowed):
    token = tokens.verified(tokens.new("one", scopes)[1])
    assert {str(scope) for scope in Scope if token.allows(scope)} == allowed


def test_a_changed_character_anywhere_is_no_token(tokens):
    text = tokens.new("one", ["read"])[1]
    assert tokens.verified(text) is not None
    for place in (0, 2, 3, 9, 15, 16, 40, len(text) - 1):
        other = "0" if text[place] != "0" else "1"
        assert tokens.verified(text[:place] + other + text[place + 1 :]) is None, place
    for wrong in ("", "nz_", text.upper(), text + "0", f" {text}", text[:-1], "nz_" + "é" * 76, "0" * 80):
        assert tokens.verified(wrong) is None


def test_a_secret_is_not_good_for_another_id(tokens):
    one, other = (tokens.new(name, ["read"])[1] for name in ("one", "other"))
    assert tokens.verified(f"nz_{one.split('_')[1]}_{other.split('_')[2]}") is None


def test_it_expires_to_the_moment(tokens):
    token, text = tokens.new("one", ["read"], days=0.5)
    end = dt.datetime.fromisoformat(token.expires)
    assert token.state(end - dt.timedelta(seconds=1)) == "valid" and token.state(end) == "expired"
    past = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)).isoformat()
    with tokens._database.transaction(writes=True) as connection:
        connection.execute(sa.update(table).values(expires=past))
    assert tokens.verified(text) is None and tokens.still(token.id) is None


def test_a_revoked_one_stays_revoked(tokens):
    token, text = tokens.new("one", ["read"])
    assert tokens.still(token.id) == token
    first = tokens.revoke(token.id)
    assert tokens.verified(text) is None and tokens.still(token.id) is None
    assert tokens.revoke(token.id) == first and first.state() == "revoked"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("one", []), "needs a scope"),
        (("one", ["write"]), "'write' is no scope"),
        (("", ["read"]), "needs a name"),
        (("a\nb", ["read"]), "printable"),
        (("x" * 101, ["read"]), "at most 100"),
        (("one", ["read"], 0), "more than 0"),
        (("one", ["read"], -1.0), "more than 0"),
    ],
)
def test_what_cannot_be_a_token_is_one_clear_line(tokens, arguments, says):
    with pytest.raises(UsageError, match=says):
        tokens.new(*arguments)
    assert tokens.list() == []


def test_an_unknown_one_cannot_be_revoked(tokens):
    with pytest.raises(UsageError, match="no token 'nobody'"):
        tokens.revoke("nobody")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        app(list(arguments))
    said = capsys.readouterr()
    assert left.value.code == 0, said.err
    return said.out


def test_verbs_make_list_and_revoke(tmp_path, monkeypatch, capsys):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = json.loads(call(capsys, "token", "new", "platform", "--scope", "request", "--days", "2", "--json"))
    secret = made["token"].split("_")[2]
    plain = call(capsys, "token", "new", "reader", "--scope", "read").strip()
    assert plain.startswith("nz_") and len(plain) == 3 + 12 + 1 + 64
    listed = call(capsys, "token", "list", "--json")
    assert [one["name"] for one in json.loads(listed)] == ["platform", "reader"] and secret not in listed
    assert json.loads(call(capsys, "token", "revoke", made["id"], "--json"))["state"] == "revoked"
    assert "revoked" in call(capsys, "token", "list")
    kept = b"".join(path.read_bytes() for path in (tmp_path / ".neuralyzer").iterdir() if path.is_file())
    assert secret.encode() not in kept
