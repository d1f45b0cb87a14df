"""What the demo model reads: the standard library and permissively licensed packages.

Held-out modules (`saebench.corpus.stdlib.split_of`) never enter, and neither does any file that copies
from them: packages vendor and fork standard-library modules, and such a copy would leak the held-out text.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from saebench.corpus.stdlib import split_of, stdlib_files

MAX_BYTES = 300_000
MAX_MEAN_LINE = 90
LONG_LINE = 32
MAX_SHARED_LINES = 0.2
TABLES = frozenset({"encodings", "pydoc_data"})
"""Modules that are mostly generated tables: read once, not repeated."""


@dataclass(frozen=True)
class Source:
    """One file's text, its group in the mixture and how often an epoch repeats it."""

    name: str
    text: str
    repeats: int


def read_source(path: Path) -> str | None:
    """The file's text, or None where it is not UTF-8 or is data rather than code (huge, or very long lines)."""
    raw = path.read_bytes()
    if not 64 <= len(raw) <= MAX_BYTES or len(raw) / (raw.count(b"\n") + 1) > MAX_MEAN_LINE:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def long_lines(text: str) -> set[int]:
    """Hashes of the stripped lines long enough to be nobody's common idiom."""
    return {hash(line) for raw in text.splitlines() if len(line := raw.strip()) >= LONG_LINE}


def gather(packages: Path, *, library_repeats: int, test_repeats: int) -> Iterator[Source]:
    """Yield every training source once, duplicates and copies of held-out text left out.

    Args:
        packages: folder with the unpacked packages (`pip install --no-deps --target`).
        library_repeats: times an epoch repeats the standard library's own modules.
        test_repeats: times an epoch repeats the standard library's tests.
    """
    heldout: set[int] = set()
    for module, path in stdlib_files():
        if split_of(module) == "heldout":
            heldout |= long_lines(path.read_text(errors="replace"))

    def candidates() -> Iterator[tuple[str, Path, int]]:
        for module, path in stdlib_files():
            if split_of(module) == "train":
                yield f"stdlib/{module}", path, 1 if module in TABLES else library_repeats
        for module, path in stdlib_files(tests=True):
            yield f"tests/{module}", path, test_repeats
        for path in sorted(packages.rglob("*.py")):
            if path.relative_to(packages).parts[0] == "bin":
                continue  # pip's console scripts
            yield f"packages/{path.relative_to(packages).parts[0]}", path, 1

    seen: set[bytes] = set()
    for name, path, repeats in candidates():
        text = read_source(path)
        if text is None or (digest := hashlib.sha256(text.encode()).digest()) in seen:
            continue
        seen.add(digest)
        lines = long_lines(text)
        if lines and len(lines & heldout) / len(lines) > MAX_SHARED_LINES:
            continue
        yield Source(name, text, repeats)
