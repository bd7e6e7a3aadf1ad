"""Makes worker settings from the configuration: the Terms of all, and the settings of one that starts. Pure."""

from __future__ import annotations

from pathlib import Path

from ...worker.protocol import WorkerSettings
from ...worker.settings import STANDARD_OUTPUT, Terms
from ..config.load import Config


def terms_of(config: Config, listen: str) -> Terms:
    """The Terms of every worker; `listen` is the address that the socket of the service is bound to."""
    workers = config.workers
    return Terms(
        listen=listen,
        kind=config.models.kind,
        threads=workers.threads,
        providers=workers.providers,
        queue=workers.queue,
        max_upload_bytes=workers.max_upload,
        min_upload_rate=workers.min_upload_rate,
        max_audio_seconds=workers.max_audio,
        speech_trim=config.speech.trim,
        request_timeout_seconds=workers.request_timeout,
        drain_seconds=workers.drain,
        token_file=workers.token_file,
        model_aliases=workers.model_aliases,
        cors_origins=workers.cors_origins,
        base_path=workers.base_path,
        trusted_proxies=workers.trusted_proxies,
        log_dir=STANDARD_OUTPUT if config.logs.dir is None else str(config.logs.dir),
        log_level=config.logs.level,
        confine=workers.confine,
        jobs_keep_seconds=config.jobs.keep,
        jobs_max_jobs=config.jobs.max_jobs,
        jobs_max_bytes=config.jobs.max_bytes,
        jobs_callbacks=config.jobs.callbacks,
        min_free=(config.disk.min_free.size_bytes, (config.disk.min_free.percent or 0.0) / 100),
    )


def shared_dir(config: Config) -> Path:
    """The directory where workers find each other. They may write to it, as to those of logs and jobs.

    Its name is short, because paths of sockets have a small limit.
    """
    return config.control.runtime_dir / "s"


def jobs_dir(config: Config) -> Path:
    """The directory of transcription jobs: workers and the daemon write there."""
    return config.control.state_dir / "jobs"


def settings_of(name: str, config: Config, terms: Terms, listen_fd: int, run: str = "") -> WorkerSettings:
    """The settings that a worker with that name starts with. `run` identifies this run of the daemon."""
    runtime_dir = config.control.runtime_dir
    return WorkerSettings(
        name=name,
        worker_socket=str(runtime_dir / "workers.sock"),
        api_socket=str(runtime_dir / "api.sock"),
        listen_fd=listen_fd,
        slots=str(shared_dir(config)),
        cache_dir=str(config.control.cache_dir),
        jobs_dir=str(jobs_dir(config)),
        run=run,
        **{field: getattr(terms, field) for field in terms.__struct_fields__},
    )
