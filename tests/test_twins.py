"""Each module has a test file of its own name, or a place in this table that names the tests which cover it.

Twins are for what can be tested by itself. Without one are modules that only pass on what others decide, and those
whose promise shows only between processes: a test of the whole tells more there than one with all else replaced.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]

COVERED_BY: dict[str, str] = {
    # "a test file": "the modules without a twin that it covers"
    "daemon/api/test_openapi.py": (
        "daemon/answers/alerts.py daemon/answers/commands.py daemon/answers/disk.py daemon/answers/events.py "
        "daemon/answers/fleet.py daemon/answers/history.py daemon/answers/logs.py daemon/answers/rollouts.py "
        "daemon/answers/status.py "
        "daemon/answers/traffic.py daemon/answers/uploads.py daemon/answers/versions.py "
        "daemon/answers/workers.py daemon/api/app.py daemon/api/interface.py daemon/api/request_body.py"
    ),
    "daemon/api/test_server.py": "daemon/api/connection_limit.py",
    "daemon/cli/test_fetch.py": "daemon/cli/argument_types.py daemon/cli/fetch_progress.py",
    "daemon/cli/test_health.py": "daemon/cli/socket_path.py",
    "daemon/cli/test_fleet.py": "daemon/cli/fleet_publish.py daemon/cli/sign.py",
    "daemon/cli/test_install.py": "daemon/cli/install_files.py",
    "daemon/cli/test_serve.py": (
        "daemon/cli/follow_events.py daemon/cli/foreground.py daemon/cli/serve_config.py daemon/cli/serve_follow.py "
        "daemon/cli/served_addresses.py"
    ),
    "daemon/cli/test_transcribe.py": (
        "daemon/cli/audio_files.py daemon/cli/transcription_request.py daemon/cli/upload_progress.py"
    ),
    "daemon/cli/test_validate.py": "daemon/controllers/child_requests.py",
    "daemon/cli/test_verbs.py": (
        "daemon/cli/activate.py daemon/cli/check_config.py daemon/cli/disk.py daemon/cli/history.py "
        "daemon/cli/hold.py daemon/cli/logs.py daemon/cli/options.py daemon/cli/panel.py "
        "daemon/cli/program.py daemon/cli/release.py daemon/cli/reload.py daemon/cli/request_and_wait.py "
        "daemon/cli/restart.py daemon/cli/rollback.py daemon/cli/rotate.py daemon/cli/run.py "
        "daemon/cli/sweep.py daemon/cli/uninstall.py daemon/cli/workers.py"
    ),
    "daemon/cli/test_waiting.py": "daemon/cli/progress.py daemon/cli/versions.py",
    "daemon/config/test_load.py": (
        "daemon/config/cross_checks.py daemon/config/fleet_checks.py daemon/config/messages.py "
        "daemon/config/proxy_checks.py daemon/config/schema.py daemon/config/schema_fleet.py "
        "daemon/config/schema_logs.py daemon/config/schema_alerts.py daemon/config/schema_parts.py"
    ),
    "daemon/health/test_probe_request.py": "daemon/health/probe_clip.py",
    "daemon/controllers/test_heartbeat.py": "daemon/controllers/repeated_step.py",
    "daemon/controllers/test_alerting.py": (
        "daemon/health/alert_record.py daemon/health/metrics.py "
        "daemon/health/stuck_workers.py daemon/status/alert_endings.py daemon/status/alert_inputs.py "
        "daemon/status/alert_views.py daemon/status/snapshot.py daemon/status/unchosen_versions.py"
    ),
    "daemon/controllers/test_forms.py": (
        "daemon/controllers/child_work.py daemon/controllers/form_watch.py daemon/models/compiler_process.py"
    ),
    "daemon/controllers/test_maintenance.py": "daemon/upkeep/logs/compress_thread.py",
    "daemon/controllers/test_validation.py": (
        "daemon/controllers/copy_watch.py daemon/controllers/verdict_memory.py daemon/models/catalog.py"
    ),
    "daemon/fetch/test_download.py": "daemon/fetch/file_part.py",
    "daemon/fetch/test_http_get.py": "daemon/fetch/proxy.py",
    "daemon/fetch/test_fetcher.py": (
        "daemon/fetch/hugging_face.py daemon/fetch/modelscope.py daemon/fetch/patient_get.py "
        "daemon/fetch/web_listing.py"
    ),
    "daemon/health/test_alerts.py": "daemon/config/alert_metrics.py daemon/health/rules.py",
    "daemon/health/test_sampler.py": "daemon/health/host_metrics.py daemon/health/mounts.py",
    "daemon/fleet/test_manifest.py": "daemon/system/safe_files.py",
    "daemon/fleet/test_nats_engine.py": (
        "daemon/fleet/keeper.py daemon/fleet/nats_connection.py "
        "daemon/fleet/nats_names.py daemon/fleet/nats_publisher.py"
    ),
    "daemon/fleet/test_nats_room.py": "daemon/fleet/nats_objects.py",
    "system/test_fleet.py": (
        "daemon/cli/fleet_status.py daemon/controllers/fleet_local.py daemon/controllers/fleet_reports.py"
    ),
    "daemon/cli/test_fleet_server.py": "daemon/cli/fleet_admit.py",
    "daemon/fleet/test_engines.py": ("daemon/fleet/engine.py daemon/fleet/file_engine.py daemon/fleet/https_engine.py"),
    "daemon/health/test_quiet_times.py": "daemon/config/local_times.py",
    "daemon/health/test_addresses.py": "daemon/health/smtp.py daemon/health/wording.py",
    "daemon/health/test_sender_process.py": (
        "daemon/health/chat_webhooks.py daemon/health/child_answer.py daemon/health/http_post.py"
    ),
    "daemon/models/test_activation_policy.py": "daemon/models/decisions.py daemon/models/unchosen.py",
    "daemon/models/test_scan.py": "daemon/models/no_version.py",
    "daemon/models/test_settle.py": "daemon/models/snapshot.py",
    "daemon/models/test_validator_process.py": (
        "worker/child_protocol.py daemon/models/publish_artifact.py worker/sandbox/child_output.py"
    ),
    "daemon/panel/test_assets.py": "daemon/panel/server.py",
    "daemon/panel/test_http.py": (
        "daemon/api/events.py daemon/api/streams.py daemon/panel/live_feed.py daemon/panel/middleware.py "
        "worker/shared/lingering_close.py"
    ),
    "daemon/panel/test_sessions.py": "daemon/panel/tokens.py",
    "daemon/panel/test_users.py": "daemon/panel/login_links.py daemon/panel/loopback_user.py",
    "daemon/state/test_store.py": "daemon/state/database_file.py daemon/state/rows.py daemon/state/write_errors.py",
    "daemon/system/test_background.py": "worker/shared/started.py daemon/system/failures.py",
    "daemon/test_crash_points.py": (
        "daemon/controllers/activation.py daemon/controllers/kept_position.py daemon/controllers/rollouts.py "
        "daemon/errors.py daemon/status/activation_facts.py"
    ),
    "daemon/test_form_rollouts.py": (
        "daemon/controllers/form_choice.py daemon/controllers/form_order.py daemon/controllers/pending_command.py"
    ),
    "daemon/test_version_order.py": "worker/shared/version_words.py",
    "daemon/upkeep/disk/test_allowed_roots.py": "daemon/config/protected_paths.py",
    "daemon/upkeep/disk/test_directory_visitor.py": "daemon/upkeep/disk/reasons.py daemon/upkeep/disk/remover.py",
    "daemon/upkeep/disk/test_quota.py": "daemon/upkeep/disk/file_table.py",
    "daemon/upkeep/disk/test_sweep.py": (
        "daemon/upkeep/disk/file_visitor.py daemon/upkeep/disk/outcome.py daemon/upkeep/syscalls.py"
    ),
    "daemon/upkeep/disk/test_sweeper_client.py": (
        "daemon/upkeep/disk/sweeper_process.py daemon/upkeep/disk/sweeper_protocol.py"
    ),
    "daemon/upkeep/disk/test_usage.py": "daemon/upkeep/open_files.py",
    "daemon/upkeep/logs/test_follow.py": "daemon/upkeep/logs/tail.py daemon/upkeep/logs/log_reader.py",
    "daemon/upkeep/logs/test_rotator.py": (
        "daemon/upkeep/logs/archives.py daemon/upkeep/logs/rotation_outcome.py daemon/upkeep/logs/compress.py "
        "daemon/upkeep/logs/log_directory.py"
    ),
    "daemon/upkeep/test_foreign_logs.py": "daemon/upkeep/fs_port.py",
    "daemon/upkeep/test_service.py": "daemon/upkeep/disk/precheck.py",
    "daemon/upkeep/test_shared_logs.py": "daemon/upkeep/from_config.py",
    "daemon/workers/test_channel_doors.py": "daemon/system/unix_socket.py",
    "daemon/workers/test_rollout_executor.py": "daemon/workers/load_readings.py",
    "daemon/workers/test_settings_diff.py": "daemon/workers/settings_of_config.py",
    "fuzz/test_framing.py": "daemon/panel/connection_limits.py",
    "fuzz/test_operators.py": "daemon/config/validators.py",
    "fuzz/test_worker_socket.py": "worker/protocol.py",
    "system/test_attach.py": "worker/attach.py",
    "system/test_command_line.py": (
        "daemon/controllers/admin_service.py daemon/controllers/validation_waiters.py daemon/status/views.py"
    ),
    "system/test_alerts.py": "daemon/controllers/outside.py",
    "system/test_containment.py": "daemon/controllers/assembly.py daemon/controllers/parts.py",
    "system/test_daemon_dies.py": "daemon/supervisor.py",
    "system/test_frozen_logs.py": "daemon/system/logs.py",
    "system/test_hung_disks.py": "daemon/system/safe_read.py",
    "system/test_jobs.py": ("daemon/controllers/jobs.py daemon/jobs/jobs_seen.py daemon/jobs/job_scan.py"),
    "system/test_links.py": "daemon/controllers/link_moves.py",
    "system/test_foreign_roots.py": "daemon/controllers/root_notices.py",
    "system/test_misplaced_links.py": "daemon/controllers/misplaced_watch.py",
    "system/test_outside_cleaners.py": "daemon/controllers/disk_reads.py",
    "system/test_settings.py": (
        "daemon/controllers/worker_instructions.py daemon/workers/settings_sync.py daemon/workers/token_digests.py"
    ),
    "system/test_stuck_run.py": "worker/scheduling/overdue.py",
    "system/test_upkeep_attacks.py": "daemon/upkeep/disk/trash.py daemon/upkeep/disk/walk.py",
    "system/test_workers_die.py": "daemon/controllers/worker_events.py",
    "test_metrics_page.py": "daemon/status/metrics_export.py",
    "test_package.py": "daemon/__main__.py worker/shared/installed_release.py",
    "worker/audio/test_decode.py": (
        "worker/audio/claimed_length.py worker/audio/kinds.py worker/audio/limits.py worker/audio/mp3.py "
        "worker/audio/sound_files.py worker/audio/wav.py"
    ),
    "worker/audio/test_media.py": ("worker/audio/converter.py worker/audio/ogg.py worker/audio/silk.py"),
    "worker/compile/test_child.py": (
        "daemon/models/form_files.py worker/compile/__main__.py worker/compile/directory.py "
        "worker/compile/finish.py worker/compile/priority.py worker/compile/probes.py "
        "worker/compile/stages.py worker/compile/trial.py"
    ),
    "worker/compile/test_compiler.py": "worker/compile/compiled.py worker/compile/graph.py",
    "worker/compile/test_mapped.py": "worker/compile/optimise.py",
    "worker/compile/test_parts.py": "worker/compile/sample.py",
    "worker/compile/test_recipe.py": "worker/compile/weights.py",
    "worker/decoders/test_pool.py": (
        "worker/decoders/__main__.py worker/decoders/child.py worker/decoders/launch.py worker/decoders/messages.py"
    ),
    "worker/demo/test_files.py": "worker/demo/fit.py worker/demo/network.py",
    "worker/demo/test_recognition.py": "worker/demo/clips.py worker/demo/lessons.py worker/demo/vocabulary.py",
    "worker/demo/test_through_the_pipeline.py": "worker/demo/__main__.py worker/demo/graph.py",
    "worker/http/test_client_habits.py": "worker/http/openapi.py worker/http/paths.py",
    "worker/http/test_inference_protocol.py": "worker/inference/tensor_model.py",
    "worker/http/test_page.py": "worker/http/sign_in.py worker/shared/static_files.py",
    "worker/http/test_routes.py": (
        "worker/http/app.py worker/http/auth.py worker/http/compressed.py worker/http/connection.py "
        "worker/http/context.py worker/http/daemon_api.py worker/http/health.py worker/http/inference.py "
        "worker/http/json.py worker/http/middleware.py worker/http/pieces.py worker/http/reload.py "
        "worker/http/repository.py worker/http/transcription.py worker/http/upload.py"
    ),
    "worker/http/test_speech_sockets.py": (
        "worker/http/funasr_talk.py worker/http/handshake.py worker/http/sherpa_talk.py worker/http/speech_sessions.py "
        "worker/http/speech_socket.py worker/http/talks.py"
    ),
    "worker/http/test_tensors.py": "worker/http/errors.py",
    "worker/http/test_upload_limits.py": "worker/http/client.py worker/scheduling/refusal.py",
    "worker/inference/test_admission.py": "worker/scheduling/model_runs.py",
    "worker/inference/test_loader.py": "worker/inference/sensevoice_model.py",
    "worker/jobs/test_access.py": "worker/http/job_list.py",
    "worker/jobs/test_jobs.py": "worker/http/jobs.py",
    "worker/jobs/test_store.py": "worker/shared/job_directory.py",
    "worker/sandbox/test_worker_sandbox.py": "worker/shared/worker_directories.py",
    "worker/sensevoice/test_model.py": "worker/sensevoice/files.py",
    "worker/shared/test_logs.py": "worker/shared/log_lines.py",
    "worker/shared/test_process_readings.py": "worker/validate/machine_speed.py",
    "worker/test_front.py": "worker/__main__.py worker/process.py",
    "worker/test_live_settings.py": "worker/settings.py",
    "worker/validate/gates/test_golden.py": (
        "worker/validate/context.py worker/validate/golden_clips.py worker/validate/model_under_test.py"
    ),
    "worker/validate/gates/test_layout.py": "worker/validate/foreign.py",
    "worker/validate/test_broken.py": (
        "worker/validate/gates/load.py worker/validate/gates/probe.py worker/validate/gates/signature.py"
    ),
    "worker/validate/test_child.py": (
        "worker/validate/__main__.py worker/validate/kinds.py worker/validate/measure.py "
        "worker/validate/publish.py worker/validate/runner.py worker/validate/sensevoice_under_test.py "
        "worker/validate/time_limit.py"
    ),
    "worker/shared/test_sha256sums.py": "worker/shared/checksums.py",
}

MODULES = {
    path.relative_to(ROOT).as_posix()
    for top in ("daemon", "worker")
    for path in (ROOT / top).rglob("*.py")
    if path.name != "__init__.py"
}


def _has_twin(module: str) -> bool:
    path = ROOT / "tests" / module
    return path.with_name(f"test_{path.name}").exists()


def test_each_module_has_a_twin_or_says_what_tests_it() -> None:
    listed = [module for modules in COVERED_BY.values() for module in modules.split()]
    assert len(listed) == len(set(listed))
    assert {module for module in MODULES if not _has_twin(module)} == set(listed)


def test_each_test_that_is_named_is_there() -> None:
    assert [test for test in COVERED_BY if not (ROOT / "tests" / test).is_file()] == []
