"""The input and the result of a rotation. Pure."""

from __future__ import annotations

from msgspec import Struct, field, structs

from ...answers.logs import RotateAnswer, RotationStep
from ...units import shown
from .rotation_policy import RotationPolicy


class LogSet(Struct, frozen=True):
    """Files of one directory under one policy. `patterns` are names or globs of the last component.

    `policies` has the files with a policy of their own; the total is that of `policy` for all of them together.
    """

    directory: str
    patterns: tuple[str, ...]
    policy: RotationPolicy
    own: bool = False
    policies: dict[str, RotationPolicy] = {}

    def policy_of(self, name: str) -> RotationPolicy:
        """What holds for a live file and its archives."""
        return self.policies.get(name, self.policy)

    def by_size_alone(self) -> LogSet:
        """The same while no age can be trusted."""
        policies = {name: _by_size_alone(policy) for name, policy in self.policies.items()}
        return structs.replace(self, policy=_by_size_alone(self.policy), policies=policies)


def _by_size_alone(policy: RotationPolicy) -> RotationPolicy:
    return structs.replace(policy, every_seconds=0.0, max_age_seconds=0.0)


class RotationOutcome(Struct):
    """`tell_writers`: files of writers that reopen were renamed. So ask every writer to reopen, then call
    `compress`.
    """

    steps: list[RotationStep] = field(default_factory=list)
    tell_writers: bool = False
    trouble: list[str] = field(default_factory=list)
    dry_run: bool = False

    def answer(self) -> RotateAnswer:
        """The result for the API and for the history."""
        steps = [RotationStep(s.action, shown(s.path), shown(s.because), shown(s.archive), s.bytes) for s in self.steps]
        return RotateAnswer(self.dry_run, steps, self.tell_writers, [shown(sentence) for sentence in self.trouble])


def cannot(verb: str, path: str, error: OSError) -> str:
    """The sentence for something that failed."""
    return f"cannot {verb} {path}: {error.strerror or error}"
