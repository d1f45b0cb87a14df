"""Every kind of job: the only commands that the dashboard starts. A new kind is an entry here."""

from typing import NamedTuple


class Kind(NamedTuple):
    """What is run: `{name}` stands for what it is about, checked by whoever asks for it, `{workspace}` for
    where that is. The workspace is added."""

    title: str
    arguments: tuple[str, ...]

    def of(self, about: dict[str, str]) -> tuple[str, list[str]]:
        """(title, arguments) with the names put in, each argument remaining one."""
        return self.title.format(**about), [argument.format(**about) for argument in self.arguments]


KINDS = {
    "map": Kind("Map of {sae}", ("map", "--sae", "{sae}")),
    "compare": Kind("Comparison of {a} with {b}", ("compare", "{a}", "{b}", "--corpus", "{corpus}")),
    "dream": Kind(
        "Dream of feature {feature} of {sae}",
        ("dream", "--sae", "{sae}", "--feature", "{feature}", "--corpus", "{corpus}"),
    ),
    "unlearn": Kind(
        "Unlearning {id}",
        ("unlearn", "run", "{workspace}/unlearning/recipes/{id}.yaml", "--sae", "{sae}", "--id", "{id}"),
    ),
    "circuit": Kind(
        "Circuit of {task}",
        (
            "circuit",
            "find",
            "{task}",
            "--saes",
            "{saes}",
            "--id",
            "{id}",
            "--method",
            "{method}",
            "--aggregation",
            "{aggregation}",
            "--node-threshold",
            "{node}",
            "--edge-threshold",
            "{edge}",
            "--examples",
            "{examples}",
        ),
    ),
}
