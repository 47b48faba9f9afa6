"""Long-running programs of the local stack, kept by supervisord (https://supervisord.org).

A supervisord survives the command that started it, restarts a program that dies, and ends all of
them together.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import sys
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from local.console import SetupError, run
from local.machine import is_root, wait_until

_START_S = 15.0
_STOP_S = 90.0
"""Above the ``stop_s`` of any program, after which supervisord kills it."""

_SWEEP_S = 15.0
_RUNNING = "RUNNING"
_DEAD = frozenset({"FATAL", "EXITED", "STOPPED", "UNKNOWN"})
_TAIL_BYTES = 4096
_TROUBLE = ("error", "fail", "fatal", "panic", "cannot", "can't")


@dataclass(frozen=True)
class Program:
    """A program to keep running.

    Args:
        name: also that of its log.
        command: what to run.
        environment: variables beside those of this process. A change of any restarts the program.
        folder: where it runs; the folder of the supervisor's files without it.
        stop_s: how long it may take to end by itself before it is killed.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    stop_s: int = 10


@dataclass(frozen=True)
class Supervisor:
    """One supervisord and its programs.

    Args:
        socket: where it listens for commands.
        state: folder of its files.
        logs: folder of the programs' logs.
    """

    socket: Path
    state: Path
    logs: Path

    @property
    def configuration(self) -> Path:
        return self.state / "supervisord.conf"

    @property
    def pid_file(self) -> Path:
        return self.state / "supervisord.pid"

    def log(self, program: str) -> Path:
        """What the program wrote."""
        return self.logs / f"{program}.log"

    def apply(self, programs: Sequence[Program]) -> None:
        """Run exactly these programs: start those that do not run, restart those that changed.

        Raises:
            SetupError: supervisord can't be started.
        """
        for folder in (self.state, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        text = self.render(programs)
        running = self.running()
        changed = not self.configuration.exists() or self.configuration.read_text() != text
        if changed:
            self.configuration.write_text(text)
        if not running:
            self.sweep()
            self._supervisord()
        elif changed:
            self._update()
        with self._rpc() as rpc:
            for name, state in self.states().items():
                if state in _DEAD:
                    rpc.startProcess(name, False)

    def stop(self) -> None:
        """End all programs and supervisord itself; without any, do nothing."""
        process = self._process()
        if process is not None:
            with contextlib.suppress(OSError, http.client.HTTPException), self._rpc() as rpc:
                rpc.shutdown()
            try:
                process.wait(_STOP_S)
            except psutil.TimeoutExpired:
                process.kill()
        self.sweep()
        self.socket.unlink(missing_ok=True)
        self.pid_file.unlink(missing_ok=True)

    def sweep(self) -> None:
        """End programs, and what they started, that outlived a supervisord that was killed."""
        if self.running():
            return
        left = [each for each in psutil.process_iter() if self._started(each)]
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()
        for each in psutil.wait_procs(left, timeout=_SWEEP_S)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def _started(self, process: psutil.Process) -> bool:
        # supervisord puts its address into the environment of its programs, who pass it on.
        try:
            return process.environ().get("SUPERVISOR_SERVER_URL") == self._address
        except (psutil.Error, OSError):
            return False

    @property
    def _address(self) -> str:
        return f"unix://{self.socket}"

    def running(self) -> bool:
        """Whether supervisord itself runs."""
        return self._process() is not None

    def states(self) -> dict[str, str]:
        """The state of each program, in supervisord's words; empty where it does not run."""
        try:
            with self._rpc() as rpc:
                return {each["name"]: each["statename"] for each in rpc.getAllProcessInfo()}
        except (OSError, http.client.HTTPException):
            return {}

    def wait(self, program: str, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until a program serves.

        Args:
            program: its name.
            ready: asks the program itself.
            timeout_s: seconds to wait at most.

        Raises:
            SetupError: it ended, or does not serve in time; names its log and the log's last line.
        """

        def served() -> bool:
            state = self.states().get(program, "STOPPED")
            if state in _DEAD:
                raise SetupError(self._failure(program, "does not start"))
            return state == _RUNNING and ready()

        wait_until(
            served,
            timeout_s=timeout_s,
            failure=lambda: self._failure(program, f"did not answer within {timeout_s:g} s"),
        )

    def render(self, programs: Sequence[Program]) -> str:
        """The configuration of supervisord."""
        main: dict[str, dict[str, Any]] = {
            "unix_http_server": {"file": self.socket, "chmod": "0700"},
            "supervisord": {
                "directory": self.state,
                "logfile": self.logs / "supervisord.log",
                "pidfile": self.pid_file,
                "loglevel": "warn",
                **({"user": "root"} if is_root() else {}),
            },
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": (
                    "supervisor.rpcinterface:make_main_rpcinterface"
                ),
            },
            "supervisorctl": {"serverurl": self._address},
        }
        return "\n".join(
            _section(name, options)
            for name, options in (
                main | {f"program:{each.name}": self._options(each) for each in programs}
            ).items()
        )

    def _options(self, program: Program) -> dict[str, Any]:
        variables = ",".join(
            f'{name}="{value}"' for name, value in sorted(program.environment.items())
        )
        return {
            "command": shlex.join(program.command),
            "environment": variables,
            "directory": program.folder or self.state,
            "autorestart": "true",
            "startsecs": 1,
            "stopwaitsecs": program.stop_s,
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": self.log(program.name),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 1,
        }

    def _supervisord(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)]
        run(command, failure="The services of the local stack can't be started")
        wait_until(
            lambda: self.running() and bool(self.states()),
            timeout_s=_START_S,
            failure=lambda: f"supervisord did not start; see {self.logs / 'supervisord.log'}.",
        )

    def _update(self) -> None:
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.configuration)]
        run([*command, "update"], failure="The services of the local stack can't be updated")

    def _process(self) -> psutil.Process | None:
        """supervisord, where the process of that number still is one with our configuration."""
        try:
            process = psutil.Process(int(self.pid_file.read_text()))
            ours = str(self.configuration) in process.cmdline()
        except (OSError, ValueError, psutil.Error):
            return None
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None

    @contextlib.contextmanager
    def _rpc(self) -> Iterator[Any]:
        transport = SupervisorTransport(serverurl=self._address)
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            yield proxy.supervisor

    def _failure(self, program: str, what: str) -> str:
        log = self.log(program)
        last = last_words(log)
        return (
            f"{program} {what}: {last} (log: {log})" if last else f"{program} {what} (log: {log})"
        )


def _section(name: str, options: Mapping[str, Any]) -> str:
    # supervisord expands %(…)s, so a percent sign is doubled.
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def last_words(log: Path) -> str:
    """The line of a log that tells best why its program ended; empty without a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.path.getsize(log) - _TAIL_BYTES))  # noqa: PTH202
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    # A stack trace ends far from what went wrong.
    telling = [line for line in said if any(word in line.lower() for word in _TROUBLE)]
    return next(reversed(telling or said), "")
