"""What a function allocates on the GPU."""

from collections.abc import Callable

import torch


def allocations(function: Callable[[], object]) -> tuple[int, int]:
    """The largest single allocation that a call makes, and by how much memory rises at most, both in bytes."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.memory._record_memory_history(context=None, stacks="python", max_entries=200_000)
    try:
        function()
        torch.cuda.synchronize()
        trace = torch.cuda.memory._snapshot()["device_traces"][torch.cuda.current_device()]
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)
    sizes = [event["size"] for event in trace if event["action"] == "alloc"]
    return max(sizes, default=0), torch.cuda.max_memory_allocated() - before
