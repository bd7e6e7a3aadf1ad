"""The real choice of forms for parts that are tested without a compiler: nothing was compiled and nothing will be."""

from __future__ import annotations

from collections.abc import Callable

from modelward.daemon.config.load import Config
from modelward.daemon.controllers.form_choice import FormChoice
from modelward.daemon.controllers.forms import Forms
from modelward.daemon.controllers.validation import Judging
from modelward.daemon.state.async_store import Ledger
from modelward.daemon.system.clock import Clock


def forms_of(config: Callable[[], Config], clock: Clock, ledger: Ledger) -> Forms:
    """No look at the disk was taken."""
    return Forms(config, clock=clock, ledger=ledger, happened=lambda: None)


def choice_of(config: Callable[[], Config], clock: Clock, ledger: Ledger, judging: Judging) -> FormChoice:
    """Every version is loaded as it came."""
    return FormChoice(forms_of(config, clock, ledger), judging, clock)
