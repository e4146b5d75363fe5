"""The memory of a server under many page views and streams of events."""

import os
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest

from tests.service.dashboard import guard_in, many
from tests.service.http import world_of

pytestmark = pytest.mark.slow
SERVER = """
import sys
from pathlib import Path
import uvicorn
from neuralyzer.project.project import Project
from neuralyzer.service.api.app import create_app
from neuralyzer.service.settings import Settings
project = Project.read(Path(sys.argv[1]))
uvicorn.run(create_app(Settings.of(project), project), port=int(sys.argv[2]), access_log=False, log_level="error")
"""
VIEWS, STREAMS = 2000, 500
PATHS = ("/", "/new", "/models", "/ledger", "/claim", "/settings", "/subject", "/?closed=true")


def test_views_and_streams_leave_the_memory_as_it_was(tmp_path):
    world = world_of(tmp_path, "\n[service]\nrate = 10000000\n")
    stories = many(world)
    cases = [f"/cases/{story.id}" for story in stories.values()]
    port = 18000 + os.getpid() % 2000
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path / "neuralyzer.toml"), str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        client = httpx.Client(base_url=address, headers={"Origin": address}, timeout=60)
        for _ in range(200):
            try:
                client.get("/health/live")
                break
            except httpx.ConnectError:
                time.sleep(0.2)
        form = {"guard": guard_in(client.get("/sign-in").text), "secret": world.secrets["admin"]}
        assert client.post("/sign-in", data=form).status_code == 303
        paths = [*PATHS, *cases]

        def view(count):
            for place in range(count):
                path = paths[place % len(paths)]
                assert client.get(path).status_code == 200, path

        def listen(count):
            """Open streams that go on until their clients leave, as many at once as a company has screens."""
            open_case = stories["running"].id
            newest = f"id: {world.service.requests.events(open_case)[-1].number}"
            left = threading.Barrier(26)

            def one():
                with client.stream("GET", f"/cases/{open_case}/stream") as answer:
                    assert answer.status_code == 200
                    assert newest in answer.iter_lines()  # which ends when it has come
                left.wait(60)

            for _ in range(count // 25):
                threads = [threading.Thread(target=one) for _ in range(25)]
                for thread in threads:
                    thread.start()
                left.wait(60)
                for thread in threads:
                    thread.join()

        server = psutil.Process(process.pid)
        view(400)  # charts are drawn, templates compiled, pools filled
        listen(100)
        before = server.memory_info().rss
        view(VIEWS)
        listen(STREAMS)
        time.sleep(3)
        after = server.memory_info().rss
        print(f"{before / 2**20:.1f} MB before, {after / 2**20:.1f} MB after {VIEWS} views and {STREAMS} streams")
        assert after <= 1.1 * before, f"{before / 2**20:.1f} MB became {after / 2**20:.1f} MB"
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(20)
        world.service.requests.database.close()
