"""`saebench unlearn …`: take a topic from a model, and see the price; one file per verb."""

from saebench.cli.lazy import Verb, group

VERBS = {
    "run": Verb(
        "run",
        "Unlearn topics: choose features, intervene at several strengths, and score what is forgotten and what breaks.",
    ),
    "questions": Verb(
        "questions",
        "Make questions on topics of a corpus: words that the model completes, as cloze or multiple choice.",
    ),
    "known": Verb("known", "Keep the questions that a model answers right, whatever the order of their choices."),
    "list": Verb("list_", "List unlearning runs: what was to be forgotten, how, and what came of it."),
    "delete": Verb("delete", "Delete an unlearning run for good; the interventions that it saved stay."),
}
app = group("saebench.cli.unlearn", "Make questions on a topic, unlearn it, see the price.", VERBS)
