"""Makes from the configuration what upkeep works with: the classes in the order of their sweep, and the sets of logs.

Pure. Built-in classes come first, those that cost least first (tmp, cache, logs). Then come the operator's classes,
compiled versions, versions, and jobs. An operator's class with the name of a built-in class replaces it. Invariant: in
the log directory only archives of our own log files may be removed, whatever configures the class.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ..config.load import Config
from ..config.schema_logs import LogsExtra, LogsSection, OwnLog
from ..units import DiskShare
from .disk.quota import ClassRule, Margin
from .logs.rotation_outcome import LogSet
from .logs.rotation_policy import RotationPolicy

OWN_LOGS: Final = ("modelward.log", "access.log", "error.log", "debug.log")
ON_STANDARD_OUTPUT: Final = (
    'our own logs go to standard output (logs.dir = "-"); what collects it shows them: docker logs, journalctl'
)
KEPT_BY_RETENTION: Final = frozenset({"versions", "compiled"})
JOBS: Final = "jobs"
_DAY_SECONDS: Final = 86400.0  # of versions only those that retention releases are removed then


def rules(config: Config) -> list[ClassRule]:
    """The classes in the order in which they are swept on a full disk."""
    control = config.control
    first = [
        ClassRule("tmp", str(control.state_dir / "tmp"), max_age_seconds=_DAY_SECONDS),
        ClassRule("cache", str(control.cache_dir)),
        *([_logs(ClassRule("logs", str(config.logs.dir)), config)] if config.logs.dir is not None else []),
    ]
    last = [
        ClassRule("compiled", str(control.cache_dir / "compiled"), max_age_seconds=_DAY_SECONDS, unit="directory"),
        ClassRule("versions", str(config.models.root), max_age_seconds=_DAY_SECONDS, unit="directory"),
        # No limit here: a job is removed jobs.keep after its end, and the number of accepted jobs is bounded.
        ClassRule(JOBS, str(control.state_dir / "jobs"), unit="directory"),
    ]
    theirs = [
        _logs(ClassRule(c.name, str(c.path), c.max_age, c.max_bytes, c.max_files, _unit(c.name)), config)
        for c in config.disk.class_
    ]
    named = {rule.name: rule for rule in theirs}
    builtin = {rule.name for rule in (*first, *last)}

    def chosen(built_in: list[ClassRule]) -> list[ClassRule]:
        return [named.get(rule.name, rule) for rule in built_in]

    return [*chosen(first), *(rule for rule in theirs if rule.name not in builtin), *chosen(last)]


def _logs(rule: ClassRule, config: Config) -> ClassRule:
    """The same rule; over the log directory one that touches our own archives alone."""
    if config.logs.dir is None or rule.path != str(config.logs.dir):
        return rule
    return replace(rule, active=frozenset(OWN_LOGS), ours=frozenset(OWN_LOGS))


def _unit(name: str) -> str:
    """Versions are removed as a whole, whatever configures the class."""
    return "directory" if name in KEPT_BY_RETENTION else "file"


def log_sets(config: Config) -> list[LogSet]:
    """Our own files first, unless they go to standard output, then each entry of `logs.extra`."""
    sets = _own_sets(config.logs) if config.logs.dir is not None else []
    for extra in config.logs.extra:
        directory, _, pattern = extra.path.rpartition("/")
        sets.append(LogSet(directory or "/", (pattern,), _policy(extra, extra.method)))
    return sets


def _own_sets(logs: LogsSection) -> list[LogSet]:
    """One for all that share a total, first; one each for those with a total of their own."""
    tables = {"access.log": logs.access, "error.log": logs.error, "debug.log": logs.debug}
    common, directory = _policy(logs, "reopen"), str(logs.dir)
    policies = {name: _own_policy(table, common) for name, table in tables.items()}
    apart = [name for name, table in tables.items() if table.max_total is not None]
    policies_together = {name: policy for name, policy in policies.items() if name not in apart and policy != common}
    together = tuple(name for name in OWN_LOGS if name not in apart)
    first = LogSet(directory, together, common, own=True, policies=policies_together)
    return [first, *(LogSet(directory, (name,), policies[name], own=True) for name in apart)]


def _own_policy(table: OwnLog, common: RotationPolicy) -> RotationPolicy:
    """The policy of one log: the keys of its table, and for the rest what holds for all."""
    return replace(
        common,
        every_seconds=common.every_seconds if table.every is None else table.every,
        max_size_bytes=common.max_size_bytes if table.max_size is None else table.max_size,
        keep=common.keep if table.keep is None else table.keep,
        max_age_seconds=common.max_age_seconds if table.max_age is None else table.max_age,
        max_total_bytes=common.max_total_bytes if table.max_total is None else table.max_total,
        compress=common.compress if table.compress == "inherit" else table.compress,
    )


def _policy(logs: LogsSection | LogsExtra, method: str) -> RotationPolicy:
    return RotationPolicy(
        every_seconds=logs.every,
        max_size_bytes=logs.max_size,
        keep=logs.keep,
        max_age_seconds=logs.max_age,
        max_total_bytes=logs.max_total,
        compress=logs.compress,
        method=method,
        truncate_if_unsupported=isinstance(logs, LogsExtra) and logs.copytruncate,
    )


def margin(share: DiskShare) -> Margin:
    """A share from the configuration as a margin."""
    return Margin(share.size_bytes) if share.percent is None else Margin(fraction=share.percent / 100)
