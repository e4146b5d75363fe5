"""Chromium on a service of this process, as a person sees it."""

import contextlib
import io
import os
import socket
import threading
import time
from pathlib import Path

import uvicorn
from PIL import Image

# A folder; where it is set, the docs' pictures are made anew.
PICTURES = Path(os.environ["NEURALYZER_PICTURES"]).absolute() if "NEURALYZER_PICTURES" in os.environ else None


@contextlib.contextmanager
def served(app):
    """Serve an application; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(app, port=port, access_log=False, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


class Visit:
    """A person at a browser, who is signed in."""

    def __init__(self, chromium, address, secret, width=1280, scheme="dark", **more):
        self.context = chromium.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme, **more)
        self.address, self.page, self.wrong = address, self.context.new_page(), []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda line: self.wrong.append(line.text) if line.type == "error" else None)
        self.page.goto(f"{address}/sign-in")
        self.page.get_by_label("Token").fill(secret)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(f"{address}/")

    def go(self, path):
        self.page.goto(f"{self.address}{path}")
        return self.page

    def until(self, *wanted, seconds=30):
        """Wait until expressions have their values; the page itself allows no test to evaluate text in it."""
        pairs, end = list(zip(wanted[::2], wanted[1::2], strict=True)), time.monotonic() + seconds
        while (found := [self.page.evaluate(expression) for expression, _ in pairs]) != [value for _, value in pairs]:
            assert time.monotonic() < end, found
            self.page.wait_for_timeout(50)

    def picture(self, name, **more):
        """Make a picture of the docs anew, where that is asked for."""
        if PICTURES:
            self.page.evaluate("document.activeElement.blur()")
            taken = Image.open(io.BytesIO(self.page.screenshot(**more))).convert("RGB")
            taken = taken.point(
                lambda value: min(255, (value + 1) // 3 * 3)
            )  # two thirds of the bytes, and no band is seen
            taken.save(PICTURES / f"service-{name}.png", optimize=True)
