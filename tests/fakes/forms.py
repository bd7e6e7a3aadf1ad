"""The real choice of forms for parts that are tested without a compiler: nothing was compiled and nothing will be."""

from __future__ import annotations

from collections.abc import Callable

from modelward.daemon.clock import Clock
from modelward.daemon.config import Config
from modelward.daemon.form_choice import FormChoice
from modelward.daemon.forms import Forms
from modelward.daemon.judging import Judging
from modelward.daemon.ledger import Ledger


def forms_of(config: Callable[[], Config], clock: Clock, ledger: Ledger) -> Forms:
    """No look at the disk was taken."""
    return Forms(config, clock=clock, ledger=ledger, happened=lambda: None)


def choice_of(config: Callable[[], Config], clock: Clock, ledger: Ledger, judging: Judging) -> FormChoice:
    """Every version is loaded as it came."""
    return FormChoice(forms_of(config, clock, ledger), judging, clock)
