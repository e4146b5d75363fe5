"""The service's demo: the commands that a person would type, on the digits project, and three requests through the API."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet

from neuralyzer.data.rows import Data
from neuralyzer.demo import digits
from neuralyzer.errors import NeuralyzerError, UsageError
from neuralyzer.workspace import atomic

MEMBERS = 56  # of both splits, as in the demo
SUBJECTS = (digits.SUBJECT, "customer-02", "customer-03")
POLL = 0.5  # seconds between two looks at the requests
LOG = "server.log"
STARTED = 60.0  # seconds that a server may take to start
OVER = ("done", "refused", "cancelled", "needs a person")

RECIPE = '''\
"""The Oracle's recipe."""

from neuralyzer.demo import digits

recipe = digits.recipe({seed})
'''

PROJECT = """\
[model]
recipe = "oracle:recipe"
weights = "oracle.safetensors"

[data]
train = "train.parquet"
holdout = "holdout.parquet"
target = "digit"
subject = "customer"
id = "row"

[references]
size = {members}
backend = "vectorised"

[policy]
retention_days = 30

[report]
organisation = "Example Ltd"
model = "The Oracle"
"""


@dataclass(frozen=True)
class Served:
    """What the demo's service came to.

    Attributes:
        address: of the server.
        token: with all scopes.
        requests: as the API shows them.
    """

    address: str
    token: str
    requests: list[dict[str, Any]]


@contextmanager
def served(out: Path, say: Callable[[str], None], seed: int = 0, port: int = 0) -> Iterator[Served]:
    """Make the project where it is not made yet, serve it, make three requests, and wait until they are answered.

    Args:
        out: folder of the project.
        say: tells what happens.
        seed: of customers, weights and order.
        port: to listen at; a free one by default.

    Yields:
        The service, which ends with the block.

    Raises:
        UsageError: if the service does not start.
        NeuralyzerError: if one of the commands fails.
    """
    import httpx  # of the extra 'service'

    _make(out, say, seed)
    secret = _output(out, "token", "new", "demo", "--scope", "admin", "--json")["token"]
    port = port or _free()
    address = f"http://127.0.0.1:{port}"
    log = out / LOG
    say(f"neuralyzer serve --port {port}    # its log is in {log}")
    with log.open("ab") as lines:
        process = subprocess.Popen(_command("serve", "--port", str(port)), cwd=out, env=_quiet(), stderr=lines)
    try:
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client:
            _await(client, process, log)
            say(f"It listens at {address}; sign in with the token {secret}")
            ids = [_ask(client, name) for name in SUBJECTS]
            say(f"{len(ids)} requests were made; a worker answers them one after the other.")
            yield Served(address, secret, _answers(client, ids, say))
    finally:
        process.terminate()
        process.wait()


def _make(out: Path, say: Callable[[str], None], seed: int) -> None:
    """Write the project's files, train the model and its references; what is there stays."""
    if not (out / "neuralyzer.toml").exists():
        data, holdout = digits.digits(seed)
        for name, rows in (("train", data), ("holdout", holdout)):
            table = _table(rows, name == "train")
            atomic.write_with(out / f"{name}.parquet", lambda part, table=table: parquet.write_table(table, part))  # type: ignore[misc]
        atomic.write_bytes(out / "oracle.py", RECIPE.format(seed=seed).encode())
        atomic.write_bytes(out / "neuralyzer.toml", PROJECT.format(members=MEMBERS).encode())
    if not (out / "oracle.safetensors").exists():
        say("neuralyzer train")
        _output(out, "train", "--json")
    say("neuralyzer references")
    _output(out, "references", "--json")


def _table(data: Data, training: bool) -> pa.Table:
    x = data.x
    assert isinstance(x, torch.Tensor)
    columns = {f"pixel{place}": column.numpy() for place, column in enumerate(x.unbind(1))}
    owners = {"customer": data.subjects.tolist()} if training else {}
    return pa.table(columns | {"digit": data.y.numpy(), "row": data.ids.tolist()} | owners)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "neuralyzer", *words]


def _quiet() -> dict[str, str]:
    return os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def _output(out: Path, *words: str) -> dict[str, Any]:
    """Run one of our commands, and return what it prints."""
    import json

    done = subprocess.run(_command(*words), cwd=out, env=_quiet(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NeuralyzerError(f"neuralyzer {words[0]} failed: {done.stderr.strip() or done.returncode}")
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def _free() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await(client: Any, process: "subprocess.Popen[bytes]", log: Path) -> None:
    import httpx

    began = time.monotonic()
    while time.monotonic() - began < STARTED:
        if process.poll() is not None:
            raise UsageError(f"the server ended with code {process.returncode}; {log} says why")
        try:
            if client.get("/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL / 5)
    raise UsageError(f"the server did not start within {STARTED:.0f} seconds")


def _ask(client: Any, name: str) -> str:
    made = client.post("/v1/requests", json={"subjects": [name]}, headers={"Idempotency-Key": f"demo-{name}"})
    made.raise_for_status()
    return str(made.json()["id"])


def _answers(client: Any, ids: list[str], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Wait until all are answered, and tell each change."""
    known: dict[str, str] = {}
    while True:
        found = [dict(client.get(f"/v1/cases/{one}").raise_for_status().json()) for one in ids]
        for name, one in zip(SUBJECTS, found, strict=True):
            if known.get(one["id"]) != one["state"]:
                known[one["id"]] = one["state"]
                verdict = f": {one['verdict']}" if one.get("verdict") else ""
                say(f"{name} ({one['id']}) is {one['state']}{verdict}")
        if all(one["state"] in OVER for one in found):
            return found
        time.sleep(POLL)
