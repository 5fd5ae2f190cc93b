"""A GitHub on this machine: stateful, honest about GitHub's rules, with real git underneath.

It knows nothing of Conductor's own client or reporter; the two agree only because both follow
GitHub's documentation (https://docs.github.com/en/rest, API version 2026-03-10).
"""

from bot.simulator.api.reviews import DraftComment
from bot.simulator.faults import Fault
from bot.simulator.record import ApiCall, Exchange, Observer
from bot.simulator.simulator import NewApp, Simulator

__all__ = ["ApiCall", "DraftComment", "Exchange", "Fault", "NewApp", "Observer", "Simulator"]
