"""What every extractor shares; :func:`run`, :class:`Window` and :class:`Settings` are all that the
author of one needs.

    def extract(window: Window) -> Iterable[pyarrow.Table]:
        ...

    if __name__ == "__main__":
        sys.exit(run(extract))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extractor.runtime.runner import run as run
    from extractor.runtime.settings import SettingError as SettingError
    from extractor.runtime.settings import Settings as Settings
    from extractor.runtime.window import Window as Window

_MODULES = {
    "run": "runner",
    "SettingError": "settings",
    "Settings": "settings",
    "Window": "window",
}
"""Loaded when asked for: the scheduler uses ``records`` and has none of the runtime's libraries."""

__all__ = ["SettingError", "Settings", "Window", "run"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
