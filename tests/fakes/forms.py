"""The real choice of forms for parts that are tested without a compiler: nothing was compiled and nothing will be."""

from __future__ import annotations

from collections.abc import Callable

from modelward.daemon.config.load import Config
from modelward.daemon.controllers.form_choice import FormChoice
from modelward.daemon.controllers.forms import Forms
from modelward.daemon.controllers.validation import Validation
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.system.clock import Clock


def forms_of(config: Callable[[], Config], clock: Clock, async_store: AsyncStore) -> Forms:
    """No look at the disk was taken."""
    return Forms(config, clock=clock, async_store=async_store, happened=lambda: None)


def choice_of(
    config: Callable[[], Config], clock: Clock, async_store: AsyncStore, validation: Validation
) -> FormChoice:
    """Every version is loaded as it came."""
    return FormChoice(forms_of(config, clock, async_store), validation, clock)
