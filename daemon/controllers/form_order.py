"""Decides for which versions compiled forms are made, and in which order.

It starts nothing. Invariant: the served version comes first.
"""

from __future__ import annotations

from msgspec.structs import replace

from ..models.form_plan import WantedForm
from .activation import Activation
from .forms import Forms
from .validation import Validation


class FormOrder:
    """See the module."""

    def __init__(self, forms: Forms, validation: Validation, activation: Activation) -> None:
        self._forms, self._validation, self._activation = forms, validation, activation

    def wanted(self, *, all_accepted: bool = False) -> list[WantedForm]:
        """The served version, then those that wait for their form or will after their validation. With `all_accepted`,
        all accepted versions.
        """
        serving, entries = self._activation.position.serving, self._validation.catalog.entries()
        order = [WantedForm(serving.version, serving.digest)] if serving is not None else []
        due = {e.digest for e in entries if self._forms.waiting(e.digest) or self._forms.began_early(e.digest)}
        accepted = [e for e in entries if e.artifact and (all_accepted or e.digest in due)]
        order += [WantedForm(e.name, e.digest, urgent=self._activation.choice.waiting[0] == e.name) for e in accepted]
        copy = self._validation.copy
        if copy is not None and serving is not None and self._forms.early(serving.artifact):
            order += [replace(copy, urgent=True)] if self._activation.once_accepted(copy.version, copy.digest) else []
        return order
