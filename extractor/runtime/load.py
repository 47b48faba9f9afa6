"""A window's way into the lake: staged where nobody looks, then shown at once.

Readers see the folder ``{job}/window=…`` only whole. Its files are first written below
``_staging/{job}/``, to a folder of this attempt's own; one rename shows them. The folder's name
comes from job and window alone, so another attempt replaces what an earlier one left there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from extractor.runtime.claim import Claim
from extractor.runtime.log import facts
from extractor.runtime.parts import BUFFER_BYTES, Part, PartWriter
from extractor.runtime.ports import Lake
from extractor.runtime.records import BACKFILL, Commit, lake_folders
from extractor.runtime.window import Window

MANIFEST = "manifest.json"
"""Written last: says which files a window consists of, and where they come from."""

_UPLOADS = 8
"""Files on their way at once. A window of many days has many small files, and each of them takes a
few requests that mostly wait."""

logger = logging.getLogger(__name__)


class OverlapError(Exception):
    """A chunk of a backfill and a window in the lake have only a part of their rows in common.

    With both of them shown, those rows would be there twice; with one, others would be missing. A
    live run may meet such a window, too, and loads what it replaces in its next windows.
    """


@dataclass
class Load:
    """One attempt to bring a claimed run's window into the lake.

    Args:
        lake: where to.
        claim: the run.
        buffer_bytes: rows that may wait in memory, in bytes.
    """

    lake: Lake
    claim: Claim
    buffer_bytes: int = BUFFER_BYTES
    parts: list[Part] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Where readers find the window."""
        return f"{self.claim.run.job}/{self.claim.window.folder}"

    @property
    def staging(self) -> str:
        """A folder that no other attempt has."""
        return f"{self._stagings}/{self._attempt}"

    @property
    def commit(self) -> Commit:
        """What the job's row is to say of this load."""
        return Commit(
            commit_run_id=self.claim.run.run_id,
            commit_rows=sum(part.rows for part in self.parts),
            commit_bytes=sum(part.bytes for part in self.parts),
            commit_lake_path=self.folder,
        )

    def leftovers(self) -> list[str]:
        """Staging folders of the job's attempts before this one.

        To be asked for before the first file is staged: the attempts that have a folder then are
        dead or have lost the fence, while a later look could find the folder of a live successor.
        """
        return [f"{self._stagings}/{name}" for name in self.lake.children(self._stagings)]

    def stage(self, tables: Iterable[pa.Table | pa.RecordBatch]) -> None:
        """Write all rows and the manifest to the staging folder.

        Raises:
            RowsError: see :meth:`PartWriter.add`.
        """
        with TemporaryDirectory(prefix="parts-") as name:
            local = Path(name)
            writer = PartWriter(local, self.buffer_bytes)
            for table in tables:
                self._upload(local, writer.add(table))
            self._upload(local, writer.flush())
            manifest = local / MANIFEST
            manifest.write_text(json.dumps(self._manifest(), indent=2) + "\n")
            self.lake.upload(manifest, f"{self.staging}/{MANIFEST}")

    def publish(self) -> None:
        """Show the staged files under the window's name, in place of what they replace.

        Raises:
            FenceLostError: another attempt may be at work; nothing that readers see has changed.
            OverlapError: see there; nothing that readers see has changed.
        """
        replaced = self._replaced()
        self.claim.check_fence()  # who put them there may be this run's next attempt
        aside: list[str] = []
        try:
            for number, folder in enumerate(replaced):
                self.lake.rename(folder, f"{self.staging}-replaced-{number}")
                aside.append(f"{self.staging}-replaced-{number}")
            self.lake.rename(self.staging, self.folder)
        except BaseException:
            for folder, name in zip(replaced, aside, strict=False):
                self.lake.rename(name, folder)
            raise
        self.delete(aside)

    def discard(self) -> None:
        """Delete what was staged."""
        self.lake.delete(self.staging)

    def delete(self, leftovers: Iterable[str]) -> None:
        """Delete staging folders. One that cannot be deleted is the next load's to try again."""
        for folder in leftovers:
            try:
                self.lake.delete(folder)
            except Exception:
                logger.exception("leftover not deleted %s", facts(folder=folder))

    @property
    def _stagings(self) -> str:
        return lake_folders(self.claim.run.job)[1]

    @property
    def _attempt(self) -> str:
        return f"{self.claim.run.run_id}-{self.claim.token}"

    def _replaced(self) -> list[str]:
        """Folders of the job whose rows this load brings once more.

        An earlier attempt died between its rename and its commit, perhaps that of another run with
        another end of its window; or an operator has set the watermark back.
        """
        job, window = self.claim.run.job, self.claim.window
        shown = {name: Window.of_folder(name) for name in self.lake.children(job)}
        if self.claim.run.trigger == BACKFILL:
            _require_within(window, filter(None, shown.values()))
        return [f"{job}/{name}" for name, other in shown.items() if other and other.start in window]

    def _upload(self, local: Path, parts: list[Part]) -> None:
        """Upload files and delete them here."""
        with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload") as pool:
            try:
                list(pool.map(self._upload_one, [local / part.path for part in parts], parts))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self.parts += parts

    def _upload_one(self, file: Path, part: Part) -> None:
        self.lake.upload(file, f"{self.staging}/{part.path}")
        file.unlink()

    def _manifest(self) -> dict[str, object]:
        run, window = self.claim.run, self.claim.window
        return {
            "job": run.job,
            "run_id": run.run_id,
            "image_digest": run.image_digest,
            "window": {"from": window.start.isoformat(), "to": window.end.isoformat()},
            "rows": self.commit.commit_rows,
            "files": [asdict(part) for part in self.parts],
            "created_at": datetime.now(UTC).isoformat(),
        }


def _require_within(chunk: Window, others: Iterable[Window]) -> None:
    for other in others:
        within = chunk.start <= other.start and other.end <= chunk.end
        if other.overlaps(chunk) and not within:
            raise OverlapError(
                f"The window {other} in the lake is not within the chunk {chunk}; delete its "
                "folder, or choose chunks that hold whole windows."
            )
