"""The circuits of a workspace as requests see them: each file is read once, until it changes."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from saebench.circuits import Circuit
from saebench.circuits.files import circuit_ids, circuit_path, delete_circuit, read_circuit, write_circuit
from saebench.errors import UserError
from store import StoreError
from web.errors import ProblemError
from web.files import Changed, state_of
from web.models.circuits import CircuitSummary

T = TypeVar("T")
KEPT = 16
"""Things made of circuits that are kept, such as what is drawn of a large one."""


class Member(NamedTuple):
    """A circuit that a feature is in."""

    circuit: str
    title: str
    node: str
    effect: float


class Circuits:
    """One per app. Changes that people make are written one after the other."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._read = lru_cache(maxsize=4)(self._read_now)
        self._summary = lru_cache(maxsize=512)(self._summary_now)
        self._features = lru_cache(maxsize=512)(self._features_now)

    def find(self, circuit_id: str) -> Circuit:
        """A circuit. Raises ProblemError 404, UserError where its file is damaged."""
        return self._read(circuit_id, self._state(circuit_id))

    def kept(self, circuit_id: str, what: Hashable, make: Callable[[Circuit], T]) -> T:
        """Something made of a circuit, again and again the same (`what` names it) until the circuit changes.

        Raises:
            ProblemError: 404, or what `make` raises.
        """
        key = circuit_id, self._state(circuit_id), what
        circuit = self.find(circuit_id)  # of this state or a later one: what is kept is never older than its key
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make(circuit)
        with self._lock:
            self._made[key] = made
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        return made

    def others(self, circuit_id: str) -> list[str]:
        """Ids of the other circuits; none of them is read."""
        return [one for one in circuit_ids(self._workspace) if one != circuit_id]

    def summaries(self) -> list[CircuitSummary]:
        """All circuits in one row each; of a damaged one, what is wrong."""
        rows = []
        for circuit_id in circuit_ids(self._workspace):
            try:
                state = self._changed(circuit_id)
                rows += [self._summary(circuit_id, state)] if state else []
            except (UserError, StoreError) as error:
                rows.append(CircuitSummary(id=circuit_id, problem=str(error)))
        return rows

    def with_feature(self, sae: str, feature: int) -> list[Member]:
        """The circuits that a feature is in, at its strongest node, by the size of its effect."""
        found = []
        for row in self.summaries():
            state = None if row.problem else self._changed(row.id)
            if state:
                found += self._features(row.id, state).get((sae, feature), [])[:1]
        return sorted(found, key=lambda member: -abs(member.effect))

    def change(self, circuit_id: str, how: Callable[[Circuit], Circuit]) -> Circuit:
        """Write a circuit as `how` makes it of what it is now."""
        with self._writing:
            changed = how(self.find(circuit_id))
            write_circuit(self._workspace, changed)
            return changed

    def delete(self, circuit_id: str) -> None:
        """Take a circuit away, damaged or not. Raises ProblemError 404, UserError where it cannot be removed."""
        with self._writing:
            self._state(circuit_id)
            delete_circuit(self._workspace, circuit_id)

    def _state(self, circuit_id: str) -> Changed:
        """Raises ProblemError 404."""
        try:
            state = self._changed(circuit_id)
        except StoreError:
            state = None
        if state is None:
            remedy = "The page of circuits lists those that it has."
            raise ProblemError(404, "No such circuit", f"This workspace has no circuit {circuit_id!r}.", remedy)
        return state

    def _changed(self, circuit_id: str) -> Changed | None:
        return state_of(circuit_path(self._workspace, circuit_id))

    def _read_now(self, circuit_id: str, _changed: Changed) -> Circuit:
        return read_circuit(self._workspace, circuit_id)

    def _summary_now(self, circuit_id: str, changed: Changed) -> CircuitSummary:
        found = self._read(circuit_id, changed)
        return CircuitSummary(
            **{name: getattr(found, name) for name in CircuitSummary.model_fields if name in Circuit.model_fields},
            n_nodes=len(found.nodes),
            n_edges=len(found.edges),
            faithfulness=found.faithfulness,
            judged_nodes=found.judged and found.judged.n_nodes,
            judged_threshold=found.judged and found.judged.threshold,
        ).model_copy(update={"id": circuit_id})

    def _features_now(self, circuit_id: str, changed: Changed) -> dict[tuple[str, int], list[Member]]:
        found = self._read(circuit_id, changed)
        members: defaultdict[tuple[str, int], list[Member]] = defaultdict(list)
        for node in sorted(found.nodes, key=lambda node: -abs(node.effect)):
            if node.kind == "feature" and node.feature is not None and node.site in found.saes:
                where = found.saes[node.site], node.feature
                members[where].append(Member(circuit_id, found.title or found.task, node.id, node.effect))
        return dict(members)
