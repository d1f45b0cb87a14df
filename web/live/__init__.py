"""The model at work for the dashboard: codes of any text, the effect of removing a feature, steered continuations.

Nothing here imports torch until it is used: pages are there before the model is.
"""

from web.live.codes import LiveCodes, live_codes
from web.live.edges import live_edge_test
from web.live.effects import Effects, live_effects
from web.live.models import BusyError, CannotOpenError, Live
from web.live.steering import Continuation, Steered, Steering, live_steering
from web.live.versus import Versus, Written, live_versus

__all__ = [
    "BusyError",
    "CannotOpenError",
    "Continuation",
    "Effects",
    "Live",
    "LiveCodes",
    "Steered",
    "Steering",
    "Versus",
    "Written",
    "live_codes",
    "live_edge_test",
    "live_effects",
    "live_steering",
    "live_versus",
]
