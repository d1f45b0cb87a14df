"""Background work as data."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class Progress(BaseModel):
    """How far a running job is with what it is doing now."""

    what: str
    done: int
    total: int | None = None
    note: str = ""
    elapsed: float = Field(description="seconds since it began with this")

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None where the end is not known."""
        return min(self.done / self.total, 1.0) if self.total else None

    @property
    def left(self) -> float | None:
        """Seconds it will still take at the pace so far; None where nobody can say."""
        return self.elapsed * (self.total / self.done - 1) if self.total and self.done else None


class Job(BaseModel):
    """One command of saebench in the background."""

    id: str = Field(description="<kind>.<what it is about>.<number>")
    kind: str
    about: dict[str, str] = Field(description="what it works on, such as an SAE")
    title: str
    command: list[str] = Field(description="what was run, as `saebench …`")
    state: State = Field(description="interrupted: the dashboard stopped while it waited or ran")
    created: datetime = Field(description="UTC")
    started: datetime | None = None
    ended: datetime | None = None
    error: str | None = Field(None, description="of a failed one, in one line")

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state in {"queued", "running"}


class JobPage(Job):
    """A job with how far it is and what it said."""

    progress: Progress | None = None
    log: str = Field("", description="the end of what it printed")


class Jobs(BaseModel):
    """All jobs, newest first."""

    jobs: list[JobPage]
