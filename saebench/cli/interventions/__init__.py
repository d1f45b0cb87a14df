"""`saebench interventions …`: the sets that `saebench steer --save` and unlearning runs keep; one file per verb."""

from saebench.cli.lazy import Verb, group

VERBS = {
    "list": Verb("list_", "List saved interventions: how many of which kinds, on which SAEs."),
    "show": Verb("show", "Show what a set of interventions does, in order, and whether it can be applied."),
    "delete": Verb("delete", "Delete a set of interventions for good; SAEs and features stay."),
}
app = group("saebench.cli.interventions", "List, show and delete saved interventions.", VERBS)
