"""Every kind of job: the only commands that the dashboard starts. A new kind is an entry here."""

from typing import NamedTuple


class Kind(NamedTuple):
    """What is run for a subject, which is checked by whoever asks for the job; the workspace is added."""

    title: str
    arguments: tuple[str, ...]

    def of(self, subject: str) -> tuple[str, list[str]]:
        """(title, arguments) with the subject put in, each argument remaining one."""
        return self.title.format(subject), [argument.format(subject) for argument in self.arguments]


KINDS = {
    "map": Kind("Map of {}", ("map", "--sae", "{}")),
}
