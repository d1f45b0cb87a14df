"""The proof of a circuit: curves of faithfulness and completeness beside those of other families, and how the estimates
of node effects agree with running the model without the node.

Baselines (neurons, heads) go the same way as features: other dictionaries at the same or other sites.
"""

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from saebench.circuits import curves
from saebench.circuits.ablation import Judge
from saebench.circuits.batches import Batch
from saebench.circuits.decomposition import Dictionary
from saebench.circuits.discovery import Discovery, Group
from saebench.circuits.effects import NodeSums, exact_effects
from saebench.circuits.family import BatchEffects, state_of
from saebench.circuits.graph import Agreement, Curve, CurvePoint, Family
from saebench.circuits.order import layer_of
from saebench.circuits.sites import head_sites, neuron_sites
from saebench.circuits.states import Sites
from saebench.files import write_json


def curves_of(run: Discovery) -> list[Curve]:
    """Faithfulness and completeness of features, neurons, heads and random circuits."""
    if not run.config.curve_points:
        return []
    features = run.features
    sites = _ablatable(run, features.sites)
    judged = _judged(run, Group("features", sites, features.means, features.parts), run.config.node_threshold)
    out = [judged, _random(run, judged, sites)]
    families: dict[Family, list[Dictionary]] = {
        "neurons": neuron_sites(run.lm, list(run.saes)), "heads": head_sites(run.lm),
    }  # fmt: skip
    for family, every in families.items():
        if own := _ablatable(run, every):
            out.append(_judged(run, run.group(family, own)))
    return out


def _ablatable(run: Discovery, sites: Sites) -> list[Dictionary]:
    """Sites from the first block on that is ablated. What comes before handles single tokens, whose means stand for
    none of them (Marks et al. 2024 begin a third into the model too)."""
    first = run.lm.n_layers // 3 if run.config.judged_from is None else run.config.judged_from
    return [site for site in sites if layer_of(site.hook_point) >= first]


def _judged(run: Discovery, group: Group, also: float | None = None) -> Curve:
    judge = Judge.of(run.lm, run.judged_on, group.sites, group.means, run.metric)
    effects = group.effects(run.n_examples)
    at = curves.thresholds(effects, run.config.curve_points, also)

    def point(threshold: float) -> CurvePoint:
        kept, n = curves.kept_above(judge, effects, threshold, run.by_position)
        return curves.judged(judge, kept, n, threshold)

    return _curve(run, group.family, judge, at, point)


def _random(run: Discovery, features: Curve, sites: Sites) -> Curve:
    group = Group("random", sites, run.features.means, run.features.parts)
    judge = Judge.of(run.lm, run.judged_on, sites, group.means, run.metric)
    effects = group.effects(run.n_examples)
    sizes = {point.threshold: point.n_nodes for point in features.points}

    def point(threshold: float) -> CurvePoint:
        seed = run.config.seed + list(sizes).index(threshold)
        kept, n = curves.random_circuit(judge, effects, sizes[threshold], seed, run.by_position)
        return curves.judged(judge, kept, n, threshold)

    return _curve(run, "random", judge, list(sizes), point)


def _curve(
    run: Discovery, family: Family, judge: Judge, at: Sequence[float], point: Callable[[float], CurvePoint]
) -> Curve:
    path = run.work / f"curve.{family}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    points = [CurvePoint.model_validate_json(line) for line in lines if line.endswith("}")]
    with run.track(f"proof of {family}", len(at)) as done, path.open("w") as file:
        for point_ in points:
            file.write(point_.model_dump_json() + "\n")
        for number, threshold in enumerate(at):
            if number >= len(points):
                points.append(point(threshold))
                file.write(points[-1].model_dump_json() + "\n")
                file.flush()
            done(number + 1)
    return Curve(family=family, points=points, metric_all=judge.all, metric_none=judge.none)


def agreement_of(run: Discovery) -> list[Agreement]:
    """How the estimates agree with running the model without a node, on a sample of nodes and examples."""
    if not run.config.sampled_nodes or run.config.method == "exact":
        return []
    path = run.work / "agreement.json"
    if path.exists():
        return [Agreement.model_validate(row) for row in json.loads(path.read_text())]
    group, rows = run.features, []
    chosen, n = [], 0
    for number, batch in enumerate(run.found_on):
        if n < run.config.sampled_examples:
            chosen.append((batch, BatchEffects.load(group.parts[number])))
            n += len(batch)
    with run.track("agreement", len(group.sites)) as done:
        for number, site in enumerate(group.sites):
            rows.append(_compared(run, site.hook_point, number, chosen))
            done(number + 1)
    found = [*_agreements("all", [np.concatenate([each[i] for each in rows]) for i in range(3)])]
    for site, each in zip(group.sites, rows, strict=True):
        found += _agreements(site.hook_point, each)
    write_json(path, [row.model_dump() for row in found])
    return found


def _compared(run: Discovery, name: str, number: int, chosen: Sequence[tuple[Batch, BatchEffects]]) -> list[np.ndarray]:
    """(exact, attrib, ig) of a sample of a site's nodes."""
    site = run.features.sites[number]
    attrib = NodeSums.merged(effects.attrib[name] for _, effects in chosen)
    own = NodeSums.merged(effects.nodes[name] for _, effects in chosen)
    rows = curves.sample(own, run.config.sampled_nodes, run.config.seed)
    exact = np.zeros(len(rows))
    for batch, _ in chosen:
        state = state_of(run.lm, batch, [site], run.features.means, run.config)
        keys = own.keys[rows].tolist()
        exact += exact_effects(
            run.lm, batch, site, state.clean[name], state.patches[name], keys, run.metric, run.by_position
        )
    return [exact, attrib.effect[rows], own.effect[rows] if run.config.method == "ig" else np.zeros(0)]


def _agreements(site: str, sampled: Sequence[np.ndarray]) -> Iterator[Agreement]:
    exact, *estimates = sampled
    for method, estimate in zip(("attrib", "ig"), estimates, strict=True):
        found = curves.correlations(estimate, exact) if len(estimate) == len(exact) else None
        if found is not None:
            yield Agreement(method=method, site=site, n=len(exact), pearson=found[0], spearman=found[1])
