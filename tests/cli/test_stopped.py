"""What is left on the terminal by Ctrl-C and by a fault of our own: one line each."""

import signal
import time

import pytest

from neuralyzer.registry import locate


def test_ctrl_c_says_how_to_go_on(project):
    """As the terminal sends it, to a process of its own."""
    process = project.process("forget", "--subject", "c0", "--method", "retrain", "--exact-references", "400")
    for _ in range(600):
        if project.cases:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert err.splitlines()[-1] == "neuralyzer: stopped; call the same command again to go on"


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
def test_a_stop_within_a_verb_is_one_line(project, monkeypatch, error):
    monkeypatch.setattr(locate, "locate", lambda *_, **__: (_ for _ in ()).throw(error))
    said = project("locate", "--subject", "c0")
    assert said.code == 130
    assert said.err.strip() == "neuralyzer: stopped; call the same command again to go on"


def test_a_fault_of_our_own_is_one_line_and_a_log(project, monkeypatch):
    monkeypatch.setattr(locate, "locate", lambda *_, **__: 1 / 0)
    said = project("locate", "--subject", "c0", "--json")
    assert said.code == 3 and said.out == ""
    assert said.err.startswith(
        "neuralyzer: it failed unexpectedly (ZeroDivisionError: division by zero); the details are in"
    )
    assert said.err.count("\n") == 1
    (log,) = project.path(".neuralyzer").glob("crash-*.log")
    assert "ZeroDivisionError" in log.read_text() and str(log.name) in said.err
