"""How far the circuits of a workspace are proven: `python benchmarks/circuit_truth.py WORKSPACE [--out DIR]`

One row for each circuit that `saebench circuit find` left in the workspace, from its file, nothing computed anew: its
size, the share of error nodes, faithfulness and completeness on held-out examples at its own threshold; how many
features, neurons, heads and random features it takes for a faithfulness of at least `ENOUGH` (of random ones, circuits
have the sizes of the features'); how `attrib` and `ig` agree with running the model without a node.
"""

import argparse
import json
from pathlib import Path
from typing import get_args

from markdown import markdown
from timing import machine

from saebench.circuits.files import circuit_ids, read_circuit
from saebench.circuits.graph import Agreement, Circuit, Curve, Family

ENOUGH = 0.8


def least(curve: Curve) -> int | None:
    """The size from which on a family is faithful enough; None where it never is."""
    sizes = [point.n_nodes for point in curve.points if point.faithfulness >= ENOUGH]
    return min(sizes, default=None)


def row(circuit: Circuit) -> dict:
    """What the table says of one circuit."""
    point = circuit.judged
    assert point is not None  # `main` asks circuits with curves alone
    agreement: dict[str, Agreement] = {a.method: a for a in circuit.agreement if a.site == "all"}
    return {
        "circuit": circuit.id,
        "task": circuit.task,
        "examples": circuit.n_examples,
        "held_out": circuit.n_heldout,
        "nodes": len(circuit.nodes),
        "edges": len(circuit.edges),
        "error_share": circuit.error_share,
        "judged_nodes": point.n_nodes,
        "faithfulness": point.faithfulness,
        "completeness": point.completeness,
        "enough": {curve.family: least(curve) for curve in circuit.curves},
        "agreement": {method: [a.pearson, a.spearman] for method, a in agreement.items()},
    }


def table(rows: list[dict], about: dict) -> str:
    """The results as Markdown."""
    head = ["circuit", "nodes", "edges", "errors carry", "nodes judged", "faithfulness", "completeness"]
    size = [
        [r["circuit"], r["nodes"], r["edges"], f"{r['error_share']:.0%}", r["judged_nodes"],
         f"{r['faithfulness']:.2f}", f"{r['completeness']:.2f}"]
        for r in rows
    ]  # fmt: skip
    families = get_args(Family)
    enough = [[r["circuit"], *(r["enough"].get(f) or "never" for f in families)] for r in rows]
    methods = [
        [r["circuit"], *(f"{value:.2f}" for m in ("attrib", "ig") for value in r["agreement"].get(m, []))] for r in rows
    ]
    lines = [
        "# Proof of the circuits", "", "Written by `python benchmarks/circuit_truth.py`.", "",
        "## At the circuit's own threshold, on held-out examples", "", *markdown(head, size), "",
        f"## Nodes it takes for a faithfulness of {ENOUGH}", "", *markdown(["circuit", *families], enough), "",
        "## Agreement with running the model without a node", "",
        *markdown(["circuit", "attrib: Pearson", "Spearman", "ig: Pearson", "Spearman"], methods), "",
        f"{about['cpu']}, torch {about['torch']}, {about['date']}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path, help="folder of circuit_truth.json and .md")
    options = parser.parse_args()
    found = [read_circuit(options.workspace, circuit_id) for circuit_id in circuit_ids(options.workspace)]
    rows, about = [row(circuit) for circuit in found if circuit.curves], machine()
    text = table(rows, about)
    print(text)
    if options.out:
        (options.out / "circuit_truth.json").write_text(json.dumps({"rows": rows, **about}, indent=1) + "\n")
        (options.out / "circuit_truth.md").write_text(text)


if __name__ == "__main__":
    main()
