"""`python -m saebench`, which is also how torchrun starts it: `torchrun --nproc-per-node=2 -m saebench train`."""

from saebench.cli import main

main()
