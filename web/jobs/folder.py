"""Jobs on the disk: `jobs/<id>/` with `job.json`, `progress.jsonl` and `log.txt`.

job.json is replaced whole, so whoever looks sees one state or the next, never half of one.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from saebench.files import atomic_write
from store.workspace import check_id
from web.models.jobs import Job, Progress

_LOG_SHOWN = 8_000
_LONGEST_STEM = 200
_ID = re.compile(r"[a-z]+\.[A-Za-z0-9._-]+\.[0-9]+")


class JobFolder:
    """The jobs of one workspace."""

    def __init__(self, workspace: Path) -> None:
        self.path = workspace / "jobs"

    def of(self, job_id: str) -> Path:
        """A job's folder."""
        return self.path / job_id

    def all(self) -> list[Job]:
        """What is recorded, newest first."""
        return sorted(self._read(), key=lambda job: (job.created, job.id), reverse=True)

    def find(self, job_id: str) -> Job | None:
        """One job as it is recorded; None if there is none."""
        if not _ID.fullmatch(job_id):
            return None
        try:
            return Job.model_validate_json((self.of(job_id) / "job.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def make(self, kind: str, about: dict[str, str]) -> str:
        """A new folder, and the id that it gives: the kind, what it is about and how often that was asked for.

        Raises:
            OSError: it cannot be made.
            StoreError: what it is about cannot be part of a file's name.
        """
        stem = f"{kind}.{'_'.join(map(check_id, about.values()))}"[:_LONGEST_STEM]
        parts = [path.name.rpartition(".") for path in self.path.iterdir()]
        number = 1 + max((int(last) for first, _, last in parts if first == stem and last.isdigit()), default=0)
        self.of(f"{stem}.{number}").mkdir()
        return f"{stem}.{number}"

    def write(self, job: Job) -> None:
        """Record a job.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        with atomic_write(self.of(job.id) / "job.json") as file:
            file.write(job.model_dump_json(indent=1).encode())

    def progress(self, job_id: str) -> Progress | None:
        """The last that it said of how far it is."""
        for line in reversed(_tail(self.of(job_id) / "progress.jsonl", 4_000).splitlines()):
            try:
                return Progress.model_validate(json.loads(line))
            except ValueError:  # a line that is being written, or cut
                continue
        return None

    def log(self, job_id: str) -> str:
        """The end of what it printed."""
        return _tail(self.of(job_id) / "log.txt", _LOG_SHOWN)

    def _read(self) -> Iterator[Job]:
        if self.path.is_dir():
            yield from filter(None, (self.find(path.name) for path in self.path.iterdir()))


def _tail(path: Path, n_bytes: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - n_bytes, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
