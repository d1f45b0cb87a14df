"""Equal content gives an equal file, byte for byte.

DuckDB writes blocks of 256 KiB and does not clear what its codecs leave unused in them (strings and ALP floats), so
the file holds scraps of freed memory. Its wheels for Linux bring their own jemalloc, which clears every allocation
when the environment says so at start: hence an index is built in a process of its own with `CLEARED`. With one thread
and everything sorted, two files then differ only in a random database identifier of 16 bytes (once in the main header,
and once in what the second database header keeps of it) and in the checksums of these two headers. `seal` puts the
hash of the content there instead. (DuckDB 1.5 also keeps distinct-count sketches that depend on how the contexts were
cut into blocks; there, bytes are equal for equal cuts. From 2.0 on they are equal for any.) On systems where DuckDB has
no jemalloc (macOS, Windows) the content is equal all the same, but the unused bytes may differ.
"""

from pathlib import Path

import numpy as np

CLEARED = {"DUCKDB_JE_MALLOC_CONF": "zero:true"}
"""Environment in which DuckDB's allocator clears memory."""

_HEADER = 4096
_IDENTIFIER = slice(124, 140)


def seal(path: Path, identifier: bytes) -> None:
    """Replace the random identifier of a closed DuckDB file by the 16 bytes given.

    A header whose checksum is not computed as expected (a future version of DuckDB) is left alone.
    """
    with path.open("r+b") as file:
        main = file.read(_HEADER)
        if len(main) < _HEADER or _checksum(main) != main[:8]:
            return
        random = main[_IDENTIFIER]
        for page in range(3):
            file.seek(page * _HEADER)
            header = bytearray(file.read(_HEADER))
            if header[_IDENTIFIER] == random and _checksum(header) == bytes(header[:8]):
                header[_IDENTIFIER] = identifier[:16]
                header[:8] = _checksum(header)
                file.seek(page * _HEADER)
                file.write(header)


def _checksum(header: bytes | bytearray) -> bytes:
    """DuckDB's checksum of what follows the first 8 bytes."""
    words = np.frombuffer(bytes(header[8:]), "<u8")
    mixed = words * np.uint64(0xBF58476D1CE4E5B9)
    return int(np.bitwise_xor.reduce(mixed) ^ np.uint64(5381)).to_bytes(8, "little")
