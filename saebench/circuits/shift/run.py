"""The whole of SHIFT on one model, set of SAEs and data, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

import saebench
from saebench.circuits.decomposition import Dictionary
from saebench.circuits.order import EMBEDDING
from saebench.circuits.shift import choose
from saebench.circuits.shift.ablate import Chosen, pooled
from saebench.circuits.shift.choose import Known, Pick
from saebench.circuits.shift.effects import Effects, probe_effects
from saebench.circuits.shift.examples import Example, ShiftData, checked
from saebench.circuits.shift.probe import Probe, column, fit, judged
from saebench.circuits.shift.result import Feature, Method, Row, Score, ShiftResult
from saebench.circuits.shift.texts import Texts, encoded
from saebench.circuits.sites import feature_sites
from saebench.lm import LanguageModel
from saebench.saes import SAE
from saebench.tracking import Track, silent

RANDOM_DRAWS = 3


@dataclass(frozen=True)
class Part:
    """Some examples, as the model reads them."""

    examples: Sequence[Example]
    batches: Sequence[Texts]

    @property
    def labels(self) -> list[int]:
        """Label of each example."""
        return [e.label for e in self.examples]

    @property
    def confounds(self) -> list[int]:
        """Confound of each example."""
        return [e.confound for e in self.examples]

    @property
    def groups(self) -> Int[Tensor, " examples"]:
        """Number in `GROUPS` of each example's combination."""
        return torch.tensor([2 * e.label + e.confound for e in self.examples])


@dataclass
class Shift:
    """Everything that one run works with.

    Raises:
        UserError: a hook point that the model lacks, SAEs that do not fit it, none up to the probe, data that lacks a
            combination of label and confound.
    """

    lm: LanguageModel
    data: ShiftData
    saes: Mapping[str, SAE]
    sae_ids: Mapping[str, str]
    probe_at: str
    method: Method = "attrib"
    seed: int = 0
    batch: int = 25
    set_id: str = ""
    track: Track = silent

    def __post_init__(self) -> None:
        checked(self.data, f"data {self.data.name!r}")
        self.lm.check_hook_points([self.probe_at])
        self.known = Known.of(self.set_id, self.sae_ids, self.saes, self.probe_at)
        own = {name: self.saes[name] for name in self.known.sizes}
        self.sites: list[Dictionary] = [s for s in feature_sites(self.lm, own) if s.hook_point != EMBEDDING]

    @cached_property
    def ambiguous(self) -> Part:
        """What the probe is trained on: label and confound agree."""
        return self._part(self.data.ambiguous())

    @cached_property
    def balanced(self) -> Part:
        """What the oracle is trained on."""
        return self._part(self.data.balanced("train", self.seed))

    @cached_property
    def test(self) -> Part:
        """What both are judged by."""
        return self._part(self.data.balanced("test", self.seed))

    def _part(self, examples: list[Example]) -> Part:
        return Part(examples, encoded(self.lm, examples, self.batch))

    @cached_property
    def probe(self) -> Probe:
        """The classifier, trained on ambiguous data."""
        return fit(self.probe_at, self._pooled(self.ambiguous, {}, "probe"), column(self.ambiguous.labels))

    @cached_property
    def effects(self) -> Effects:
        """Mean effects on the probe over the ambiguous examples of each label."""
        return self._effects(self.ambiguous, self.probe, torch.tensor(self.ambiguous.labels), "effects")

    @cached_property
    def effects_apart(self) -> Effects:
        """Mean effects on the probe over each combination of label and confound, in balanced training data."""
        return self._effects(self.balanced, self.probe, self.balanced.groups, "contrast")

    def ranked(self, n: int) -> list[Pick]:
        """The features of the largest effect on the probe."""
        return choose.ranked(self.effects, torch.bincount(torch.tensor(self.ambiguous.labels)), n)

    def automatic(self, n: int) -> list[Pick]:
        """Those among the n strongest that a rule which knows the confound would mark."""
        return choose.by_contrast(self.effects_apart, self.ranked(n))

    def skyline(self, n: int) -> list[Pick]:
        """The n features that say most of the confound: by their effects on a probe of it, trained on balanced data."""
        confound = fit(self.probe_at, self._balanced_pooled, column(self.balanced.confounds))
        return choose.strongest(self._effects(self.balanced, confound, self.balanced.groups, "skyline"), n)

    def row(self, name: str, picks: Sequence[Pick]) -> Row:
        """How the classifier does without some features, as it is and trained anew on what is left."""
        chosen = choose.as_chosen(picks)
        test = self._pooled(self.test, chosen, f"{name}: test")
        again = fit(
            self.probe_at, self._pooled(self.ambiguous, chosen, f"{name}: retrain"), column(self.ambiguous.labels)
        )
        n = sum(map(len, chosen.values()))
        return Row(name=name, n_features=n, score=self._score(self.probe, test), retrained=self._score(again, test))

    def before(self) -> Row:
        """How the classifier does as it is."""
        return Row(name="nothing", n_features=0, score=self._score(self.probe, self._test_pooled))

    def oracle(self) -> Row:
        """How one trained on balanced data does."""
        probe = fit(self.probe_at, self._balanced_pooled, column(self.balanced.labels))
        return Row(name="oracle", n_features=0, score=self._score(probe, self._test_pooled))

    def at_random(self, n: int) -> Row:
        """Means over draws of n features that are active on the training data."""
        rows = [
            self.row(f"random {i + 1}", choose.at_random(self.effects, n, self.seed + i)) for i in range(RANDOM_DRAWS)
        ]
        retrained = [row.retrained for row in rows if row.retrained is not None]
        return Row(
            name="random",
            n_features=rows[0].n_features,
            score=Score.mean([row.score for row in rows]),
            retrained=Score.mean(retrained),
        )

    def result(
        self, shift_id: str, picks: Sequence[Pick], chosen_by: str, top: int, about: Mapping[str, Any]
    ) -> ShiftResult:
        """Everything that is to be known of one choice of features, beside all it is to be compared with."""
        n = len(set(picks))
        chosen = self.row("chosen", picks)
        rows = [self.before(), chosen, self.at_random(n), self.row("skyline", self.skyline(n)), self.oracle()]
        parts = {"ambiguous": self.ambiguous, "oracle": self.balanced, "test": self.test}
        return ShiftResult(
            id=shift_id,
            probe_at=self.probe_at,
            method=self.method,
            chosen_by=chosen_by,
            ranked=[self.feature(pick) for pick in self.ranked(top)],
            chosen=[self.feature(pick) for pick in dict.fromkeys(picks)],
            rows=rows,
            examples={name: len(part.examples) for name, part in parts.items()},
            provenance={
                "data": {"name": self.data.name, "sha256": self.data.sha256},
                "model": self.lm.provenance,
                "set": self.set_id,
                "seed": self.seed,
                "saebench": saebench.__version__,
                **about,
            },
        )

    def feature(self, pick: Pick) -> Feature:
        """A feature with its mean effect over the ambiguous examples."""
        name, feature = pick
        shares = torch.bincount(torch.tensor(self.ambiguous.labels)).double() / len(self.ambiguous.examples)
        effect = float(shares @ self.effects[name][:, feature])
        return Feature(hook_point=name, sae=self.sae_ids[name], feature=feature, effect=effect)

    @cached_property
    def _balanced_pooled(self) -> Float[Tensor, "examples width"]:
        return self._pooled(self.balanced, {}, "oracle")

    @cached_property
    def _test_pooled(self) -> Float[Tensor, "examples width"]:
        return self._pooled(self.test, {}, "test")

    def _pooled(self, part: Part, chosen: Chosen, what: str) -> Float[Tensor, "examples width"]:
        with self.track(what, len(part.batches)) as done:
            return pooled(self.lm, part.batches, self.probe_at, self.sites, chosen, done)

    def _effects(self, part: Part, probe: Probe, groups: Int[Tensor, " examples"], what: str) -> Effects:
        with self.track(what, len(part.batches)) as done:
            return probe_effects(self.lm, part.batches, self.sites, probe, groups, self.method, done)

    def _score(self, probe: Probe, test: Float[Tensor, "examples width"]) -> Score:
        return judged(probe, test, column(self.test.labels), column(self.test.confounds), self.data)
