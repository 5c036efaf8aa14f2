"""What `bertjax plan --topology` found, for people."""

from typing import Any

_MFU = 0.4  # what one may hope for


def plan_text(figures: dict[str, Any]) -> str:
    """A few lines with the figures of `plan` and `plan_on`."""
    mesh = " x ".join(f"{name} {size}" for name, size in figures["mesh"].items())
    lines = [
        f"{figures['topology']}: {figures['chips']} chips, {figures['devices']} devices, "
        f"mesh {mesh}, {figures['rows_per_chip']:g} rows of {figures['length']} per chip",
        f"{figures['parameters']:,} parameters, {figures['model_flops']:.3e} FLOPs per step",
        "",
        _memory_line(figures),
        *(f"    {kind:18} {_size(size):>9}" for kind, size in figures["memory"].items()),
    ]
    if "largest_rows_per_chip" in figures:
        lines.append(f"most rows per chip that fit: {figures['largest_rows_per_chip']}")
    lines += ["", *_time_lines(figures), *_whole_run(figures), "", "sent by a device, per step:"]
    lines += [
        f"    {group['kind']:18} {_size(group['bytes']):>9} in {group['count']:3}  "
        f"{group['source']}"
        for group in figures["collectives"]
    ] or ["    nothing"]
    lines += ["", *(f"warning: {warning}" for warning in figures["warnings"])]
    lines.append(f"compiled in {figures['compile_seconds']} s; nothing was run")
    return "\n".join(lines)


def _memory_line(figures: dict[str, Any]) -> str:
    used, there = figures["memory_per_chip"], figures["chip_memory"]
    if there is None:
        return f"memory per chip: {_size(used)}"
    verdict = "fits" if figures["fits"] else "DOES NOT FIT"
    return f"memory per chip: {_size(used)} of {_size(there)}, {verdict}"


def _time_lines(figures: dict[str, Any]) -> list[str]:
    """The compiler's estimate and what it leaves out."""
    if figures["estimated_seconds"] is None:
        return ["the compiler estimates no time here"]
    left_out = ", ".join(f"{count} {kind}" for kind, count in figures["not_estimated"].items())
    return [
        f"computing: at least {figures['estimated_seconds'] * 1e3:.1f} ms by the compiler's own "
        "estimate, which no hardware has confirmed",
        f"    not in it: {left_out or 'nothing'}; waiting for memory",
    ]


def _whole_run(figures: dict[str, Any]) -> list[str]:
    """Hours at the peak, and at `_MFU` of it."""
    if (peak := figures["peak_flops"]) is None:
        return []
    hours = figures["total_model_flops"] / peak / 3600
    return [
        f"the whole run: {figures['total_model_flops']:.3e} FLOPs, {hours:.1f} hours at the chips' "
        f"peak, {hours / _MFU:.1f} at an MFU of {_MFU:.0%}"
    ]


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**29 else f"{count / 2**20:.1f} MiB"
