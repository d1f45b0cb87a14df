"""Runs jobs, one at a time, each as a process group of its own.

Decisions:
- A process, not a thread: it can be stopped at any moment, its memory goes with it, and the server keeps answering.
- Only one dashboard of a workspace runs jobs; a lock beside them says which. Whoever looks at a job that is recorded
  as waiting or running while nobody runs it sees it as interrupted: nothing has to be tidied up after a kill.
- A job ends with the dashboard, however that ends (`saebench.job`). Commands pick up where they stopped, so that an
  interrupted one is run again.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from saebench.errors import UserError
from saebench.job import JOB_OF, PROGRESS
from store.locks import acquire
from web.jobs.folder import JobFolder
from web.jobs.kinds import KINDS
from web.models.jobs import Job, JobPage, State

MOST_WAITING = 20
GRACE = 5.0
"""Seconds between asking a job to end and making it."""
NICENESS = 10


class JobRunner:
    """The jobs of a workspace: what there is, starting, cancelling; safe to share between threads."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._folder = JobFolder(workspace)
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled: set[str] = set()
        self._owned: IO[bytes] | None = None

    def all(self) -> list[JobPage]:
        """Every job, newest first."""
        with self._changed:
            return [self._page(job) for job in self._folder.all()]

    def find(self, job_id: str) -> JobPage | None:
        """One job; None if there is none."""
        with self._changed:
            job = self._folder.find(job_id)
            return None if job is None else self._page(job)

    def last(self, kind: str, **about: str) -> JobPage | None:
        """The newest job of a kind on just this."""
        with self._changed:
            alike = (job for job in self._folder.all() if (job.kind, job.about) == (kind, about))
            return next(map(self._page, alike), None)

    def start(self, kind: str, **about: str) -> Job:
        """Queue a job of a kind; one like it that waits or runs is returned instead.

        Args:
            kind: a key of `KINDS`.
            about: what it works on, by the names in that kind; checked by the caller: an SAE that exists.

        Raises:
            UserError: too many wait, another dashboard runs this workspace's jobs, or the folder cannot be written.
        """
        title, arguments = KINDS[kind].of({**about, "workspace": str(self._workspace)})
        with self._changed:
            for job in [self._running, *self._waiting]:
                if job is not None and (job.kind, job.about) == (kind, about) and job.id not in self._cancelled:
                    return job
            if len(self._waiting) >= MOST_WAITING:
                raise UserError(f"{MOST_WAITING} jobs wait already; cancel some, or start this one when they are done")
            try:
                self._folder.path.mkdir(parents=True, exist_ok=True)
                self._own()
                job_id = self._folder.make(kind, about)
            except OSError as error:
                raise UserError(f"cannot write {self._folder.path}: {error.strerror or error}") from None
            command = ["saebench", *arguments, "--workspace", str(self._workspace)]
            job = Job(
                id=job_id, kind=kind, about=about, title=title, command=command, state="queued",
                created=datetime.now(UTC),
            )  # fmt: skip
            self._folder.write(job)
            self._waiting.append(job)
            self._changed.notify()
            return job

    def cancel(self, job_id: str) -> None:
        """Take a waiting job out of the queue, or end a running one; anything else stays as it is."""
        with self._changed:
            for job in list(self._waiting):
                if job.id == job_id:
                    self._waiting.remove(job)
                    self._record(job, "cancelled")
            if self._running is not None and self._running.id == job_id and job_id not in self._cancelled:
                self._cancelled.add(job_id)
                self._signal(signal.SIGTERM)
                timer = threading.Timer(GRACE, self._insist, [job_id])
                timer.daemon = True
                timer.start()

    def _page(self, job: Job) -> JobPage:
        known = [one.id for one in (self._running, *self._waiting) if one is not None]
        lost = job.alive and job.id not in known and not self._elsewhere()
        state: State = "interrupted" if lost else job.state
        progress, log = self._folder.progress(job.id), self._folder.log(job.id)
        return JobPage(**job.model_dump(exclude={"state"}), state=state, progress=progress, log=log)

    def _elsewhere(self) -> bool:
        """Whether another process runs this workspace's jobs."""
        if self._owned is not None:
            return False
        try:
            acquire(self._folder.path / ".lock", 0).close()
        except BlockingIOError:
            return True
        return False

    def _own(self) -> None:
        """Become the one that runs this workspace's jobs, if that is not so yet.

        Raises:
            UserError: another process does.
        """
        if self._owned is not None:
            return
        try:
            self._owned = acquire(self._folder.path / ".lock", 0)
        except BlockingIOError:
            raise UserError(
                f"another dashboard runs the jobs of {self._workspace}; start this one there, or stop it first"
            ) from None
        threading.Thread(target=self._work, name="jobs", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job = self._running = self._waiting.popleft().model_copy(
                    update={"state": "running", "started": datetime.now(UTC)}
                )
            try:
                self._run(job)
            except (OSError, UserError) as error:
                self._end(job, "failed", f"it could not be started: {error}")

    def _run(self, job: Job) -> None:
        folder = self._folder.of(job.id)
        self._folder.write(job)
        environment = {**os.environ, PROGRESS: str(folder / "progress.jsonl"), JOB_OF: str(os.getpid())}
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *job.command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True,
            )  # fmt: skip
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PGRP, process.pid, NICENESS)
        with self._changed:
            self._process = process
            if job.id in self._cancelled:
                self._signal(signal.SIGTERM)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._changed:  # what it left behind, while its number cannot be anybody else's yet
            self._signal(signal.SIGKILL)
            code = process.wait()
            self._process = None
        if job.id in self._cancelled:
            self._end(job, "cancelled")
        elif code == 0:
            self._end(job, "done")
        else:
            self._end(job, "failed", _why(code, self._folder.log(job.id)))

    def _end(self, job: Job, state: State, error: str | None = None) -> None:
        with self._changed:
            self._running = None
            self._cancelled.discard(job.id)
            self._record(job, state, error)

    def _record(self, job: Job, state: State, error: str | None = None) -> None:
        ended = {"state": state, "ended": datetime.now(UTC), "error": error}
        with contextlib.suppress(UserError):  # a full disk: it will show as interrupted
            self._folder.write(job.model_copy(update=ended))

    def _signal(self, which: signal.Signals) -> None:
        """Signal the process group of the running job; call with the lock held."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, which)

    def _insist(self, job_id: str) -> None:
        with self._changed:
            if self._running is not None and self._running.id == job_id:
                self._signal(signal.SIGKILL)


def _why(code: int, log: str) -> str:
    """Why a command failed: its own line if it said one."""
    said = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
    if said:
        return said[-1]
    if code < 0:
        return f"it was killed by {signal.Signals(-code).name}; if nobody did that, there was too little memory"
    last = [line.strip() for line in log.splitlines() if line.strip()]
    return last[-1] if last else f"it ended with code {code} and said nothing"
