"""Tasks: pairs of prompts with answers, as data; what makes them; which of them a model can do."""

from saebench.circuits.tasks.pairs import Pair, Task, read_task, write_task

__all__ = ["Pair", "Task", "read_task", "write_task"]
