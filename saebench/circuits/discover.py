"""Find a circuit and prove it: node effects, edges, faithfulness, agreement, in steps that can be taken up again.

Decisions: what every batch of examples says lies in a file of the work folder, so memory holds one batch and a kill
loses one. What was made from other settings, model, SAEs or task is thrown away. Baselines (neurons, heads) go the same
way as features: other dictionaries at the same or other sites.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import saebench
from saebench.circuits import curves
from saebench.circuits.ablation import Judge, mean_metric
from saebench.circuits.assemble import assembled
from saebench.circuits.batches import Batch, Metric, batches, logit_difference
from saebench.circuits.config import CircuitConfig
from saebench.circuits.decomposition import Dictionary
from saebench.circuits.edges import EdgeSums, edge_sums
from saebench.circuits.effects import NodeSums, exact_effects
from saebench.circuits.family import BatchEffects, effects_of, state_of
from saebench.circuits.graph import Agreement, Circuit, Curve, CurvePoint, Family
from saebench.circuits.sites import feature_sites, head_sites, layer_of, neuron_sites
from saebench.circuits.states import Means, Sites, means_of
from saebench.circuits.tasks import Task
from saebench.circuits.tasks.check import check_task
from saebench.errors import UserError
from saebench.files import write_json
from saebench.lm import LanguageModel
from saebench.saes import SAE
from store.locks import acquire

Track = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""(what is done, how many steps) → a function that is told how many are."""


def silent(_what: str, _total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A `Track` that tells nobody."""
    return nullcontext(lambda _done: None)


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
        if self.config.reference == "pairs" and encoded.patch is None:
            raise UserError(f"task {self.task.name!r} has no patched prompts; choose the reference zero or mean")
        if self.config.aggregation == "none" and not self.task.templated:
            raise UserError(f"positions can be kept apart in templated tasks only; {self.task.name!r} is none: use sum")
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
        return self._group("features", feature_sites(self.lm, self.saes))

    def _group(self, family: Family, sites: Sites) -> Group:
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

    def curves(self) -> list[Curve]:
        """Faithfulness and completeness of features, neurons, heads and random circuits."""
        if not self.config.curve_points:
            return []
        features = self.features
        sites = self._ablatable(features.sites)
        judged = self._judged(Group("features", sites, features.means, features.parts), self.config.node_threshold)
        out = [judged, self._random(judged, sites)]
        families: dict[Family, list[Dictionary]] = {
            "neurons": neuron_sites(self.lm, list(self.saes)), "heads": head_sites(self.lm),
        }  # fmt: skip
        for family, every in families.items():
            if own := self._ablatable(every):
                out.append(self._judged(self._group(family, own)))
        return out

    def _ablatable(self, sites: Sites) -> list[Dictionary]:
        """Sites from the first block on that is ablated. What comes before handles single tokens, whose means stand for
        none of them (Marks et al. 2024 begin a third into the model too)."""
        first = self.lm.n_layers // 3 if self.config.judged_from is None else self.config.judged_from
        return [site for site in sites if layer_of(site.hook_point) >= first]

    def _judged(self, group: Group, also: float | None = None) -> Curve:
        judge = Judge.of(self.lm, self.judged_on, group.sites, group.means, self.metric)
        effects = group.effects(self.n_examples)
        at = curves.thresholds(effects, self.config.curve_points, also)

        def point(threshold: float) -> CurvePoint:
            kept, n = curves.kept_above(judge, effects, threshold, self.by_position)
            return curves.judged(judge, kept, n, threshold)

        return self._curve(group.family, judge, at, point)

    def _random(self, features: Curve, sites: Sites) -> Curve:
        group = Group("random", sites, self.features.means, self.features.parts)
        judge = Judge.of(self.lm, self.judged_on, sites, group.means, self.metric)
        effects = group.effects(self.n_examples)
        sizes = {point.threshold: point.n_nodes for point in features.points}

        def point(threshold: float) -> CurvePoint:
            seed = self.config.seed + list(sizes).index(threshold)
            kept, n = curves.random_circuit(judge, effects, sizes[threshold], seed, self.by_position)
            return curves.judged(judge, kept, n, threshold)

        return self._curve("random", judge, list(sizes), point)

    def _curve(self, family: Family, judge: Judge, at: Sequence[float], point: Callable[[float], CurvePoint]) -> Curve:
        path = self.work / f"curve.{family}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        points = [CurvePoint.model_validate_json(line) for line in lines if line.endswith("}")]
        with self.track(f"proof of {family}", len(at)) as done, path.open("w") as file:
            for point_ in points:
                file.write(point_.model_dump_json() + "\n")
            for number, threshold in enumerate(at):
                if number >= len(points):
                    points.append(point(threshold))
                    file.write(points[-1].model_dump_json() + "\n")
                    file.flush()
                done(number + 1)
        return Curve(family=family, points=points, metric_all=judge.all, metric_none=judge.none)

    def agreement(self) -> list[Agreement]:
        """How the estimates agree with running the model without a node, on a sample of nodes and examples."""
        if not self.config.sampled_nodes or self.config.method == "exact":
            return []
        path = self.work / "agreement.json"
        if path.exists():
            return [Agreement.model_validate(row) for row in json.loads(path.read_text())]
        group, rows = self.features, []
        chosen, n = [], 0
        for number, batch in enumerate(self.found_on):
            if n < self.config.sampled_examples:
                chosen.append((batch, BatchEffects.load(group.parts[number])))
                n += len(batch)
        with self.track("agreement", len(group.sites)) as done:
            for number, site in enumerate(group.sites):
                rows.append(self._compared(site.hook_point, number, chosen))
                done(number + 1)
        found = [*_agreements("all", [np.concatenate([each[i] for each in rows]) for i in range(3)])]
        for site, each in zip(group.sites, rows, strict=True):
            found += _agreements(site.hook_point, each)
        write_json(path, [row.model_dump() for row in found])
        return found

    def _compared(self, name: str, number: int, chosen: Sequence[tuple[Batch, BatchEffects]]) -> list[np.ndarray]:
        """(exact, attrib, ig) of a sample of a site's nodes."""
        site = self.features.sites[number]
        attrib = NodeSums.merged(effects.attrib[name] for _, effects in chosen)
        own = NodeSums.merged(effects.nodes[name] for _, effects in chosen)
        rows = curves.sample(own, self.config.sampled_nodes, self.config.seed)
        exact = np.zeros(len(rows))
        for batch, _ in chosen:
            state = state_of(self.lm, batch, [site], self.features.means, self.config)
            keys = own.keys[rows].tolist()
            exact += exact_effects(
                self.lm, batch, site, state.clean[name], state.patches[name], keys, self.metric, self.by_position
            )
        return [exact, attrib.effect[rows], own.effect[rows] if self.config.method == "ig" else np.zeros(0)]


def _agreements(site: str, sampled: Sequence[np.ndarray]) -> Iterator[Agreement]:
    exact, *estimates = sampled
    for method, estimate in zip(("attrib", "ig"), estimates, strict=True):
        found = curves.correlations(estimate, exact) if len(estimate) == len(exact) else None
        if found is not None:
            yield Agreement(method=method, site=site, n=len(exact), pearson=found[0], spearman=found[1])


def discover(
    lm: LanguageModel,
    saes: Mapping[str, SAE],
    task: Task,
    config: CircuitConfig,
    work: Path,
    circuit_id: str,
    sae_ids: Mapping[str, str] | None = None,
    metric: Metric = logit_difference,
    track: Track = silent,
    provenance: Mapping[str, Any] | None = None,
) -> Circuit:
    """Find and prove the circuit of a task. Stopped at any moment, the same call goes on from the last whole batch.

    Args:
        lm: the model.
        saes: by hook point; they read this model.
        task: the examples.
        config: how.
        work: folder for what is done so far, removed at the end.
        circuit_id: name of the result.
        sae_ids: names of the SAEs, for links.
        metric: what nodes act on; a user's own function of the logits goes through `batches.single`.
        track: is told how far it is.
        provenance: kept in the circuit; what was made from another is begun anew.

    Raises:
        UserError: a task that the model cannot read, SAEs that do not fit, a metric that says nothing, numbers that are
            not finite, no node above the threshold, another process at work on it.
    """
    about = {
        "task": {"name": task.name, "sha256": task.sha256}, "settings": config.model_dump(), "model": lm.provenance,
        "code": saebench.__version__, **(provenance or {}),
    }  # fmt: skip
    with _opened(work, about):
        run = Discovery(lm, task, config, saes, work, metric, track)
        kept = run.kept()
        circuit = assembled(run, kept, run.edges(kept), run.curves(), run.agreement(), circuit_id, sae_ids or {}, about)
    shutil.rmtree(work, ignore_errors=True)
    return circuit


@contextmanager
def _opened(work: Path, about: Mapping[str, Any]) -> Iterator[None]:
    """The work folder, for this process alone, empty unless what is in it was made from the same."""
    work.mkdir(parents=True, exist_ok=True)
    try:
        lock = acquire(work.with_name(f"{work.name}.lock"), 0)
    except BlockingIOError:
        raise UserError(f"another process is finding {work.name}; wait for it, or choose another --id") from None
    with lock:
        settings = work / "made_from.json"
        same = settings.exists() and json.loads(settings.read_text()) == json.loads(json.dumps(about))
        if not same:
            shutil.rmtree(work)
            work.mkdir()
            write_json(settings, about)
        yield
