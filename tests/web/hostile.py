"""An index whose corpus, tokens and document names try to break the page."""

from pathlib import Path

import numpy as np

from store import ContextBlock, DecoderTables, IndexWriter, index_id, indexes_folder, staging_folder

SAE, CORPUS = "hostile.sae", "hostile-corpus"
SCRIPT = "</script><script>document.title='broken'</script>"
PIECES = [
    SCRIPT.encode(),
    b"<img src=x onerror=alert(1)>",
    b"'\"><b>",
    "\u202ereversed".encode(),
    b"\x00\x1b[31m",
    b"\xff\xfe",
    "é".encode()[:1],
    "é".encode()[1:],
    b"{{ 7 * 7 }}",
    b"\t\n",
]
LENGTH = len(PIECES)


def build(workspace: Path) -> None:
    """One context, three features: 0 fires on every token, 1 on the first, 2 is dead."""
    n = LENGTH
    identifier = index_id(SAE, CORPUS)
    ends = np.cumsum([0, *map(len, PIECES)])
    block = ContextBlock(
        tokens=np.arange(n, dtype=np.int32)[None],
        special=np.zeros((1, n), bool),
        source=[b"".join(PIECES)],
        bounds=ends[None].astype(np.int32),
        segments=[[(0, 0, 0)]],
        offsets=np.array([0, *range(2, n + 2)], np.int64),
        features=np.array([0, 1] + [0] * (n - 1), np.int32),
        values=np.linspace(1, 4, n + 1).astype(np.float32),
    )
    tokens = np.arange(4, dtype=np.int32)[None].repeat(3, 0)
    logits = np.ones((3, 4), np.float32)
    ones = np.ones(3, np.float32)
    decoder = DecoderTables(
        decoder_norm=ones,
        encoder_decoder_cosine=ones,
        neighbours=np.array([[1], [2], [0]], np.int32),
        neighbour_cosine=ones[:, None],
        promoted=tokens,
        promoted_logit=logits,
        suppressed=tokens,
        suppressed_logit=-logits,
        logit_histogram_edges=np.array([-1, 0, 1], np.float32),
        logit_histogram=np.array([[5, 5]] * 3, np.int32),
        head_share=np.array([[0.75, 0.25]] * 3, np.float32),
    )
    writer = IndexWriter(staging_folder(workspace, identifier), 3, n, {"model": {"id": SCRIPT}, "note": SCRIPT})
    writer.add(block)
    for some in writer.unattributed(1, 1):
        sources = np.concatenate([np.linspace(-1, 2, position + 1, dtype=np.float32) for position in some.position])
        writer.attribute(some, sources, np.ones((len(some.place), 2), np.float32))
    writer.finish(indexes_folder(workspace), identifier, [(SCRIPT, len(b"".join(PIECES)), "0" * 64)], PIECES, decoder)
