"""The service under load: a real server on SQLite, its clients in other threads of this process.

1,000 requests by 20 clients, every tenth sent twice with one Idempotency-Key; reads beside them; then 2,000 reads and
500 streams of events that are opened and broken off, and what they leave in the server's memory; then reads while the
server's worker answers a request on the digits.
"""

import json
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import results
from neuralyzer.demo import digits
from neuralyzer.project.project import Project
from neuralyzer.service.opening import opened
from neuralyzer.service.requests import Requests
from neuralyzer.service.settings import Settings
from neuralyzer.service.tokens import Tokens

REQUESTS, CLIENTS, READS, STREAMS = 1000, 20, 2000, 500
PROJECT = """
[model]
recipe = "oracle:recipe"
weights = "shop.safetensors"
[data]
train = "train.csv"
target = "bought"
subject = "email"
[service]
rate = 1000000
"""
DIGITS = """
[model]
recipe = "oracle:recipe"
weights = "digits.safetensors"
[data]
train = "train.parquet"
holdout = "holdout.parquet"
target = "label"
subject = "customer"
[references]
size = 64
leave_out = 0.4
backend = "vectorised"
[service]
rate = 1000000
"""


def main(argv: list[str] | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(lay_out(Path(folder))) as server:
        measured = {"load": load(server, REQUESTS, CLIENTS), "soak": soak(server, READS, STREAMS)}
    with tempfile.TemporaryDirectory() as folder, serving(trained(Path(folder)), workers=1) as server:
        measured["beside_a_case"] = beside_a_case(server)
    results.write("service", measured)


def lay_out(root: Path) -> Path:
    """A project without data and model, which is enough to take requests in."""
    (root / "neuralyzer.toml").write_text(PROJECT)
    (root / "oracle.py").write_text("recipe = None\n")
    return root


def trained(root: Path) -> Path:
    """The project of the digits, with a model and references."""
    data, holdout = digits.digits(0)
    for name, rows in (("train", data), ("holdout", holdout)):
        columns = {f"p{place}": rows.x[:, place].numpy() for place in range(rows.x.shape[1])}
        table = pa.table(columns | {"label": rows.y.numpy(), "customer": rows.subjects.tolist()})
        pq.write_table(table, root / f"{name}.parquet")
    (root / "neuralyzer.toml").write_text(DIGITS)
    (root / "oracle.py").write_text("from neuralyzer.demo import digits\n\nrecipe = digits.recipe(0)\n")
    for verb in ("train", "references"):
        subprocess.run([sys.executable, "-m", "neuralyzer", verb, "--json"], cwd=root, check=True, capture_output=True)
    return root


class Server:
    """A server of its own process, and the database behind it."""

    def __init__(self, root: Path, workers: int) -> None:
        self.settings = Settings.of(Project.read(root / "neuralyzer.toml"))
        self.requests: Requests = opened(self.settings)
        self.log = root / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        words = [
            sys.executable,
            "-m",
            "neuralyzer",
            "serve",
            "--workers",
            str(workers),
            "--port",
            self.url.rpartition(":")[2],
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, cwd=root, stdout=log, stderr=log)

    def token(self, scope: str = "request") -> dict[str, str]:
        return {"Authorization": f"Bearer {Tokens(self.requests.database).new('load', [scope])[1]}"}

    def wait(self, patience: float = 60) -> None:
        until = time.monotonic() + patience
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(f"the server does not answer: {self.log.read_text()[-2000:]}")

    def megabytes(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


@contextmanager
def serving(root: Path, workers: int = 0) -> Iterator[Server]:
    server = Server(root, workers)
    try:
        server.wait()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)
        server.requests.database.close()


def load(server: Server, count: int, clients: int) -> dict[str, Any]:
    """Make requests by several clients at once, and read beside them."""
    tokens = [server.token() for _ in range(clients)]
    done = threading.Event()

    def ask(number: int) -> tuple[list[str], list[float]]:
        made, took = [], []
        with httpx.Client(base_url=server.url, headers=tokens[number], timeout=60) as client:
            for place in range(number, count, clients):
                key = {"Idempotency-Key": secrets.token_hex(16)}
                for _ in range(2 if place % 10 == 0 else 1):
                    began = time.perf_counter()
                    answer = client.post("/v1/requests", json={"subjects": [f"subject-{place}"]}, headers=key)
                    took.append(time.perf_counter() - began)
                    answer.raise_for_status()
                    made.append(answer.json()["id"])
        return made, took

    def read() -> list[float]:
        took = []
        with httpx.Client(base_url=server.url, headers=tokens[0], timeout=60) as client:
            while not done.is_set():
                began = time.perf_counter()
                client.get("/v1/requests", params={"limit": 20}).raise_for_status()
                took.append(time.perf_counter() - began)
                done.wait(0.05)
        return took

    before = {one.id for one in server.requests.find()}
    with ThreadPoolExecutor(clients + 1) as pool:
        reading = pool.submit(read)
        began = time.perf_counter()
        answers = list(pool.map(ask, range(clients)))
        seconds = time.perf_counter() - began
        done.set()
        reads = reading.result()
    kept = [one for one in server.requests.find() if one.id not in before]
    names = [one.erasure.subjects[0] for one in kept if one.erasure is not None]
    told = [event.request for event in server.requests.events(limit=10**6)]
    ids = {id_ for made, _ in answers for id_ in made}
    took = [one for _, each in answers for one in each]
    return {
        "requests": count, "clients": clients, "sent": len(took), "seconds": seconds,
        "kept": len(kept), "lost": len(ids - {one.id for one in kept}), "doubled": len(names) - len(set(names)),
        "unasked": len({one.id for one in kept} - ids), "events_doubled": len(told) - len(set(told)),
        "p50_ms": 1000 * float(np.median(took)), "p95_ms": 1000 * float(np.quantile(took, 0.95)),
        "reads": len(reads), "read_p95_ms": 1000 * float(np.quantile(reads, 0.95)),
    }  # fmt: skip


def soak(server: Server, reads: int, streams: int) -> dict[str, Any]:
    """Read pages, and open and break off streams; twice, since the first time fills pools and caches."""
    token = server.token("read")
    open_ = server.requests.find(limit=1)[0].id

    def page(number: int) -> None:
        path = ("/v1/requests?limit=50", f"/v1/cases/{open_}", "/v1/models", "/metrics")[number % 4]
        client.get(path).raise_for_status()

    def stream(_: int) -> None:
        with client.stream("GET", f"/v1/cases/{open_}/events") as answer:
            assert json.loads(next(line for line in answer.iter_lines() if line.startswith("data: "))[6:])

    sizes, began = [], time.perf_counter()
    with httpx.Client(base_url=server.url, headers=token, timeout=60) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(page, range(reads // 4)))
        list(pool.map(stream, range(streams // 5)))
        sizes.append(server.megabytes())
        list(pool.map(page, range(reads)))
        list(pool.map(stream, range(streams)))
        time.sleep(2)
        sizes.append(server.megabytes())
    return {
        "reads": reads, "streams": streams, "megabytes": sizes, "grown": sizes[1] / sizes[0] - 1,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def beside_a_case(server: Server, limit: float = 300) -> dict[str, Any]:
    """Read while a worker answers a request; the worker and the server share the machine's cores."""
    took, until = [], time.monotonic() + limit
    with httpx.Client(base_url=server.url, headers=server.token(), timeout=60) as client:
        made = client.post("/v1/requests", json={"subjects": [digits.SUBJECT]}).json()["id"]
        began, state, number = time.monotonic(), "received", 0
        while state not in ("done", "needs a person") and time.monotonic() < until:
            path = ("/v1/requests?limit=50", f"/v1/cases/{made}", "/v1/models", "/v1/datasets")[number % 4]
            now = time.perf_counter()
            client.get(path).raise_for_status()
            took.append(time.perf_counter() - now)
            number += 1
            time.sleep(0.05)
            state = server.requests.get(made).state if number % 10 == 0 else state
    return {
        "reads": len(took), "seconds": time.monotonic() - began, "state": str(state),
        "p50_ms": 1000 * float(np.median(took)), "p95_ms": 1000 * float(np.quantile(took, 0.95)),
    }  # fmt: skip


if __name__ == "__main__":
    main()
