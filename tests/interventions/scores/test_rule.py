"""SAEBench's score of a table worked out by hand, and a grid that is stopped."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from saebench.errors import UserError
from saebench.interventions.scores import Cell, Grid, Row, run_grid, unlearning_score


def row(forget: float, controls: float, multiplier: float = 25) -> Row:
    return Row(cell=Cell(retain_threshold=0.01, n_features=10, multiplier=multiplier), forget=forget, controls=controls)


BY_HAND = [row(1.0, 1.0), row(0.8, 0.995, 50), row(0.7, 0.99, 100), row(0.2, 0.9899, 200)]


def test_the_least_forget_accuracy_among_the_rows_that_keep_the_controls():
    """The fourth forgets most but keeps too little; .99 itself is enough."""
    found = unlearning_score(BY_HAND)
    assert found.score == pytest.approx(0.3)
    assert found.best == BY_HAND[2]
    assert found.admissible == 3
    assert unlearning_score(BY_HAND, bound=0.995).score == pytest.approx(0.2)
    assert unlearning_score(BY_HAND, bound=0.9).score == pytest.approx(0.8)


def test_no_row_that_keeps_the_controls_scores_nothing():
    found = unlearning_score(BY_HAND[3:])
    assert found.model_dump() == {"score": 0.0, "best": None, "admissible": 0}
    with pytest.raises(UserError, match="there are no rows to score"):
        unlearning_score([])


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(95, 100)), min_size=1, max_size=20))
def test_as_saebench_computes_it(table):
    """There, rows below the bound count as if nothing was forgotten."""
    rows = [row(forget / 100, controls / 100) for forget, controls in table]
    theirs = 1 - min(1.0 if controls < 99 else forget / 100 for forget, controls in table)
    assert unlearning_score(rows).score == pytest.approx(theirs)


def test_the_grid_is_saebenchs():
    cells = Grid().cells()
    assert len(cells) == len({cell.model_dump_json() for cell in cells}) == 16
    assert {cell.retain_threshold for cell in cells} == {0.001, 0.01}
    assert {cell.n_features for cell in cells} == {10, 20}
    assert {cell.multiplier for cell in cells} == {25, 50, 100, 200}


def test_a_stopped_grid_goes_on_where_it_stopped(tmp_path: Path):
    asked: list[Cell] = []

    def measure(cell: Cell) -> Row:
        if len(asked) == 5:
            raise KeyboardInterrupt
        asked.append(cell)
        return Row(cell=cell, forget=cell.multiplier / 200, controls=1)

    with pytest.raises(KeyboardInterrupt):
        run_grid(measure, Grid(), tmp_path)
    first, done = list(asked), []
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        run_grid(measure, Grid(), tmp_path)
    second = list(asked)
    asked.clear()
    asked += [Grid().cells()[0]] * 6  # goes on to the end
    rows = run_grid(measure, Grid(), tmp_path, done.append)
    assert [*first, *second, *asked[6:]] == Grid().cells()
    assert [row.cell for row in rows] == Grid().cells()
    assert done == list(range(1, 17))
    assert unlearning_score(rows).score == 0.875


def test_damaged_rows_and_shares_that_are_none(tmp_path: Path):
    grid = Grid(retain_thresholds=(0.01,), n_features=(10,), multipliers=(25,))
    run_grid(lambda cell: Row(cell=cell, forget=1, controls=1), grid, tmp_path)
    (path,) = tmp_path.glob("row.*")
    path.write_text("{")
    with pytest.raises(UserError, match=rf"{path.name} is damaged .*; delete it and run again"):
        run_grid(lambda cell: Row(cell=cell, forget=1, controls=1), grid, tmp_path)
    with pytest.raises(ValidationError):
        row(1.2, 1)
