"""What was to be reached, what was measured, and whether it is met."""

from __future__ import annotations

from typing import Any

from contestants import IN_ROWS, OURS, named
from figures import (
    MOVING,
    Results,
    best_peer,
    grid,
    kinds,
    limit_of,
    median,
    number,
    of,
    peak,
    ratio,
    run_seconds,
    total,
)


def targets(whole: dict[str, Any]) -> list[tuple[str, str, str, bool | None]]:
    """The work, what was to be reached, what was measured, and whether it is met (None: not measured)."""
    results: Results = whole.get("transfers", [])
    rows: list[tuple[str, str, str, bool | None]] = []

    def compare(
        work: str, target: str, value: float | None, ok: bool, digits: int = 2, after: str = ""
    ) -> None:
        rows.append(
            (work, target, number(value, digits, after) or "not measured", None if value is None else ok)
        )

    for payload, times in (("pandas mixed", 3), ("pandas random", 4), ("json records", 5)):
        ours = of(results, payload, "ours, s3")
        peer = best_peer(results, payload)
        theirs = of(results, payload, peer.name) if peer else []
        gain = ratio(total(theirs), total(ours))
        compare(f"{payload}, s3", f"≥ {times} × the fastest peer", gain, (gain or 0) >= times, 1, " ×")
        if payload == "pandas mixed":
            memory = ratio(peak(ours), peak(theirs))
            compare(f"{payload}, s3, peak memory", "≤ 1/3 of that peer's", memory, (memory or 9) <= 1 / 3)
            stored = ratio(median(ours, "stored"), median(theirs, "stored"))
            compare(f"{payload}, s3, stored bytes", "< 1 × that peer's", stored, (stored or 9) < 1)
        if payload == "json records":
            exact = bool(ours) and all(r.get("exact") for r in ours)
            rows.append(
                (
                    f"{payload}, s3",
                    "exact",
                    ("yes" if exact else "no") if ours else "not measured",
                    exact if ours else None,
                )
            )
    for payload in ("numpy", "bytes", "image", "file"):
        bound = limit_of(results, payload, "s3", codec=False)
        value, allowed = (
            ratio(total(of(results, payload, "ours, s3")), bound),
            1.3 if payload == "image" else 1.25,
        )
        compare(f"{payload}, s3", f"≤ {allowed} × the raw transfer", value, (value or 9) <= allowed)
    memory = peak(of(results, "file", "ours, s3"))
    compare(
        "file of 256 MiB, s3",
        "constant memory",
        memory and memory / 1e6,
        (memory or 1e12) <= 64 * 2**20,
        0,
        " MB",
    )
    for payload in ("pandas mixed", "polars mixed", "pandas random"):
        value = ratio(total(of(results, payload, "ours, s3")), limit_of(results, payload, "s3"))
        compare(f"{payload}, s3", "≤ 1.3 × (encode + transfer + decode)", value, (value or 9) <= 1.3)
    value = ratio(
        total(of(results, "bytes", "ours, redis")), limit_of(results, "bytes", "valkey", codec=False)
    )
    compare("bytes, redis", "≤ 1.3 × raw chunked SET/GET", value, (value or 9) <= 1.3)
    _small_targets(whole, rows)
    for backend in ("db.DbXComBackend", "s3.S3XComBackend", "redis.RedisXComBackend"):
        rounds = [r for r in whole.get("at_rest", []) if r.get("backend") == f"{OURS}.{backend}"]
        seconds = median(rounds, "seconds")
        heavy = sorted({name for r in rounds for name in r.get("heavy", [])})
        shown = f"{number(seconds and seconds * 1000, 0, ' ms')}, {', '.join(heavy) or 'none heavy'}"
        met = None if seconds is None else seconds <= 0.05 and not heavy
        rows.append((f"import {backend.split('.')[1]}", "≤ 50 ms, no heavy library", shown, met))
    for (payload,) in kinds([r for r in whole.get("end_to_end", []) if r["way"] == "lazy"], "payload"):
        without = run_seconds(whole, payload, "ours, s3", "without")
        for way in ("lazy", "lazy, not loaded"):
            value = ratio(run_seconds(whole, payload, "ours, s3", way), without)
            compare(f"DAG run, {payload}, {way}", "≤ 1.1 × without payload", value, (value or 9) <= 1.1)
        lazy = run_seconds(whole, payload, "ours, s3", "lazy")
        value = ratio(run_seconds(whole, payload, "ours, s3", "value"), lazy)
        compare(f"DAG run, {payload}, plain", "≤ 1.3 × lazy", value, (value or 9) <= 1.3)
    _scheduled_targets(whole, rows)
    return rows


def _scheduled_targets(whole: dict[str, Any], rows: list[tuple[str, str, str, bool | None]]) -> None:
    """What consumers wait for under the real scheduler, and the memory that they take."""
    found = whole.get("scheduled", [])

    def figure(contestant: str, payload: str, way: str, field: str = "seconds") -> float | None:
        wanted = (contestant, payload, way)
        return median([r for r in found if (r["contestant"], r["payload"], r["way"]) == wanted], field)

    def add(work: str, target: str, value: float | None, most: float) -> None:
        met = None if value is None else value <= most
        rows.append((work, target, number(value) or "not measured", met))

    for (payload,) in kinds([r for r in found if r["way"] == "value"], "payload"):
        plain, lazy = (figure("ours, s3", payload, way) for way in ("value", "lazy"))
        add(
            f"scheduler, {payload}, plain: until the consumer has it", "≤ 1.3 × lazy", ratio(plain, lazy), 1.3
        )
        peaks = [figure("ours, s3", payload, way, "peak_kib") for way in ("value", "without")]
        value = figure("ours, s3", payload, "without", "value_kib")
        above = peaks[0] - peaks[1] if peaks[0] is not None and peaks[1] is not None else None
        add(
            f"scheduler, {payload}, plain: memory of the consumer",
            "≤ 1.2 × the value",
            ratio(above, value),
            1.2,
        )
    for way in dict.fromkeys(r["way"] for r in found if r["payload"] == "small"):
        ours, stock = (figure(name, "small", way) for name in (IN_ROWS, "Airflow default"))
        add(f"scheduler, {way} small tasks", "≤ 1.05 × stock", ratio(ours, stock), 1.05)


def _small_targets(whole: dict[str, Any], rows: list[tuple[str, str, str, bool | None]]) -> None:
    """Requests of small values, and the time that is not the requests'."""
    results: Results = whole.get("transfers", [])
    limits = of(results, "small dict", "limit")
    for name in ("ours, s3", "ours, redis"):
        moving = MOVING[named(name).server]
        trips = [r for r in whole.get("trips", []) if r["contestant"] == name and "push" in r]
        for way, raw, allowed in (("push", moving[0], 2), ("pull", moving[1], 1)):
            counted = next((r[way] for r in trips if r["payload"] == "small dict"), None)
            seconds, one = median(of(results, "small dict", name), way), median(limits, raw)
            target = f"≤ {allowed} round trips + 0.3 ms"
            if counted is None or seconds is None or one is None:
                rows.append((f"small dict, {name[6:]}, {way}", target, "not measured", None))
                continue
            own = max(seconds - counted * one, 0) * 1000
            shown = f"{counted}; {seconds * 1000:.2f} ms, {own:.2f} of them our own"
            met = counted <= allowed and seconds <= allowed * one + 0.0003
            rows.append((f"small dict, {name[6:]}, {way}", target, shown, met))
        counted = next((r["pull"] for r in trips if r["payload"] == "mapped@20"), None)
        # S3 has no request for several objects. Redis has pipelines.
        allowed = 20 if name == "ours, s3" else 1
        target = f"as few requests as the API allows: {allowed}"
        rows.append(
            (
                f"20 mapped, {name[6:]}, pull",
                target,
                "not measured" if counted is None else f"{counted:,}",
                None if counted is None else counted <= allowed,
            )
        )


def targets_table(whole: dict[str, Any]) -> str:
    """The targets as a Markdown table."""
    said = {True: "yes", False: "**no**", None: ""}
    rows = [[work, target, measured, said[met]] for work, target, measured, met in targets(whole)]
    return "## Targets\n\n" + grid(["work", "to reach", "measured", "met"], rows)
