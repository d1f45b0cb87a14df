"""A text that makes tokenizers work: letters of several bytes, characters split over tokens."""

from pathlib import Path

SAMPLE = "def größe(x):\n    return '→ naïve' if x else None  # ☃ 雪だるま\n" * 3


def write_texts(folder: Path) -> Path:
    """A folder of twelve small text files, and an empty one."""
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.txt").write_text(f"file {number}\n{SAMPLE * number}", encoding="utf-8")
    (folder / "empty.txt").write_text("")
    return folder
