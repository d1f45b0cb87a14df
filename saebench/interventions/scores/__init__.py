"""How an intervention is judged: what is forgotten, what is kept, what it costs, with intervals.

from saebench.interventions.scores import Exam, scores

exam = Exam(forget, controls, retained=contexts, neutral=contexts)
print(scores(lm, lambda: intervened(lm, interventions, saes), exam))
"""

from saebench.interventions.scores.bootstrap import Estimate, mean_of, ratio_of
from saebench.interventions.scores.dose import DoseCurve, DosePoint, dose_response
from saebench.interventions.scores.exam import Exam, Scores, accuracy, scores
from saebench.interventions.scores.loss import TextScores, compared, text_scores
from saebench.interventions.scores.rule import Cell, Grid, Row, UnlearningScore, run_grid, unlearning_score
from saebench.interventions.scores.side_effects import flips, token_changes, topic_changes, turned

__all__ = [
    "Cell",
    "DoseCurve",
    "DosePoint",
    "Estimate",
    "Exam",
    "Grid",
    "Row",
    "Scores",
    "TextScores",
    "UnlearningScore",
    "accuracy",
    "compared",
    "dose_response",
    "flips",
    "mean_of",
    "ratio_of",
    "run_grid",
    "scores",
    "text_scores",
    "token_changes",
    "topic_changes",
    "turned",
    "unlearning_score",
]
