"""LM → activations: shards on disk that can be taken up again, or a stream straight to the trainer."""

from saebench.harvest.manifest import Manifest
from saebench.harvest.shards import ShardSource
from saebench.harvest.stream import StreamSource
from saebench.harvest.write import harvest

__all__ = ["Manifest", "ShardSource", "StreamSource", "harvest"]
