"""Files made for one answer: written whole, sent as they are read, never left behind."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from starlette.responses import StreamingResponse

MEDIA = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_PART = 1 << 18
_LONGEST = 120
_WORDS = {"<": " lt ", ">": " gt ", "=": " eq ", "%": " percent "}


def attachment(write: Callable[[Path], object], name: str, ending: str) -> StreamingResponse:
    """What `write` puts into a file, as an answer that browsers keep under `name`.

    The file has lost its name before the first byte is sent: the system takes it back when the answer is over, however
    that ends.
    """
    with tempfile.TemporaryDirectory(prefix="saebench-download-") as folder:
        path = Path(folder) / f"file.{ending}"
        write(path)
        file = path.open("rb")
        size = path.stat().st_size
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file_name(name))}.{ending}",
    }
    return StreamingResponse(_parts(file), media_type=MEDIA[ending], headers=headers)


def file_name(text: str) -> str:
    """A text as a file's name on every system: comparisons as words, anything else that is special as dashes."""
    for sign, word in _WORDS.items():
        text = text.replace(sign, word)
    return re.sub(r"[^\w.+-]+", "-", text)[:_LONGEST].strip("-.")


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(_PART):
            yield part
