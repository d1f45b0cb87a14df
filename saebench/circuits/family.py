"""What one batch of examples says of the nodes of every site, and how that is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from saebench.circuits.batches import Batch, Metric
from saebench.circuits.config import CircuitConfig
from saebench.circuits.decomposition import Dictionary, Parts
from saebench.circuits.effects import NodeSums, exact_effects, node_sums
from saebench.circuits.states import (
    Means,
    Patch,
    Sites,
    activations,
    gradients_along,
    gradients_at_clean,
    patch_of,
    taken,
)
from saebench.lm import LanguageModel


@dataclass(frozen=True)
class State:
    """One batch at every site."""

    clean: Mapping[str, Float[Tensor, "tokens width"]]
    parts: Mapping[str, Parts]
    patches: Mapping[str, Patch]


def state_of(lm: LanguageModel, batch: Batch, sites: Sites, means: Mapping[str, Means], config: CircuitConfig) -> State:
    """Run the clean and the patched prompts, and take their activations apart."""
    clean = activations(lm, batch.clean, sites)
    patched = {} if batch.patch is None or config.reference != "pairs" else activations(lm, batch.patch, sites)
    parts = {site.hook_point: site.split(clean[site.hook_point], batch.clean.flatten()) for site in sites}
    patches = {
        name: patch_of(site, parts[name], batch, patched.get(name), means.get(name), config.reference)
        for site in sites
        for name in (site.hook_point,)
    }
    return State(clean, parts, patches)


@dataclass(frozen=True)
class BatchEffects:
    """What a batch says of the nodes of every site.

    Attributes:
        gradients: of the metric at each site, by the method.
        nodes: sums by the method.
        attrib: sums by gradients at the clean prompt.
        metric: the sum of each term of the metric.
    """

    gradients: dict[str, Float[Tensor, "tokens width"]]
    nodes: dict[str, NodeSums]
    attrib: dict[str, NodeSums]
    metric: dict[str, float]

    def save(self, path: Path) -> None:
        """Write everything into one file, whole or not at all."""
        tensors = {f"gradient/{name}": value.clone() for name, value in self.gradients.items()}
        for kind, group in (("nodes", self.nodes), ("attrib", self.attrib)):
            for name, sums in group.items():
                for field in ("keys", "effect", "activation"):
                    tensors[f"{kind}/{name}/{field}"] = torch.from_numpy(getattr(sums, field).copy())
        tensors |= {f"metric/{name}": torch.tensor(value, dtype=torch.float64) for name, value in self.metric.items()}
        save_file(tensors, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    @staticmethod
    def load(path: Path) -> "BatchEffects":
        """Read what `save` wrote."""
        groups: dict[str, dict[str, dict[str, np.ndarray]]] = {"nodes": {}, "attrib": {}}
        gradients, metric = {}, {}
        for name, tensor in load_file(path).items():
            kind, _, rest = name.partition("/")
            if kind == "gradient":
                gradients[rest] = tensor
            elif kind == "metric":
                metric[rest] = float(tensor)
            else:
                site, _, field = rest.rpartition("/")
                groups[kind].setdefault(site, {})[field] = tensor.numpy()
        nodes, attrib = ({site: NodeSums(**own) for site, own in groups[kind].items()} for kind in ("nodes", "attrib"))
        return BatchEffects(gradients, nodes, attrib, metric)


def effects_of(
    lm: LanguageModel, batch: Batch, sites: Sites, means: Mapping[str, Means], metric: Metric, config: CircuitConfig
) -> BatchEffects:
    """Effects of all nodes on one batch, by the method and by gradients at the clean prompt.

    Raises:
        UserError: a metric that depends on no site, or effects that are not finite.
    """
    state = state_of(lm, batch, sites, means, config)
    at_clean, terms = gradients_at_clean(lm, batch, sites, metric)
    by_position, context = config.aggregation == "none", batch.clean.shape[1]
    gradients, nodes, attrib = dict(at_clean), {}, {}
    for site in sites:
        name = site.hook_point
        patch = state.patches[name]
        attrib[name] = nodes[name] = node_sums(site, state.parts[name], patch, at_clean[name], context, by_position)
        if config.method == "ig":
            along = gradients_along(lm, batch, site, state.clean[name], taken(site, patch), metric)
            nodes[name] = node_sums(site, state.parts[name], patch, along, context, by_position)
            gradients[name] = along
        elif config.method == "exact":
            nodes[name] = _by_running(lm, batch, site, state, metric, attrib[name], by_position)
    return BatchEffects(gradients, nodes, attrib, terms)


def _by_running(
    lm: LanguageModel, batch: Batch, site: Dictionary, state: State, metric: Metric, known: NodeSums, by_position: bool
) -> NodeSums:
    keys = known.keys.tolist()
    name = site.hook_point
    effect = exact_effects(lm, batch, site, state.clean[name], state.patches[name], keys, metric, by_position)
    return NodeSums(known.keys, effect, known.activation)
