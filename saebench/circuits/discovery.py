"""A circuit on its way: effects of nodes, which of them are kept, the edges between these.

Decisions: what every batch of examples says lies in a file of the work folder, so memory holds one batch and a kill
loses one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from saebench.circuits.ablation import mean_metric
from saebench.circuits.batches import Batch, Metric, batches, logit_difference
from saebench.circuits.config import CircuitConfig
from saebench.circuits.edges import EdgeSums, edge_sums
from saebench.circuits.effects import NodeSums
from saebench.circuits.family import BatchEffects, effects_of, state_of
from saebench.circuits.graph import Family
from saebench.circuits.sites import feature_sites
from saebench.circuits.states import Means, Sites, means_of
from saebench.circuits.tasks import Task
from saebench.circuits.tasks.check import check_task
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE
from saebench.tracking import Track, silent


@dataclass(frozen=True)
class Group:
    """A family of nodes on its way: its sites, their means, what the batches say of them."""

    family: Family
    sites: Sites
    means: Mapping[str, Means]
    parts: Sequence[Path]

    @cached_property
    def nodes(self) -> dict[str, NodeSums]:
        """Sums over all examples."""
        loaded = [BatchEffects.load(part).nodes for part in self.parts]
        return {s.hook_point: NodeSums.merged(each[s.hook_point] for each in loaded) for s in self.sites}

    def effects(self, n_examples: int) -> dict[str, NodeSums]:
        """Means over the examples."""
        return {
            name: NodeSums(own.keys, own.effect / n_examples, own.activation / n_examples)
            for name, own in self.nodes.items()
        }


@dataclass
class Discovery:
    """Everything that a discovery works with."""

    lm: LanguageModel
    task: Task
    config: CircuitConfig
    saes: Mapping[str, SAE]
    work: Path
    metric: Metric = logit_difference
    track: Track = silent
    found_on: list[Batch] = field(init=False)
    judged_on: list[Batch] = field(init=False)
    n_heldout: int = field(init=False)

    def __post_init__(self) -> None:
        encoded = check_task(self.task, self.lm.tokenizer, self.lm.context_length)
        self.config.check_fits(self.task.name, templated=self.task.templated, patched=encoded.patch is not None)
        self.n_heldout = min(self.config.heldout, len(encoded) // 3)
        self.n_examples = min(self.config.examples, len(encoded) - self.n_heldout)
        rows = range(self.n_examples)
        self.found_on = batches(encoded, self.config.batch, rows)
        heldout = range(self.n_examples, self.n_examples + self.n_heldout) if self.n_heldout else rows
        self.judged_on = batches(encoded, self.config.batch, heldout)

    @property
    def by_position(self) -> bool:
        """Whether positions are kept apart."""
        return self.config.aggregation == "none"

    @cached_property
    def features(self) -> Group:
        """Tokens and features."""
        return self.group("features", feature_sites(self.lm, self.saes))

    def group(self, family: Family, sites: Sites) -> Group:
        """A family's effects, as far as the work folder has them not yet."""
        positions = self.found_on[0].clean.shape[1] if self.task.templated else 1
        means = means_of(self.lm, self.found_on, sites, positions)
        parts = [self.work / f"{family}.{i}.safetensors" for i in range(len(self.found_on))]
        with self.track(f"effects of {family}", len(parts)) as done:
            for number, (batch, part) in enumerate(zip(self.found_on, parts, strict=True)):
                if not part.exists():
                    effects_of(self.lm, batch, sites, means, self.metric, self.config).save(part)
                done(number + 1)
        return Group(family, sites, means, parts)

    def kept(self) -> dict[str, NodeSums]:
        """Nodes of the circuit: those at or above the threshold, the strongest if they are too many."""
        effects = self.features.effects(self.n_examples)
        strengths = np.concatenate([np.abs(own.effect) for own in effects.values()])
        least = self.config.node_threshold
        if (strengths >= least).sum() > self.config.max_nodes:
            least = float(np.sort(strengths)[-self.config.max_nodes])
        out = {}
        for name, own in effects.items():
            at = np.abs(own.effect) >= max(least, np.finfo(float).tiny)
            out[name] = NodeSums(own.keys[at], own.effect[at], own.activation[at])
        if not any(len(own.keys) for own in out.values()):
            raise UserError(
                f"no node has an effect of {self.config.node_threshold:g} or more; the strongest has "
                f"{strengths.max(initial=0):.3g}: choose a smaller --node-threshold"
            )
        return out

    def edges(self, kept: Mapping[str, NodeSums]) -> EdgeSums:
        """Mean weights of the edges between the nodes of the circuit."""
        group, parts = self.features, []
        keys = {name: torch.from_numpy(own.keys) for name, own in kept.items()}
        with self.track("edges", len(self.found_on)) as done:
            for number, batch in enumerate(self.found_on):
                path = self.work / f"edges.{number}.npz"
                if not path.exists():
                    state = state_of(self.lm, batch, group.sites, group.means, self.config)
                    effects = BatchEffects.load(group.parts[number])
                    sums = edge_sums(
                        self.lm, batch, group.sites, state.parts, state.patches, effects.gradients, keys, self.metric,
                        self.by_position,
                    )  # fmt: skip
                    np.savez(path.with_suffix(".tmp.npz"), source=sums.source, target=sums.target, weight=sums.weight)
                    path.with_suffix(".tmp.npz").replace(path)
                with np.load(path) as saved:
                    parts.append(EdgeSums(saved["source"], saved["target"], saved["weight"]))
                done(number + 1)
        n = sum(len(own.keys) for own in kept.values()) + 1 + len(self.terms)
        merged = EdgeSums.merged(parts, n)
        return EdgeSums(merged.source, merged.target, merged.weight / self.n_examples)

    @cached_property
    def terms(self) -> dict[str, float]:
        """The mean of every term of the metric on the clean prompts."""
        parts = [BatchEffects.load(part).metric for part in self.features.parts]
        return {name: sum(part[name] for part in parts) / self.n_examples for name in parts[0]}

    def patched_metric(self) -> float | None:
        """The mean of the metric on the patched prompts; None where there are none."""
        if self.found_on[0].patch is None:
            return None
        swapped = [replace(batch, clean=batch.patch) for batch in self.found_on if batch.patch is not None]
        return mean_metric(self.lm, swapped, self.metric, lambda _: {})
