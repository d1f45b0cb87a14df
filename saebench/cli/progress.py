"""Progress on a terminal: a bar where there is a person, a line now and then where there is a log; and in a file for
the dashboard, if it started the command.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from saebench.job import progress_file

console = Console(soft_wrap=True, highlight=False)
if not console.is_terminal:
    console.width = 240  # a file or a pipe has no edge at which tables would have to be cut


class Track:
    """One running task: `track(done)` moves it, `note` is the text behind the bar."""

    def __init__(self, progress: Progress, total: int | None, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total, note="")
        self._file = progress_file(label, total)

    def __call__(self, done: int, note: str = "") -> None:
        """Set how much is done."""
        self._progress.update(self._task, completed=done, note=note)
        if self._file is not None:
            self._file(done, note)


@contextmanager
def track(label: str, total: int | None, quiet: bool = False) -> Iterator[Track]:
    """A progress bar with elapsed and remaining time; `quiet`: none, where standard output is for data."""
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("·"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4, disable=quiet) as progress:
        yield Track(progress, total, label)
