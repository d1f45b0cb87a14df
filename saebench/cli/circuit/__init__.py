"""`saebench circuit …`: from SAEs and a task to a circuit that is proven, and on to other tools; one file per verb."""

from saebench.cli.lazy import Verb, group

VERBS = {
    "set": Verb(
        "set", "Train an SAE for every hook point of the recipe from one harvest, measure each and name them as a set."
    ),
    "tasks": Verb(
        "tasks", "List tasks and how well a model does them, or make one of those examples that it gets right."
    ),
    "find": Verb(
        "find",
        "Find which features carry a behaviour, how they act on each other, and how well they stand for the model.",
    ),
    "heads": Verb("heads", "Score every attention head by discrete codes, beside the exact effect of patching it."),
    "shift": Verb(
        "shift",
        "Train a classifier on confounded texts, rank features by their effect on it, ablate those judged irrelevant.",
    ),
    "list": Verb(
        "list_",
        "List circuits: what they explain, how large they are, how faithful, with how many nodes at which threshold.",
    ),
    "export": Verb("export", "Write a circuit as the attribution-graph JSON that circuit-tracer and Neuronpedia read."),
    "import": Verb("import_", "Keep an attribution graph as a circuit, with its names, supernodes and pinned nodes."),
    "delete": Verb("delete", "Delete a circuit, with its supernodes, for good; its task and its SAEs stay."),
}
app = group("saebench.cli.circuit", "Find circuits of features, prove them, exchange them with other tools.", VERBS)
