"""Agreement of our SAEs with the peers' own classes, collected and printed as a table at the end."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from saebench.saes import SAE

TOLERANCE = 1e-5
D, M, TOKENS = 24, 96, 64

rows: list[tuple[str, str, str, float, float]] = []

Agree = Callable[..., None]


@pytest.fixture
def x() -> Tensor:
    """Activations with a mean far from zero and unequal norms."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(TOKENS, D, generator=generator) * torch.rand(TOKENS, 1, generator=generator).add(0.5) + 0.3


@pytest.fixture
def agree(x: Tensor) -> Agree:
    """Compare an SAE of ours with a peer's codes and reconstruction of x, to 1e-5 of their largest; and tabulate."""

    def compare(peer: str, variant: str, direction: str, sae: SAE, codes: Tensor, output: Tensor) -> None:
        assert 0 < (codes != 0).float().mean() < 0.9, "the peer's codes are all zero or dense: nothing is compared"
        with torch.no_grad():
            ours, decoded = sae.reconstruct(x)
        errors = [float((a - b).abs().max() / b.abs().max()) for a, b in ((ours.to_dense(), codes), (decoded, output))]
        rows.append((peer, variant, direction, *errors))
        assert max(errors) <= TOLERANCE, f"{peer} {variant} {direction}: {errors}"

    return compare


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table."""
    terminalreporter.write_line(f"\nlargest difference of codes and reconstructions, relative, on {TOKENS} tokens")
    for peer, variant, direction, encode, decode in rows:
        terminalreporter.write_line(f"{peer:<20} {variant:<56} {direction:<14} {encode:8.1e} {decode:8.1e}")
