"""`saebench steer`: what a model writes behind a prompt with and without an intervention."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from saebench.cli.options import DEFAULT_WORKSPACE, WorkspaceDir
from saebench.cli.progress import console
from saebench.cli.trained import chosen_sae
from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.interventions import (
    Add,
    Cap,
    CapProjection,
    Clamp,
    ClampActive,
    Generated,
    Intervention,
    InterventionSet,
    Next,
    Often,
    OpenedInterventions,
    Project,
    Scale,
    Zero,
    compare_next,
    generate,
    intervened,
    make_set,
    read_interventions,
    write_interventions,
)
from saebench.interventions.generation import check_prompt
from saebench.interventions.opened import checked, checked_set
from saebench.interventions.sets import read_file, set_ids
from store import FeatureStore
from store.workspace import check_id

KINDS: dict[str, type[Intervention]] = {
    "--add": Add, "--scale": Scale, "--clamp": Clamp, "--clamp-active": ClampActive, "--zero": Zero, "--cap": Cap,
    "--project": Project, "--cap-projection": CapProjection,
}  # fmt: skip
SHOWN = 10


def command(
    prompt: Annotated[str, typer.Argument(help="Text to continue.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    sae: Annotated[str | None, typer.Option(help="SAE; default: the workspace's only one.")] = None,
    feature: Annotated[list[int], typer.Option(min=0, help="Feature; may be given several times.")] = [],  # noqa: B006
    add: Annotated[float | None, typer.Option(metavar="A", help="Add A to its activation at every token.")] = None,
    scale: Annotated[float | None, typer.Option(metavar="S", help="Multiply its activation by S.")] = None,
    clamp: Annotated[float | None, typer.Option(metavar="A", help="Set its activation to A at every token.")] = None,
    clamp_active: Annotated[float | None, typer.Option(metavar="A", help="Set it to A where it fires.")] = None,
    above: Annotated[
        float | None, typer.Option(metavar="A", min=0, help="With --clamp-active: where it is above A.")
    ] = None,
    zero: Annotated[bool, typer.Option("--zero", help="Remove what it writes.")] = False,
    cap: Annotated[float | None, typer.Option(metavar="A", help="Let its activation be at most A.")] = None,
    project: Annotated[
        float | None, typer.Option(metavar="C", help="Multiply the part along its decoder row by C; 0 removes it.")
    ] = None,
    cap_projection: Annotated[
        float | None, typer.Option(metavar="A", help="Let that part be at most A times the row.")
    ] = None,
    max: Annotated[
        bool, typer.Option("--max", help="Activations are in multiples of the feature's maximum in the index.")
    ] = False,
    corpus: Annotated[str | None, typer.Option(help="With --max: corpus of the index; default: the only one.")] = None,
    often: Annotated[
        float | None,
        typer.Option(metavar="SHARE", min=0, max=1, help="Only where they fire on more than this share of tokens."),
    ] = None,
    interventions: Annotated[
        str | None, typer.Option(metavar="ID|FILE", help="A saved set instead, or a JSON file of one.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="How many to generate.")] = 40,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    save: Annotated[str | None, typer.Option(metavar="NAME", help="Keep the interventions under a name.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a set of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Continue a prompt without and with an intervention, and compare what may come next."""
    given = {
        "--add": add, "--scale": scale, "--clamp": clamp, "--clamp-active": clamp_active, "--zero": zero or None,
        "--cap": cap, "--project": project, "--cap-projection": cap_projection,
    }  # fmt: skip
    asked = {option: value for option, value in given.items() if value is not None}
    if save is not None and check_id(save) in set_ids(workspace) and not replace:
        raise UserError(f"a set {save!r} is there already; choose another name, or replace it with --replace")
    of_one = (sae, *feature, above, often, corpus, max or None)
    if interventions is not None and (asked or any(option is not None for option in of_one)):
        raise UserError("--interventions brings its own SAEs, features and strengths; leave the other options out")
    if corpus is not None and not max:
        raise UserError("--corpus goes with --max")
    kept = None if interventions is None else _saved(workspace, interventions)
    if kept is not None:
        ready = checked_set(workspace, kept)
    else:
        [(option, value)] = _one(asked).items()
        own = _made(workspace, chosen_sae(workspace, sae), feature, option, float(value), above, often, max, corpus)
        ready = checked(workspace, own)
    check_prompt(ready.model["name"], prompt, tokens)
    opened = ready.open()
    before = generate(opened.lm, prompt, tokens, temperature, seed)
    with intervened(*opened):
        after = generate(opened.lm, prompt, tokens, temperature, seed)
    if save is not None:
        kept = kept or make_set(workspace, save, opened.lm, opened.interventions)
        write_interventions(workspace, kept.model_copy(update={"id": save}))
    _show(opened, prompt, before, after, as_json)
    if save is not None and not as_json:
        console.print(f"saved     {save}; use it with --interventions {save}", markup=False)


def _one(asked: dict[str, Any]) -> dict[str, Any]:
    """What is to be done, if it is one thing. Raises UserError otherwise."""
    if len(asked) != 1:
        said = f"{' and '.join(asked)} are given" if asked else "none is given"
        raise UserError(
            f"say one thing to do, {said}: {', '.join(KINDS)}; several in order are a JSON file for --interventions"
        )
    return asked


def _made(
    workspace: Path, sae: str, features: Sequence[int], option: str, value: float, above: float | None,
    often: float | None, in_maxima: bool, corpus: str | None,
) -> list[Intervention]:  # fmt: skip
    """The interventions of a command line, one for each feature. Raises UserError for what does not fit together."""
    kind = KINDS[option]
    if not features:
        raise UserError(f"name the features with --feature, e.g. --feature 12 {option}")
    if above is not None and kind is not ClampActive:
        raise UserError("--above goes with --clamp-active")
    if in_maxima and "activation" not in kind.parameters:
        raise UserError(f"--max goes with activations, not with {option}")
    features = list(dict.fromkeys(features))
    maxima = _maxima(workspace, sae, features, corpus) if in_maxima else dict.fromkeys(features, 1.0)
    when = None if often is None else Often(feature=tuple(features), share=often)
    made = []
    for feature in features:
        numbers = {name: value * maxima[feature] if name == "activation" else value for name in kind.parameters[:1]}
        if above is not None:
            numbers["above"] = above * maxima[feature]
        try:
            made.append(kind.model_validate({"sae": sae, "feature": feature, "when": when, **numbers}))
        except ValidationError as error:
            raise UserError(f"{option} {value}: {error.errors()[0]['msg']}") from None
    return made


def _maxima(workspace: Path, sae: str, features: Sequence[int], corpus: str | None) -> dict[int, float]:
    """The largest activation of each feature in the index. Raises UserError for a feature that has none."""
    with FeatureStore.open(workspace, threads=1) as store:
        wanted = ", ".join(map(str, features))
        rows = store.features(sae, corpus).filter(f"feature IN ({wanted})").select("feature", "max_activation").rows()
    found = {row["feature"]: float(row["max_activation"]) for row in rows}
    for feature in features:
        if feature not in found:
            raise UserError(f"SAE {sae} has no feature {feature}")
        if not found[feature]:
            raise UserError(f"feature {feature} of {sae} is never active in the index; leave --max out")
    return found


def _saved(workspace: Path, wanted: str) -> InterventionSet:
    """A set by the name of a file, or of the workspace's."""
    return read_file(Path(wanted)) if wanted.endswith(".json") else read_interventions(workspace, wanted)


def _show(opened: OpenedInterventions, prompt: str, before: Generated, after: Generated, as_json: bool) -> None:
    """Print both continuations and the likeliest next tokens."""
    pieces = vocabulary(opened.lm.tokenizer)
    rows, divergence = compare_next(before.logits, after.logits, SHOWN)
    if as_json:
        data = {
            "prompt": prompt,
            "interventions": [one.model_dump(mode="json") for one in opened.interventions],
            "before": _text(pieces, before),
            "after": _text(pieces, after),
            "next": [{"token": _piece(pieces, one), "before": one.before, "after": one.after} for one in rows],
            "divergence": divergence,
        }
        print(json.dumps(data, ensure_ascii=False, indent=1))
        return
    for label, found in (("without", before), ("with", after)):
        console.rule(label, align="left")
        console.print(Text(prompt, style="dim") + Text(_text(pieces, found)))
    console.rule()
    table = Table("next token", box=None, pad_edge=False)
    for heading in ("without", "with"):
        table.add_column(heading, justify="right")
    for one in rows:
        table.add_row(Text(repr(_piece(pieces, one))), f"{one.before:.2%}", f"{one.after:.2%}")
    console.print(table)
    console.print(f"KL(without ‖ with) of the next token: {divergence:.4f} nats")
    if torch.equal(before.logits, after.logits) and torch.equal(before.tokens, after.tokens):
        console.print("nothing changed: on this text the features do not fire, or the condition is not met")


def _text(pieces: Sequence[bytes], found: Generated) -> str:
    return b"".join(pieces[token] for token in found.tokens.tolist()).decode(errors="replace")


def _piece(pieces: Sequence[bytes], one: Next) -> str:
    return pieces[one.token].decode(errors="replace")
