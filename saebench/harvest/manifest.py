"""The manifest of a harvest: what was run, and every finished shard with its checksums.

It is rewritten atomically after each shard and holds no times, so that an interrupted harvest ends with the
same bytes as an uninterrupted one.
"""

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from saebench.errors import UserError
from saebench.files import file_sha256, write_json

VERSION = 1


class ShardFile(BaseModel):
    """Size and checksum of one file."""

    bytes: int
    sha256: str


class Shard(BaseModel):
    """A run of contexts: one file for each hook point, and `contexts` for the tokens."""

    contexts: int
    files: dict[str, ShardFile]


class Manifest(BaseModel):
    """What a harvest is made of.

    Attributes:
        provenance: everything that decides the numbers: model, corpus, arithmetic, batch, code version.
        widths: width of each hook point's activations.
        complete: whether the corpus was read to its end.
        corpus_sha256: hash of the documents read, once complete.
    """

    model_config = ConfigDict(extra="forbid")

    version: int = VERSION
    id: str
    provenance: dict
    context_length: int
    precision: str
    widths: dict[str, int] = {}
    shards: list[Shard] = []
    complete: bool = False
    corpus_sha256: str | None = None

    @property
    def n_contexts(self) -> int:
        """Contexts in finished shards."""
        return sum(shard.contexts for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Write `manifest.json` atomically."""
        write_json(folder / "manifest.json", self.model_dump())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `manifest.json`.

        Raises:
            UserError: missing, damaged, or written by a newer version.
        """
        path = folder / "manifest.json"
        try:
            data = json.loads(path.read_text())
            if isinstance(data, dict) and data.get("version", 0) > VERSION:
                raise UserError(
                    f"harvest {folder} was written by a newer saebench (format {data['version']}); upgrade this one"
                )
            return cls.model_validate(data)
        except FileNotFoundError:
            raise UserError(f"no harvest at {folder}; run `saebench harvest` first") from None
        except (json.JSONDecodeError, UnicodeDecodeError, ValidationError):
            raise UserError(f"{path} is damaged; remove {folder} and run `saebench harvest` again") from None


def file_name(part: str, number: int) -> str:
    """File of one part (a hook point, or `contexts`) of one shard."""
    return f"{part}.{number:05d}.{'parquet' if part == 'contexts' else 'bin'}"


def check_file(folder: Path, part: str, number: int, expected: ShardFile) -> Path:
    """The path of a shard's file, after its size and checksum were compared with the manifest.

    Raises:
        UserError: the file is missing, truncated or corrupt.
    """
    path = folder / file_name(part, number)
    remedy = f"remove {folder} and run `saebench harvest` again"
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise UserError(f"shard {path} is missing; {remedy}") from None
    if size != expected.bytes:
        raise UserError(f"shard {path} is truncated ({size:,} of {expected.bytes:,} bytes); {remedy}")
    if file_sha256(path) != expected.sha256:
        raise UserError(f"shard {path} is corrupt (its checksum differs from the manifest); {remedy}")
    return path
