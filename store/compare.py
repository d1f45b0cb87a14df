"""Two SAEs side by side: which features of one are in the other, which appeared, split, merged or vanished.

Two features are alike in direction (cosine of their decoder rows) or in use (on which tokens of one corpus both are
active). Words are defined by direction, over the features that are active anywhere in the corpus: i's *nearest* is the
feature of the other SAE with the largest cosine (the lower number if tied), and they are *kin* if that cosine is at
least the threshold. Then

    of a, the first SAE:  vanished   it has no kin
                          split      it is the nearest kin of two or more features of b
                          kept       else, it and its nearest are each other's nearest
                          merged     else: its nearest is nearer to another feature of a
    of b, the second:     appeared   it has no kin
                          merged     it is the nearest kin of two or more features of a
                          kept       else, it and its nearest are each other's nearest
                          split      else: its nearest is nearer to another feature of b
    of both:              dead       never active in the corpus; it takes part in nothing

Use is measured beside it and decides nothing: `both` is on how many tokens both are active, `jaccard` that number as a
share of the tokens on which either is.

Nothing here says why: an SAE trained twice from different seeds has features of its own each time.

Decisions:
- Both are computed for all pairs, exactly; only the best of each feature are kept. Time grows with M_a × M_b × D and
  with the number of pairs of codes on one token; memory with the codes of b and with one block of rows.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from store.counterparts import Codes
from store.errors import StoreError
from store.index import Index
from store.relation import Relation
from store.weights import decoder_rows

THRESHOLD = 0.7
"""From which decoder cosine on two features are kin, unless somebody says otherwise."""


@dataclass(frozen=True)
class Comparison:
    """What became of the features of one SAE in another; the words are defined in `store.compare`.

    Attributes:
        sae_a, sae_b, corpus: what was compared, over which text; threshold: from which cosine on two features are kin.
        a, b: all features of each SAE: `feature`, `status`, `nearest` of the other SAE and its `cosine`, the `partner`
            that is active on most of the same tokens (`jaccard`, `both`), then the columns of `features`. Dead features
            have NULL there.
        pairs: `a`, `b`, `cosine`, `jaccard`, `both` (tokens): of each feature of the first SAE the best five by either
            measure, of each of the second the best one; by a, then falling cosine.
    """

    sae_a: str
    sae_b: str
    corpus: str
    threshold: float
    a: Relation
    b: Relation
    pairs: Relation

    @property
    def kept(self) -> Relation:
        """Features of the first SAE that are in the second."""
        return self.a.filter("status = 'kept'")

    @property
    def split(self) -> Relation:
        """Features of the first SAE that are several in the second."""
        return self.a.filter("status = 'split'")

    @property
    def merged(self) -> Relation:
        """Features of the first SAE that another one stands for in the second."""
        return self.a.filter("status = 'merged'")

    @property
    def vanished(self) -> Relation:
        """Features of the first SAE that are not in the second."""
        return self.a.filter("status = 'vanished'")

    @property
    def appeared(self) -> Relation:
        """Features of the second SAE that were not in the first."""
        return self.b.filter("status = 'appeared'")

    def children(self, feature: int) -> Relation:
        """What a feature of the first SAE became: the features of the second whose nearest kin it is."""
        return self.b.filter(f"nearest = {int(feature)} AND cosine >= {self.threshold!r}").order("cosine DESC, feature")

    def summary(self) -> dict[str, dict[str, int]]:
        """How many features of "a" and of "b" have each status."""
        return {name: self._counts(side) for name, side in (("a", self.a), ("b", self.b))}

    def _counts(self, side: Relation) -> dict[str, int]:
        statuses, counts = np.unique(side.select("status").arrow()["status"].to_numpy(False), return_counts=True)
        return {str(status): int(count) for status, count in zip(statuses, counts, strict=True)}

    def __repr__(self) -> str:
        of = {name: ", ".join(f"{n:,} {s}" for s, n in counts.items()) for name, counts in self.summary().items()}
        return f"<{self.sae_a} ({of['a']}) against {self.sae_b} ({of['b']}) on {self.corpus}>"


def decoder(workspace: Path, index: Index) -> NDArray[np.float32]:
    """float32[M, D], the decoder rows of an index's SAE, each of length 1 (rows of zeros stay so).

    Raises:
        StoreError: the weights are missing, damaged, or hold no `W_dec` that NumPy can read.
    """
    weights = decoder_rows(workspace, index.meta["sae_id"])
    if len(weights) != index.n_features:
        path = workspace / "saes" / index.meta["sae_id"] / "sae.safetensors"
        raise StoreError(
            f"{path} has {len(weights)} features, its index {index.n_features}; run `saebench index` again"
        )
    return weights


def codes_of(index: Index) -> Codes:
    """All codes of an index; 16 bytes each."""
    length = index.context_length
    sql = f"SELECT feature::BIGINT AS feature, context::BIGINT * {length} + position AS place"
    rows = index.cursor().sql(f"{sql} FROM {index.table('activation')} ORDER BY ALL").to_arrow_table()
    features, places = rows["feature"].to_numpy(), rows["place"].to_numpy()
    return Codes(features, places, np.bincount(features, minlength=index.n_features))


def check_same_text(a: Index, b: Index) -> None:
    """Raise StoreError unless two indexes were made from the same contexts, so that places mean the same."""
    sql = "SELECT count(*), bit_xor(hash(context, tokens)), sum(hash(context, tokens)::HUGEINT) FROM {}"
    if a.context_length != b.context_length or a.rows(sql.format(a.table("context"))) != b.rows(
        sql.format(b.table("context"))
    ):
        raise StoreError(
            f"{a.id} and {b.id} were made from different text; run `saebench index` on both with the same corpus"
        )


def fire_together(a: Index, feature_a: int, b: Index, feature_b: int) -> tuple[int, int]:
    """(on how many tokens both features are active, on how many either is), of two indexes of the same text."""
    sql = "SELECT context::BIGINT * {length} + position AS place FROM {table} WHERE feature = {feature}"
    of_a, of_b = (
        sql.format(length=a.context_length, table=index.table("activation"), feature=int(feature))
        for index, feature in ((a, feature_a), (b, feature_b))
    )
    count = "(SELECT count(*) FROM ({}))"
    parts = (f"FROM ({of_a}) SEMI JOIN ({of_b}) USING (place)", of_a, of_b)
    ((both, n_a, n_b),) = a.rows(f"SELECT {', '.join(count.format(part) for part in parts)}")
    return both, n_a + n_b - both
