"""`saebench …`: thin commands, one file per verb."""

import os
import sys
from typing import Annotated

# Read once, when torch loads: threads that wait for each other sleep instead of spinning, which on a machine that is
# also doing something else makes small products several times faster.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from saebench.memory import keep_freed_memory

keep_freed_memory()

import typer

import saebench
from saebench.cli.failure import report
from saebench.cli.lazy import Verb, lazily
from saebench.errors import UserError
from saebench.job import end_with_parent
from store import StoreError

VERBS = {
    "harvest": Verb("harvest", "Run a language model over a corpus and keep the activations of its hook points."),
    "train": Verb("train", "Train sparse autoencoders on harvested activations, or on a stream of them."),
    "evaluate": Verb("evaluate", "Measure FVU, L0, dead features and recovered cross-entropy on held-out text."),
    "index": Verb("index", "Look up every feature of an SAE in a corpus and build its feature index."),
    "map": Verb("map", "Draw the map of an SAE's decoder directions, for the dashboard."),
    "compare": Verb(
        "compare",
        "Match the features of two SAEs by decoder cosine and by use, and keep what is found for the dashboard.",
    ),
    "explain": Verb(
        "explain", "Explain features from half of an index's documents, score the explanations on the other half."
    ),
    "dream": Verb(
        "dream", "Search the prompts that activate a feature most, from likely text to unlikely, and keep them."
    ),
    "steer": Verb("steer", "Continue a prompt without and with an intervention, and compare what may come next."),
    "serve": Verb("serve", "Serve the dashboard of a workspace."),
    "demo": Verb(
        "demo", "Harvest, train, measure, index and serve: real features of a real small model in a few minutes."
    ),
    "convert": Verb("convert", "Convert an SAE between saebench and the formats of other libraries."),
    "recipe": Verb("describe", "Print the demo's recipe with every setting, its default and its meaning."),
    "circuit": Verb("circuit", "Find circuits of features, prove them, exchange them with other tools."),
    "store": Verb("store", "Check, tidy, export and import what a workspace holds."),
    "interventions": Verb("interventions", "List, show and delete saved interventions."),
    "unlearn": Verb("unlearn", "Make questions on a topic, unlearn it, see the price."),
}
app = typer.Typer(
    cls=lazily("saebench.cli", VERBS),
    help="Harvest activations, train sparse autoencoders, index and browse their features.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        print(saebench.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show version.")] = False,
) -> None:
    """Options before any verb."""


def main() -> None:
    """Entry point: errors that the user can put right are one line on stderr and exit code 1."""
    end_with_parent()
    try:
        app()
    except (UserError, StoreError) as error:
        report(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        report("interrupted; run the same command again to continue")
        sys.exit(130)
