"""What changes over a run: the learning rate and the price of sparsity."""


def rate(step: int, steps: int, warmup: float, decay: float) -> float:
    """Share of the peak rate at `step` of `steps`: linear from zero, constant, linear to zero.

    `warmup` and `decay` are shares of the steps. Never zero, so that every step counts.
    """
    rising = (step + 1) / (warmup * steps) if warmup else 1.0
    falling = (steps - step) / (decay * steps) if decay else 1.0
    return min(1.0, rising, falling)


def sparsity(step: int, steps: int, warmup: float) -> float:
    """Share of the sparsity penalty at `step` of `steps`: linear over the share `warmup`, then whole."""
    return min(1.0, (step + 1) / (warmup * steps)) if warmup else 1.0
