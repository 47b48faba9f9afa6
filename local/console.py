"""What a person sees of the set-up: one line per step, its time, and one sentence on an error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)

_DISK_FULL = ("no space left on device", "disk quota exceeded", "enospc")
_KEPT_LINES = 200


class SetupError(Exception):
    """The local stack can't be set up; the text is one sentence that says what to do."""


class Step:
    """A step under way; ``note`` changes what its line says in brackets."""

    def __init__(self, text: str, show: Callable[[str], None]) -> None:
        self._text = text
        self._show = show

    def note(self, text: str) -> None:
        """Say how far the step is, in a few words."""
        self._show(f"{self._text} ({text})")


@contextlib.contextmanager
def step(text: str, *, lasting: str | None = None) -> Iterator[Step]:
    """Show ``text`` with the seconds it has taken so far, and leave one line when it is done.

    Off a terminal, where nothing can be overwritten, the text comes first and the time afterwards.

    Args:
        text: what is done.
        lasting: how long that usually takes, shown while it is under way.
    """
    start = time.monotonic()
    begun = f"{text}, {lasting}" if lasting else text
    try:
        if console.is_terminal:
            with console.status(begun) as status, _ticking(begun, start, status.update) as show:
                yield Step(text, show)
        else:
            console.print(f"  {begun} …", markup=False)
            yield Step(text, lambda _: None)
    except BaseException:
        console.print(f"[red]✗[/] {text} ({_seconds(start)})")
        raise
    console.print(f"[green]✓[/] {text} ({_seconds(start)})")


@contextlib.contextmanager
def _ticking(
    text: str, start: float, update: Callable[[str], None]
) -> Iterator[Callable[[str], None]]:
    """Rewrite the line each second; yields the function that changes its text."""
    shown = [text]
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1):
            update(f"{shown[0]} {_seconds(start)}")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield lambda text: shown.__setitem__(0, text)
    finally:
        done.set()
        thread.join()


def _seconds(start: float) -> str:
    return f"{time.monotonic() - start:.1f} s"


def run(
    command: Sequence[str],
    *,
    failure: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout_s: float | None = None,
) -> str:
    """Run a command to its end and return what it wrote.

    Args:
        command: name and arguments; no shell is involved.
        failure: start of the error's sentence, such as "Azurite can't be installed".
        cwd: where it runs.
        environment: variables beside those of this process.
        on_line: is called with each line of its output as it comes.
        timeout_s: seconds after which it is killed.

    Raises:
        SetupError: it can't be started, failed, or took too long.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise SetupError(f"{failure}: {command[0]} can't be started ({error}).") from error
    late = threading.Event()
    timer = threading.Timer(timeout_s or threading.TIMEOUT_MAX, _kill, (process, late))
    timer.daemon = True
    timer.start()
    lines: list[str] = []
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        with process.stdout as stream:
            for line in stream:
                lines.append(line)
                if on_line:
                    on_line(line.rstrip())
        code = process.wait()
    finally:
        timer.cancel()
        _kill(process)
    output = "".join(lines)
    if late.is_set():
        raise SetupError(f"{failure}: {command[0]} took longer than {timeout_s:g} seconds.")
    if code:
        raise SetupError(explain(failure, output, code))
    return output


def _kill(process: subprocess.Popen[str], late: threading.Event | None = None) -> None:
    """End a command that still runs, its children included, and say so in ``late``."""
    if process.poll() is not None:
        return
    if late:
        late.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def explain(failure: str, output: str, code: int) -> str:
    """One sentence on a failed command.

    Args:
        failure: start of the sentence.
        output: what the command wrote.
        code: its exit code.
    """
    if disk_full(output):
        return f"{failure}: the disk is full."
    lines = [line.strip() for line in output.splitlines()[-_KEPT_LINES:] if line.strip()]
    reason = next(
        (line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else ""
    )
    return f"{failure}: {reason.rstrip('.') or f'exit code {code}'}."


def disk_full(output: str) -> bool:
    """Whether a command's output says that it ran out of disk."""
    return any(text in output.lower() for text in _DISK_FULL)
