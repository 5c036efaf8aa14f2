"""What a user sees while something takes long."""

import os
import pty
import select
import sys
import termios

import pytest

from bertjax import progress
from bertjax.progress import Progress


def test_without_a_terminal_the_end_is_one_plain_line(capsys):
    with Progress("reading", total=3, unit="document") as bar:
        for done in range(1, 4):
            bar.update(done, loss=1.23456)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("reading: 3 of 3 documents, ")
    assert line.endswith(", loss 1.235")


def test_without_a_terminal_lines_come_at_intervals_with_speed_and_time_left(capsys, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Progress("training", total=1000, unit="step") as bar:
        bar.start_at(100)
        for done in (200, 300, 400):
            clock[0] += 6
            bar.update(done)
        lines = capsys.readouterr().err.splitlines()
    assert lines == ["training: 300 of 1,000 steps, 16.7/s, 0:42 left"]


def test_where_nothing_was_done_an_error_stands_alone(capsys):
    with pytest.raises(ValueError, match="wrong"), Progress("reading"):
        raise ValueError("wrong")
    assert not capsys.readouterr().err


def test_an_unknown_total_gives_no_time_left(capsys):
    with Progress("reading", unit="document") as bar:
        bar.update(7)
    assert "7 documents" in capsys.readouterr().err


def test_a_terminal_gets_a_bar_and_messages_above_it(monkeypatch):
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress("training", total=10, unit="step") as bar:
            bar.update(5, loss=2.0)
            bar.write("a message")
            bar.update(10, loss=1.0)
        terminal.flush()
        shown = ""  # a terminal hands on what it has: more than one piece on a busy machine
        while "10/10" not in shown and select.select([leader], [], [], 5)[0]:
            shown += os.read(leader, 1 << 16).decode()
    assert "10/10" in shown
    assert "loss 1" in shown
    assert "a message" in shown


def test_an_error_passes_through():
    with pytest.raises(RuntimeError, match="inside"), Progress("training"):
        raise RuntimeError("inside")
