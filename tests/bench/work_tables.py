"""The tables of what surrounds serving: new versions, formats, jobs, attacks, a fleet, the image. Pure."""

from __future__ import annotations

import statistics
from typing import Any

from tests.bench import sums
from tests.bench.tables import length, table

OFFSET = "offset"
EXACT, WIN = 1e-4, 0.02  # what another front end has to keep to, and to bring, to be taken
FORMS = {
    "original": "as it came",
    "mapped": "mapped",
    "exact": "rewritten",
    "known": "rewritten, graph known",
    "fast": "rewritten, level `fast`",
}


def _missing(section: dict[str, Any]) -> str:
    return f"Not measured: {section['missing']}.\n" if "missing" in section else ""


def compiling(section: dict[str, Any]) -> str:
    titles = {"first": "nothing served, graph unknown", "next": "beside another, graph known"}
    rows = []
    for name, title in titles.items():
        found = section["arrivals"][name]
        took, bare = found["seconds"], found["bare_seconds"]
        rows.append(
            [title, f"{took:.2f}", f"{bare:.2f}", f"{took / bare:.1f}", f"{found['gates_seconds']:.2f}"]
            + [found.get("form", "plain")]
        )
    head = (
        "the version comes",
        "rename to first answer, s",
        "a load and a run alone, s",
        "times",
        "judging, s",
        "form",
    )
    before, during, made = section["before"], section["during"], section["compiled"]
    slower = during["p95_seconds"] / before["p95_seconds"]
    bad = f" Meanwhile: {', '.join(section['bad'])}." if section["bad"] else ""
    return (
        f"One daemon with the defaults and clips of {length(section['clip_seconds'])}. The first version goes live as"
        " it came; then a form of it is compiled; then the next version comes, which has the same graph.\n\n"
        + table(head, rows)
        + f"\nThe first form was there {made['seconds']:.0f} s after it was asked for ({made['form']}). Clients at"
        f" {section['load']:.0%} of what the workers can do: p50 / p95 {before['p50_seconds']:.3f} /"
        f" {before['p95_seconds']:.3f} s before, {during['p50_seconds']:.3f} / {during['p95_seconds']:.3f} s beside the"
        f" compiler, {slower:.2f} times.{bad}\n"
    )


def forms(section: dict[str, Any]) -> str:
    lengths = list(next(iter(section["cpu"].values())))
    rows = []
    for form, taken in section["cpu"].items():
        row = [FORMS[form]]
        for seconds in lengths:
            mine, came = taken[seconds], section["cpu"]["original"][seconds]
            row.append(f"{statistics.median(mine) * 1000:.0f} ({sums.ratios(mine, came).median:.2f})")
        load = min(found["seconds"] for found in section["load"][form])
        after = [f"{memory['rss']:.0f}" for memory in section["swaps"][form].values()]
        rows.append([*row, f"{load:.2f}", " / ".join(after)])
    head = ["form", *(f"{seconds} s: CPU, ms (share)" for seconds in lengths), "load, s"]
    swaps = " / ".join(next(iter(section["swaps"].values())))
    text = "CPU time of one run on one thread, and its share of that of the file as it came.\n\n"
    text += table([*head, f"resident after {swaps} swaps, MB"], rows) + "\n"
    costs = []
    for stage, made in section["compile"].items():
        if "seconds" in made:
            memory = f"{made['peak_mb']:.0f}"
            costs.append([FORMS[stage], made["form"], f"{made['seconds']:.0f}", f"{made['cpu_seconds']:.0f}", memory])
    return text + table(("made", "kept as", "s", "CPU, s", "most memory, MB"), costs)


def formats(section: dict[str, Any]) -> str:
    wav = [r["cpu_seconds"] for r in section["systems"].get("wav", {}).get("rounds", [])]
    rows = []
    for system in section["systems"].values():
        rounds = system["rounds"]
        if not rounds:
            rows.append([system["title"], f"not measured: {system.get('missing', '')}", "–", "–", "–"])
            continue
        cpu = [r["cpu_seconds"] for r in rounds]
        seconds = [s for r in rounds for s in r["seconds"]]
        errors = statistics.fmean(r["error_rate"] for r in rounds)
        rows.append(
            [
                f"{system['title']}, {system['bytes'] / 1000:.0f} kB",
                sums.spread(cpu).text(3),
                sums.ratios(cpu, wav).text() if wav else "–",
                f"{statistics.median(seconds):.3f}",
                f"{errors:.3f}",
            ]
        )
    text = (
        f"Clips of {length(section['clip_seconds'])} from one client, with the decoders' processes. The generated model"
        " was taught sound that was never compressed: where a codec leaves out the noise of the line, as MP3 does, it"
        " hears keys. That is an error of this model, not of the decoder, whose samples differ by about 1%.\n\n"
    )
    return text + table(("format", "CPU s a clip", "times WAV", "p50 s", "error rate"), rows)


def front_ends(section: dict[str, Any]) -> str:
    if text := _missing(section):
        return text
    lengths = list(section["request_seconds"])
    rows = []
    for system in section["systems"].values():
        medians = {seconds: statistics.median(system["seconds"][seconds]) for seconds in lengths}
        share = (f"{medians[s] * 1000:.2f} ({medians[s] / section['request_seconds'][s]:.1%})" for s in lengths)
        apart = (_apart(system, other) for other in (sums.OURS, "kaldi"))
        rows.append([system["title"], f"{system['difference']:.1e}", *apart, *share])
    head = ["", "from funasr-onnx's", "from ours", "from kaldi-native-fbank's"]
    head += [f"{seconds} s: CPU, ms (share of a request)" for seconds in lengths]
    versions = ", ".join(f"{name} {version}" for name, version in section["versions"].items())
    text = (
        "The largest difference of any feature: from funasr-onnx's on the clips of its vectors, from the others on the"
        f" clips of the bench, then with a constant offset. CPU time is on one thread. {versions}.\n\n"
    )
    return text + table(head, rows) + "\n" + _taken(section, lengths)


def _apart(system: dict[str, Any], other: str) -> str:
    """On clips, and on the one with an offset."""
    found = system["apart"].get(other)
    if found is None:
        return "–"
    clips = max(far for clip, far in found.items() if clip != OFFSET)
    return f"{clips:.1e}, {found[OFFSET]:.1e}" if found[OFFSET] else "0"


def _taken(section: dict[str, Any], lengths: list[str]) -> str:
    """Whether asrfront could take the place of our front end, by what was asked of it."""
    other = section["systems"].get("asrfront")
    if other is None:
        return ""
    ours = section["systems"][sums.OURS]
    wins = [
        (statistics.median(ours["seconds"][s]) - statistics.median(other["seconds"][s])) / section["request_seconds"][s]
        for s in lengths
    ]
    far = max(distance for clip, distance in other["apart"][sums.OURS].items() if clip != OFFSET)
    exact, quick = far <= EXACT, min(wins) >= WIN
    both = ", ".join(f"{win:.1%} with {seconds} s" for win, seconds in zip(wins, lengths, strict=True))
    verdict = "does both" if exact and quick else "does not do both, so it is not used"
    return (
        f"Another front end would be used if no feature differed from ours by more than {EXACT:.4f} on these clips and"
        f" a request took at least {WIN:.0%} less CPU time. asrfront saves {both}, and differs by up to {far:.1e}: it"
        f" {verdict}.\n"
    )


def jobs(section: dict[str, Any]) -> str:
    rows = []
    for name, title in (("jobs", "as jobs"), ("direct", "directly, a client for each worker")):
        rates = [r[name]["audio_seconds_a_second"] for r in section["rounds"]]
        errors = statistics.fmean(r[name]["error_rate"] for r in section["rounds"])
        rows.append([title, sums.spread(rates).text(1), f"{errors:.3f}"])
    pairs = [[r[name]["audio_seconds_a_second"] for r in section["rounds"]] for name in ("jobs", "direct")]
    text = f"{section['count']} recordings of {length(section['clip_seconds'])}, all at once.\n\n"
    text += table(("sent", "seconds of audio a second", "error rate"), rows)
    return text + f"\nAs jobs {sums.ratios(*pairs).text()} times as much as directly.\n"


def attacks(section: dict[str, Any]) -> str:
    rows = []
    for name, attack in section["attacks"].items():
        refused = sum(
            n for good in attack["good"].values() for status, n in good["statuses"].items() if status != "200"
        )
        answered = sum(good["statuses"].get("200", 0) for good in attack["good"].values())
        slowed = ", ".join(f"{what} {sums.slowed(good):.2f}" for what, good in attack["good"].items())
        ready = ", ".join(f"{status} × {count}" for status, count in attack["ready"].items())
        alerts = ", ".join(f"{alert} after {seconds:.0f} s" for alert, seconds in attack["alerts"].items()) or "none"
        rows.append([f"{name}: {attack['what']}", slowed, f"{refused} of {answered + refused}", ready, alerts])
    head = ("attack", "median over the usual one", "refused", "/ready", "alerts")
    return "Good clips of the demo's version, one after the other, while others send what costs much.\n\n" + table(
        head, rows
    )


def small_machine(section: dict[str, Any]) -> str:
    if text := _missing(section):
        return text
    end = "live" if section["live"] else "not live"
    bad = "; ".join(section["bad"]) or "nothing"
    return (
        f"A daemon with every key at its default in a control group of {section['quota']:g} of a processor and"
        f" {section['memory_mib']} MiB. The version was {end} after {section['live_seconds']:.0f} s"
        f" ({section['workers_because']}). Two clients had {section['answers']} answers, the longest after"
        f" {section['longest_seconds']:.1f} s; {len(section['failures'])} failed. Memory at its peak:"
        f" {section['peak_mib']} MiB, {section['peak_with_cache_mib']} MiB with page cache; killed for it:"
        f" {section['oom_kills']}. Rejected, ended or alerted: {bad}.\n"
    )


def fleet(section: dict[str, Any]) -> str:
    if text := _missing(section):
        return text
    rounds = section["rounds"]
    both = [[r[f"{who}_seconds"] for r in rounds] for who in ("ours", "bare")]
    rows = [
        ["modelward, with digests and rename", sums.spread(both[0]).text(), sums.ratios(*both).text()],
        ["NATS's own client, bare", sums.spread(both[1]).text(), "1.00"],
    ]
    text = f"{section['megabytes']} MiB from NATS to {section['machines']} machines at once, all on this one.\n\n"
    return text + table(("", "s", "times"), rows)


def image(section: dict[str, Any]) -> str:
    if text := _missing(section):
        return text + "\nWhat `make image` printed last is in [container.md](container.md#build).\n"
    rows = [
        (f"`EXTRAS={extras}`", f"{found['files_mb']:.0f}", f"{found['compressed_mb']:.0f}")
        for extras, found in section["images"].items()
    ]
    return table(("image", "files, MB", "compressed, MB"), rows)
