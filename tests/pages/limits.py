"""The tables of docs/limits.md: each bound with its number from the code, and what happens at it."""

from __future__ import annotations

from collections.abc import Iterable

from modelward.daemon import names
from modelward.daemon.api import app as api
from modelward.daemon.api import events, request_body
from modelward.daemon.api import server as admin
from modelward.daemon.config import load, validators
from modelward.daemon.config.schema import Config
from modelward.daemon.controllers import log_downloads
from modelward.daemon.fleet import acceptance, agent_planner, https_engine, manifest, record, reports, signature, waves
from modelward.daemon.health import (
    addresses,
    alert_record,
    alerts,
    delivery,
    forecast,
    http_post,
    mutes,
    probe_clip,
    series,
)
from modelward.daemon.jobs import callback_planner, callback_sender, job_scan
from modelward.daemon.models import retention, scan
from modelward.daemon.models import validator_process as validation
from modelward.daemon.panel import (
    live_feed,
    login_links,
    loopback_user,
    rate_limit,
    sessions,
    tokens,
)
from modelward.daemon.panel import server as panel
from modelward.daemon.state import sequences, store
from modelward.daemon.system import steady_reads, tcp_listener
from modelward.daemon.units import show_duration, show_size
from modelward.daemon.upkeep.disk import sweeper_process, walk
from modelward.daemon.upkeep.logs import (
    archive_pieces,
    archives,
    collapse,
    follow,
    log_directory,
    tail,
    whole_log,
)
from modelward.daemon.workers import backoff, channel, pool_planner
from modelward.worker import process, protocol
from modelward.worker.audio import converter, limits, mp4, webm
from modelward.worker.decoders import (
    child,
    confinement,
    launch,
    pool,
)
from modelward.worker.http import (
    compressed,
    connection,
    handshake,
    speech_sessions,
    speech_socket,
    tensors,
    upload,
    upload_limits,
)
from modelward.worker.http import jobs as job_routes
from modelward.worker.inference import admission
from modelward.worker.jobs import access, deaths, runner
from modelward.worker.jobs import store as job_store
from modelward.worker.sensevoice import segments
from modelward.worker.shared import callback_rules, checksums, log_writer, logs, trusted_proxies
from modelward.worker.validate import onnx_graph
from modelward.worker.validate.gates import golden, layout

Row = tuple[str, str, str]


def tables() -> dict[str, str]:
    """One table for each part of the page."""
    made = {
        "limits-requests": _requests(),
        "limits-jobs": _jobs(),
        "limits-decoders": _decoders(),
        "limits-versions": _versions(),
        "limits-workers": _workers(),
        "limits-upkeep": _upkeep(),
        "limits-fleet": _fleet(),
        "limits-daemon": _daemon(),
    }
    return {name: _table(rows) for name, rows in made.items()}


def _requests() -> Iterable[Row]:
    w, door = Config().workers, connection.ConnectionLimits()
    yield "body of a request", f"{_bytes(w.max_upload)} (`workers.max_upload`)", "413"
    yield "a form around the clip", f"{_bytes(upload.OVERHEAD_BYTES)} more, {upload.PARTS} parts", "413, 400"
    yield "a field of the form that is read", _bytes(upload.FIELD_BYTES), "400; others are ignored"
    yield "text before a form's first boundary", _bytes(upload.PREAMBLE_BYTES), "400"
    yield "Content-Type, and Content-Disposition of a part", _bytes(upload.TYPE_CHARS), "415, 400"
    yield "parameters of these", str(upload.PARAMETERS), "400"
    yield "uploads under way in a worker", f"{process.UPLOADS_AT_ONCE} times `workers.max_upload`", "503"
    long = f"{process.CLIPS_AT_ONCE} times `workers.max_audio`, half of it of one client"
    places = f"{w.queue // 2} (half of `workers.queue`), half of them of one client"
    yield "long clips that wait for room in a worker", places, "503 with Retry-After"
    yield f"decoded audio of clips over {_time(admission.SHORT_SECONDS)} in a worker", long, "further long clips wait"
    yield "uploads that last longer than a second", f"`workers.queue` and {process.SURPLUS_UPLOADS}", "the slowest: 408"
    yield "uploads at once", str(upload_limits.AT_ONCE), "the slowest: 408"
    yield (
        "an upload while a limit is reached",
        f"{_bytes(upload_limits.SLOW_RATE)}/s, or half of all for a client",
        "408",
    )
    yield "WebSockets of a worker", f"{speech_sessions.SESSIONS}, half of them of one client", "503"
    pieces = f"{_bytes(handshake.MESSAGE_BYTES)}, {speech_socket.MESSAGE_PIECES} pieces"
    yield "a message of a WebSocket", pieces, "closed with 1009"
    part = f"1/{upload_limits.WAITING_PART} of the bytes of uploads, half of that for one client"
    yield "messages of WebSockets that were not taken yet", part, "closed with 1013"
    yield "silence of a WebSocket between two clips", _time(speech_sessions.IDLE_SECONDS), "closed with 1001"
    yield "answers that a WebSocket's client does not read", _time(speech_sessions.UNREAD_SECONDS), "cut off"
    yield "an upload", f"{_bytes(w.min_upload_rate)}/s (`workers.min_upload_rate`)", "408"
    yield "silence of a client while it uploads", _time(upload.SILENT_SECONDS), "408"
    yield "requests that wait for a model that is on its way", str(admission.EXPECTING), "503 with Retry-After"
    yield (
        "large answers that are not read, in a worker",
        f"{process.UNREAD_AT_ONCE} times `workers.max_upload`, half for a client",
        "503; a connection that hardly reads is cut off",
    )
    yield "length of a clip", f"{_time(w.max_audio)} (`workers.max_audio`)", "413"
    yield "sample rate", f"{converter.MIN_RATE} to {converter.MAX_RATE} Hz", "400"
    channels = f"{converter.MAX_CHANNELS}, {converter.MAX_SPLIT_CHANNELS} with `channels=split`"
    yield "channels", channels, "415"
    sound = f"{_time(limits.FREE_SECONDS)}, and 1s for each {limits.LEAST_BYTES_PER_SECOND} bytes"
    yield "sound that an upload may hold", sound, "400"
    yield "WebM", f"{webm.MAX_TRACKS} tracks, {webm.MAX_ELEMENTS:,} elements", "400"
    yield "MP4 without the extra `media`", f"{mp4.MAX_TRACKS} tracks, {mp4.MAX_BOXES:,} boxes", "400"
    yield (
        "members of a compressed tensor request",
        f"{compressed.MEMBERS:,}, {compressed.LEAST_BYTES} bytes each after {compressed.FREE_MEMBERS}",
        "400",
    )
    yield "one piece of a clip, recognised in one run", _time(segments.MAX_PIECE_SECONDS), "cut at a pause"
    yield "waiting requests in a worker", f"{w.queue} (`workers.queue`)", "503 with Retry-After"
    yield "one request, waiting included", f"{_time(w.request_timeout)} (`workers.request_timeout`)", "504"
    yield "connections of a worker", str(door.connections), "the longest idle is closed; others wait"
    yield "connections that wait at the port", str(tcp_listener.BACKLOG), "the kernel makes clients wait"
    yield "head of a request", f"{_bytes(door.head_bytes)}, {_time(door.head_seconds)}", "431, 408"
    yield "idle connection", _time(door.keep_alive_seconds), "closed"
    yield (
        "client that does not read its answer",
        f"{_bytes(door.read_rate)}/s over {_time(door.look_seconds)}; {_time(door.unread_seconds)} without a word",
        "closed",
    )
    yield "JSON of a tensor request", _bytes(tensors.MAX_JSON_BYTES), "413"
    yield "numbers of a tensor in JSON", f"{tensors.MAX_JSON_NUMBERS:,}", "400: binary data has no such limit"
    yield "tensors of a request", f"{tensors.TENSORS}, of rank {tensors.RANK} at most", "400"
    yield "answer of a tensor request", _bytes(tensors.MAX_ANSWER_BYTES), "400"


def _decoders() -> Iterable[Row]:
    yield "decoders", "one for each worker, shared by all", "further clips wait"
    yield "an idle decoder", _time(child.IDLE_SECONDS), "ends"
    cost = f"{_time(child.BASE_CPU_SECONDS)}, and {child.CPU_SECONDS_PER_SECOND:g}s for each second of sound"
    yield "processor time of one clip", cost, "400"
    yield "processor time of one step of a clip", _time(confinement.STEP_CPU_SECONDS), "the kernel ends the decoder"
    yield "time without an answer of a decoder", _time(pool.SILENT_SECONDS), "killed; the clip is tried once more"
    yield "memory of a decoder", f"{_bytes(launch.BASE_MEMORY_BYTES)}, and 6 times `workers.max_upload`", "503"
    yield "clips in work in a decoder", str(child.OPEN_JOBS), "further ones wait"
    yield "long clips of a worker in all decoders", str(pool.LONG_AT_ONCE), "further long ones wait"
    short = f"{child.SHORT_CPU_SECONDS:g}s of processor time, {_time(child.SHORT_SECONDS)} of sound"
    yield "a clip that overtakes others", short, "all short clips overtake it"


def _versions() -> Iterable[Row]:
    c = Config()
    yield "name of a version", f"{names.MAX_NAME_BYTES} bytes, printable", "skipped"
    yield (
        "versions in the model root",
        f"{scan.MAX_VERSIONS:,}",
        "the root counts as unreadable: an alert, nothing changes",
    )
    yield "files of a version", f"{scan.MAX_ENTRIES:,}, {scan.MAX_DEPTH} levels deep", "rejected with that reason"
    yield "size of a version", _bytes(layout.MAX_VERSION_BYTES), "rejected"
    least = f"what is free above `disk.min_free`, or 1/{layout.SMALL_PART} of what is free"
    yield "copy of a version in the cache", least, "not judged yet, with an alert"
    yield "ONNX graph without external weights", _bytes(onnx_graph.MAX_GRAPH_BYTES + 1), "rejected"
    yield "SHA256SUMS", _bytes(checksums.MAX_SUMS_BYTES), "rejected"
    yield "golden clips", str(golden.MAX_CLIPS), "the others are skipped, with a remark"
    yield (
        "a golden clip",
        f"{_bytes(golden.MAX_CLIP_BYTES)}, {_time(golden.MAX_CLIP_SECONDS)}",
        "not used, and that is said",
    )
    yield (
        "one judgement",
        f"{_time(c.validation.timeout)} of CPU time for 500MiB, or without progress (`validation.timeout`)",
        "rejected",
    )
    yield (
        "memory of a judgement",
        f"{_bytes(c.validation.memory)} (`validation.memory`), or what there is",
        "rejected; tried again",
    )
    yield "output of a validator", _bytes(validation.MAX_OUTPUT_BYTES), "killed, rejected"
    yield "age below which no version is removed", _time(retention.DAY_SECONDS), "kept"
    yield "versions kept besides those in use", f"{c.models.keep} (`models.keep`)", "the lowest go"


def _jobs() -> Iterable[Row]:
    j = Config().jobs
    yield "jobs, including ended ones that are kept", f"{j.max_jobs:,} (`jobs.max_jobs`), half of one client", "503"
    yield (
        "recordings and results on the disk",
        f"{_bytes(j.max_bytes)} (`jobs.max_bytes`), half of one client; `disk.min_free` stays free",
        "503, 507",
    )
    yield "one recording", "`workers.max_upload`, `workers.max_audio`", "413; the job fails"
    yield "fields of a job together", _bytes(job_store.FIELDS_BYTES), "503"
    yield "jobs in work", "one for each worker", "further ones wait, clients take turns"
    yield "decoded audio of jobs in a worker", "one recording, besides that of requests", "further ones wait"
    yield "what a job loses when its worker or machine is killed", "the current piece, and the decoding", "it continues"
    yield (
        "workers that die over the same piece",
        f"{deaths.MOST_ALONE} while the daemon lives on, {deaths.MOST} in all",
        "the job fails",
    )
    yield "tries of a piece on which the model fails", str(runner.PIECE_TRIES), "the job fails"
    yield "a result that is kept", f"{_time(j.keep)} (`jobs.keep`)", "removed; 404"
    yield (
        "requests of a worker that wait for the disk of jobs",
        f"{access.MOST_WAITING}, {_time(access.DISK_SECONDS)}",
        "503",
    )
    yield "result inside the JSON of a job", _bytes(job_routes.MAX_EMBEDDED_BYTES), "left out; `/result` has it"
    yield "entries of `jobs.callbacks`", "32", "refused"
    yield "entries of `trusted_proxies` and of `panel.hosts`", "32", "refused"
    yield (
        "addresses that are read in `X-Forwarded-For`, from its end",
        str(trusted_proxies.MAX_HOPS),
        "the farthest of them is the client",
    )
    yield "callback URL", f"{callback_rules.MAX_URL_CHARS} characters", "400"
    yield "callbacks under way", str(callback_planner.AT_ONCE), "others wait"
    yield "one callback", _time(callback_sender.TOTAL_SECONDS), "tried again"
    yield "tries of a callback", str(callback_planner.MOST_TRIES), "given up"
    yield "result inside a callback", _bytes(job_scan.MAX_BODY_BYTES), "left out"


def _workers() -> Iterable[Row]:
    limits, c = pool_planner.PoolLimits(), Config()
    yield "connections to `workers.sock`", str(channel.MAX_CONNECTIONS), "refused"
    yield "of these, of other users", str(channel.MAX_STRANGERS), "refused"
    yield "a message", _bytes(protocol.MAX_MESSAGE_BYTES), "disconnected"
    yield "until hello", _time(channel.HELLO_SECONDS), "disconnected"
    yield "messages of one worker", f"{channel.MAX_MESSAGES} in {_time(channel.MESSAGES_SECONDS)}", "disconnected"
    yield "unread messages to one worker", _bytes(channel.MAX_UNSENT_BYTES), "disconnected"
    yield (
        "a worker says nothing",
        _time(limits.silence_seconds),
        "killed after a second look unless it only waits for a processor, replaced",
    )
    yield (
        "loading a version",
        f"{_time(c.rollout.reload_timeout)} of CPU time or without progress (`rollout.reload_timeout`)",
        "the rollout fails",
    )
    most = f"{_time(backoff.FIRST_SECONDS)}, doubled up to {_time(backoff.LONGEST_SECONDS)}"
    yield "pause before a worker that keeps dying starts again", most, "tried for ever"
    yield "draining", f"{_time(c.workers.drain)} (`workers.drain`)", "cut off"


def _upkeep() -> Iterable[Row]:
    c = Config()
    yield "age below which nothing is removed", f"{_time(c.disk.min_age)} (`disk.min_age`)", "kept"
    yield "depth of a swept directory", str(walk.MAX_DEPTH), "left, with a report"
    yield "paths listed by a dry run", f"{sweeper_process.MAX_LISTED:,}", "counted, not listed"
    yield "entries of a log directory", f"{log_directory.MAX_ENTRIES:,}", "the others are not read"
    yield "line of our own logs", _bytes(logs.LINE_BYTES), "shortened"
    yield "log lines of a process that wait for the disk", _bytes(log_writer.MOST_BYTES), "dropped and counted"
    yield "wait for the log disk at the end of a process", f"{log_writer.END_SECONDS:g} s", "what is left is lost"
    yield "piece of a log that is downloaded", _bytes(whole_log.PIECE_BYTES), "the next piece follows"
    yield "log downloads at a time", "1", "refused: another log is being downloaded"
    yield "a log download", f"{_bytes(log_downloads.RATE_BYTES)} a second", "slower"
    yield "time of a log download", _time(log_downloads.MOST_SECONDS), "cut off"
    yield "line shown by `modelward logs`", _bytes(follow.MAX_LINE_BYTES), "shown in pieces"
    yield (
        "how far back `modelward logs -n` reads in one file",
        _bytes(follow.LOOK_BACK_BYTES),
        "older lines are not shown; `--since` reads all",
    )
    yield (
        "log lines of one admin answer",
        f"{_bytes(tail.ANSWER_BYTES)}, of one {_bytes(tail.LINE_BYTES)}",
        "cut, and that is said",
    )
    yield (
        "free space below which the disk counts as full for logs",
        _bytes(archives.FULL_BYTES),
        "oldest archive dropped",
    )
    yield "rotations by hand of a file in one period", str(archive_pieces.MAX_PIECES), "the file is left as it is"
    yield "step of a collapse", _bytes(collapse.CHUNK_BYTES), "copied piece by piece"


def _daemon() -> Iterable[Row]:
    yield "configuration file", _bytes(load.MAX_FILE_BYTES), "refused"
    yield "file of bearer tokens", _bytes(tokens.MAX_FILE_BYTES), "no token is accepted"
    yield "history", f"{store.MAX_HISTORY_ROWS:,} rows, {_bytes(store.MAX_HISTORY_BYTES)}", "the oldest go"
    yield "body of an admin request", _bytes(request_body.MAX_BODY_BYTES), "413"
    yield "rows, log lines of one admin answer", f"{api.MAX_ROWS:,}, {api.MAX_LINES:,}", "no more are sent"
    yield (
        "connections to `api.sock`, to the panel",
        f"{admin.MAX_CONNECTIONS}, {panel.MAX_CONNECTIONS}",
        "an idle one, or one that was let in to nothing, is closed; else 503",
    )
    yield "listeners of `/v1/events`, viewers of the panel", f"{events.MAX_LISTENERS}, {live_feed.MAX_VIEWERS}", "503"
    yield (
        "panel: sessions",
        f"{sessions.MAX_SESSIONS:,}, {_time(sessions.IDLE_SECONDS)} idle, {_time(sessions.MAX_SECONDS)} in all",
        ("signed out"),
    )
    yield (
        "panel: wrong tokens from one address",
        f"{rate_limit.TRIES}, then one in {_time(rate_limit.RETURN_SECONDS)}",
        "429 to wrong ones; good ones are let in",
    )
    yield (
        "panel: wrong tokens from all addresses, addresses remembered",
        f"{rate_limit.TRIES_OF_ALL}, then one in {_time(rate_limit.RETURN_SECONDS_OF_ALL)}; "
        f"{rate_limit.MAX_ADDRESSES:,}",
        "429 to wrong ones; the oldest is forgotten",
    )
    yield (
        "panel: links that wait for a browser",
        f"{login_links.MAX_LINKS}, {_time(login_links.LINK_SECONDS)}",
        "no longer good",
    )
    yield (
        "panel: table of sockets that is searched for a user",
        _bytes(loopback_user.MAX_TABLE_BYTES),
        "a token is asked for",
    )
    yield "how far back the panel's curves go", _time(series.SPANS["7d"][0]), "forgotten; scrape /metrics for more"
    yield "alerts at once", f"{alerts.MAX_ALERTS:,}", "no further one is raised"
    yield "alert addresses", str(delivery.MAX_CHANNELS), "the others get no messages"
    yield "mutes at once, and one of them", f"{mutes.MAX_MUTES}, {_time(mutes.MAX_SECONDS)}", "refused, with the reason"
    yield (
        "alerts of one severity that came and went while they were held back",
        str(alert_record.MAX_MISSED),
        "the oldest are not in the message afterwards",
    )
    yield "maintenance windows, webhooks with a body of their own", "32 each", "a mistake in the configuration"
    yield (
        "template of a message, keyword",
        f"{validators.MAX_TEMPLATE_CHARS:,} and {validators.MAX_KEYWORD_CHARS} characters",
        "a mistake in the configuration",
    )
    yield (
        "answer of a webhook or a robot that is read",
        _bytes(http_post.MAX_ANSWER_BYTES),
        "the rest is not looked at",
    )
    yield "clip of a probe", _bytes(probe_clip.MAX_CLIP_BYTES), "passed over; a configured one: no probes"
    yield "disks and classes with a forecast", str(forecast.MAX_TRACKED), "none for the others"
    yield (
        "messages to one address",
        f"{addresses.PER_MINUTE} a minute, {delivery.MAX_QUEUE} waiting",
        "grouped; the oldest go",
    )


def _fleet() -> Iterable[Row]:
    yield "a signed record", _bytes(signature.MAX_SIGNED_BYTES), "refused"
    yield "waves, and labels of one", f"{record.MAX_WAVES}, {record.MAX_LABELS}", "refused"
    yield "pause between two waves", _time(record.MAX_PAUSE_SECONDS), "refused"
    yield "sources of a version", str(record.MAX_SOURCES), "refused"
    yield "files of a version that is signed", f"{manifest.MAX_FILES:,}", "refused"
    yield "a report of a machine", _bytes(reports.MAX_REPORT_BYTES), "refused"
    yield "silence of a machine that is waited for", _time(waves.SEEN_SECONDS), "it is late"
    yield "error of a machine's clock", _time(acceptance.CLOCK_ERROR_SECONDS), "a new record waits for a day"
    yield (
        "one answer of a web server with a file",
        f"{_time(https_engine.FILE_SECONDS)}, or {_time(steady_reads.STILL_SECONDS)} with less than "
        f"{_bytes(steady_reads.STILL_BYTES)}",
        "the rest is requested anew",
    )
    yield "reasons of a halt", f"{waves.MAX_HALTED_CHARS:,} characters", "cut"
    yield "downloads with other bytes than promised", str(agent_planner.MAX_WRONG), "no more for this record"
    yield (
        "numbers of accepted signatures that are remembered",
        str(sequences.MAX_ROWS[sequences.VERSION]),
        "the oldest go",
    )


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| {what} | {most} | {then} |" for what, most, then in rows]
    return "\n".join(["| what | at most | then |", "|---|---|---|", *lines]) + "\n"


def _bytes(count: int) -> str:
    return show_size(count)


def _time(seconds: float) -> str:
    return show_duration(seconds)
