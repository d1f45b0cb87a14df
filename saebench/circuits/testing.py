"""An edge put to the test: what it predicts against what happens when just that edge is cut.

The source gets its patched value, but only the target feels it: every site between the two keeps its clean value. The
target then has another value than in the clean run; with that value, and all else clean, the model goes on to the
metric (path patching, Goldowsky-Dill et al. 2023, with features as senders and receivers).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.circuits.batches import Batch, Metric, batches, logit_difference, total
from saebench.circuits.config import CircuitConfig
from saebench.circuits.decomposition import Dictionary, Parts
from saebench.circuits.edges import edge_sums
from saebench.circuits.effects import error_keys, node_keys, written_by
from saebench.circuits.family import State, effects_of, state_of
from saebench.circuits.graph import LOGITS, Circuit, split_node_id
from saebench.circuits.sites import feature_sites
from saebench.circuits.states import Patch, Sites, means_of, minus
from saebench.circuits.tasks import Task
from saebench.circuits.tasks.check import check_task
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE


@dataclass(frozen=True)
class EdgeTest:
    """What cutting an edge was to do to the metric, and what it did: means over `n` examples, clean − cut."""

    predicted: float
    measured: float
    n: int


def cut_edge(
    lm: LanguageModel,
    saes: Mapping[str, SAE],
    task: Task,
    circuit: Circuit,
    source: str,
    target: str,
    n: int = 20,
    metric: Metric = logit_difference,
) -> EdgeTest:
    """Cut one edge of a circuit on the first `n` examples of its task.

    Args:
        lm: the model that the circuit is of.
        saes: by hook point, those of the circuit.
        task: the circuit's task.
        circuit: where the edge is.
        source: id of the node upstream.
        target: id of the node downstream, or of a logit.
        n: examples at most.
        metric: the one that the circuit was found with.

    Raises:
        UserError: no such node, a target that is not downstream, a task that has changed.
    """
    if circuit.provenance.get("task", {}).get("sha256") not in (None, task.sha256):
        raise UserError(f"task {task.name!r} has changed since circuit {circuit.id!r} was found; find it again")
    config = CircuitConfig.model_validate(circuit.provenance.get("settings", {}))
    sites = feature_sites(lm, saes)
    encoded = check_task(task, lm.tokenizer, lm.context_length)
    groups = batches(encoded, config.batch, range(min(n, len(encoded))))
    positions = groups[0].clean.shape[1] if task.templated else 1
    means = means_of(lm, groups, sites, positions) if config.reference == "mean" else {}
    edge = _Edge.of(circuit, sites, source, target)
    predicted = measured = 0.0
    for batch in groups:
        effects = effects_of(lm, batch, edge.sites, means, metric, config)
        state = state_of(lm, batch, sites, means, config)
        predicted += edge.predicted(lm, batch, sites, state, effects.gradients, metric)
        measured += edge.measured(lm, batch, sites, state, metric)
    count = sum(len(batch) for batch in groups)
    return EdgeTest(predicted / count, measured / count, count)


@dataclass(frozen=True)
class _Edge:
    """An edge by the places of its ends among the sites; the target may be a term of the metric."""

    source: Dictionary
    source_key: int
    target: Dictionary | None
    target_key: int
    term: str
    by_position: bool

    @staticmethod
    def of(circuit: Circuit, sites: Sites, source: str, target: str) -> "_Edge":
        known = {node.id for node in circuit.nodes}
        for end in (source, target):
            if end not in known:
                raise UserError(f"circuit {circuit.id!r} has no node {end!r}")
        by_position = circuit.aggregation == "none"
        order = [site.hook_point for site in sites]
        (from_site, _, _), (to_site, what, _) = split_node_id(source), split_node_id(target)
        if from_site == LOGITS or (to_site != LOGITS and order.index(to_site) <= order.index(from_site)):
            raise UserError(f"{target!r} is not downstream of {source!r}")
        begin = sites[order.index(from_site)]
        if to_site == LOGITS:
            return _Edge(begin, _key(begin, source, by_position), None, 0, what, by_position)
        end_site = sites[order.index(to_site)]
        keys = _key(begin, source, by_position), _key(end_site, target, by_position)
        return _Edge(begin, keys[0], end_site, keys[1], "", by_position)

    @property
    def sites(self) -> list[Dictionary]:
        """The sites of its ends."""
        return [self.source, *([self.target] if self.target is not None else [])]

    def predicted(
        self,
        lm: LanguageModel,
        batch: Batch,
        sites: Sites,
        state: State,
        gradients: Mapping[str, Tensor],
        metric: Metric,
    ) -> float:
        """The weight of the edge on a batch, summed."""
        kept = {site.hook_point: torch.zeros(0, dtype=torch.long) for site in sites}
        kept[self.source.hook_point] = torch.tensor([self.source_key])
        if self.target is not None:
            kept[self.target.hook_point] = torch.tensor([self.target_key])
        everywhere = {s.hook_point: torch.zeros_like(state.clean[s.hook_point]) for s in sites} | dict(gradients)
        sums = edge_sums(lm, batch, sites, state.parts, state.patches, everywhere, kept, metric, self.by_position)
        wanted = 1 if self.target is not None else 1 + list(metric(lm.last_logits(batch.clean), batch)).index(self.term)
        return float(sums.weight[(sums.source == 0) & (sums.target == wanted)].sum())

    @torch.no_grad()
    def measured(self, lm: LanguageModel, batch: Batch, sites: Sites, state: State, metric: Metric) -> float:
        """Metric of the clean run minus that with the edge cut, summed over a batch."""
        context = batch.clean.shape[1]
        gone = written_by(
            self.source, state.patches[self.source.hook_point], [self.source_key], context, self.by_position
        )
        held: dict[str, Tensor] = dict(state.clean)
        held[self.source.hook_point] = held[self.source.hook_point] - gone
        seen: list[Tensor] = []

        def hold(name: str) -> Callable[[Tensor], Tensor]:
            return lambda value: held[name].view_as(value)

        def look(value: Tensor) -> Tensor:
            seen.append(value.flatten(0, 1).float())
            return value

        changes = {site.hook_point: hold(site.hook_point) for site in sites}
        if self.target is None:
            cut = metric(lm.last_logits(batch.clean, changes), batch)[self.term]
            return float((metric(lm.last_logits(batch.clean), batch)[self.term] - cut).double().sum())
        changes[self.target.hook_point] = look
        lm.last_logits(batch.clean, changes)
        moved = self._moved(batch, state, seen[0], context)
        x = state.clean[self.target.hook_point] - moved
        after = lm.last_logits(batch.clean, {self.target.hook_point: lambda value: x.view_as(value)})
        before = lm.last_logits(batch.clean)
        return float((total(metric(before, batch)) - total(metric(after, batch))).double().sum())

    def _moved(
        self, batch: Batch, state: State, value: Float[Tensor, "tokens width"], context: int
    ) -> Float[Tensor, "tokens width"]:
        """What the target node, and only it, writes less when its site holds `value`."""
        assert self.target is not None
        clean: Parts = state.parts[self.target.hook_point]
        other = self.target.split(value, batch.clean.flatten())
        patch = Patch(minus(clean.codes, other.codes), clean.error - other.error)
        return written_by(self.target, patch, [self.target_key], context, self.by_position)


def _key(site: Dictionary, identifier: str, by_position: bool) -> int:
    _, what, position = split_node_id(identifier)
    number = site.n_nodes if what == "error" else int(what)
    at = torch.tensor([position or 0])
    if number == site.n_nodes:
        return int(error_keys(site, int(at) + 1, int(at) + 1, by_position)[-1])
    return int(node_keys(site, at, torch.tensor([number]), int(at) + 1, by_position))
