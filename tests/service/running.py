"""A project's service as a test sees it: its requests, and real workers in processes of their own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.project.project import Project
from neuralyzer.service.requests import Requests
from neuralyzer.service.settings import Settings
from neuralyzer.service.states import CLOSED, State

LIMIT = 900  # seconds for what an idle machine does in ten


class Running:
    """The service of a project in a folder."""

    def __init__(self, folder):
        self.folder, self.workers = folder, []
        self.path, self.log = folder.path("neuralyzer.toml"), folder.path("workers.log")
        self.settings = Settings.of(Project.read(self.path))
        (folder.root / ".neuralyzer").mkdir(exist_ok=True)
        self.requests = Requests(self.settings.database)

    def worker(self, first="pass"):
        """Start a worker, in whose process a line of code is run first."""
        code = f"{first}; from pathlib import Path; from neuralyzer.service.worker import Worker; Worker(Path({str(self.path)!r}), 3).work()"
        with self.log.open(
            "ab"
        ) as log:  # not a pipe: one that nobody reads fills up, and the worker stops at its next line
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=self.folder.root,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        self.workers.append(process)
        return process

    def ask(self, name, **more):
        erasure = ErasureRequest(subjects=[name], **more)
        return self.requests.create(self.settings.model, erasure, "test")[0].id

    def wait(self, until, ids):
        began = time.monotonic()
        while time.monotonic() - began < LIMIT:
            found = [self.requests.get(one) for one in ids]
            if all(until(one) for one in found):
                return found
            for process in self.workers:
                if process.poll() not in (None, -signal.SIGKILL):
                    pytest.fail(f"a worker ended: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)
        pytest.fail("not reached: " + "; ".join(f"{one.id} is {one.state}, {self.kinds(one.id)[-6:]}" for one in found))

    def closed(self, *ids):
        return self.wait(lambda one: one.state in (*CLOSED, State.NEEDS_PERSON), ids)

    def kinds(self, one):
        return [event.kind for event in self.requests.events(one) if event.kind != "progress"]

    def case(self, request):
        return self.folder.path(f".neuralyzer/cases/{request.case}")

    def end(self):
        for process in self.workers:
            process.kill()
            process.wait()
        self.requests.database.close()
