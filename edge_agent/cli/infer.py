"""`edge-agent infer`: a model package once, by hand, through the same worker process that a lane uses."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import show
from edge_agent.cli.page import Line, Section, laid_out
from edge_agent.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.inference.package import Package

_SHOWN_BOXES = 20


@click.command("infer")
@click.argument("package", type=show.PATH)
@click.argument("file", type=show.FILE)
@click.option("--runs", type=click.IntRange(1, 10_000), default=5, show_default=True, help="For the timing.")
@click.option("--columns", default="", help="Of a table: its columns for the channels, such as temp,load.")
@click.option("--threads", type=click.IntRange(1, 64), help="Default: what the manifest says.")
@click.option("--provider", "providers", multiple=True, help="onnx: such as CUDAExecutionProvider; may be repeated.")
@click.option("--delegate", default="", help="litert: path of a delegate library.")
@click.option("--memory-mb", type=click.IntRange(32, 65536), default=512, show_default=True, help="Of the worker.")
@show.json_option
def command(
    package: Path, file: Path, runs: int, columns: str, threads: int | None, providers: tuple[str, ...],
    delegate: str, memory_mb: int, as_json: bool,
) -> None:  # fmt: skip
    """Run the model of PACKAGE on FILE and show what rules and people would see, and how long it takes.

    PACKAGE is a directory with a manifest.toml, or a name in the project's models/. FILE is a picture for a model
    that takes pictures; for one that takes a window of readings a table (.csv, .tsv; a line is a reading, a column a
    channel; of more lines than the window the newest), or float32, little-endian, channel after channel.

    Exit codes: 0 a valid prediction; 1 the model was refused, failed or gave an invalid one; 2 wrong usage, or a file
    that the model does not take.
    """
    from edge_agent.cli.infer_input import read_input
    from edge_agent.cli.infer_run import Choice, infer
    from edge_agent.inference.package import load_package
    from edge_agent.supervisor import MainSpawner

    loaded = load_package(package_directory(package))
    spawner = MainSpawner()
    wanted = tuple(name.strip() for name in columns.split(",")) if columns else ()
    given = read_input(file, loaded.manifest.input, wanted, spawner)
    choice = Choice(threads or loaded.manifest.threads, providers, delegate, memory_mb)
    outcome = infer(loaded, given, choice, runs, spawner)
    document = {"file": str(file), "input": given.described, **outcome}
    if as_json:
        show.echo_json(document)
    else:
        click.echo("\n".join(laid_out(_page(document, loaded), show.width(), colour=show.in_colour())))
    if not outcome["ok"]:
        sys.exit(ExitCode.FAILURE)


def package_directory(given: Path) -> Path:
    """The directory that is meant. Raises Fatal where there is none, with what is there instead."""
    from edge_agent.assembly import MODELS_DIR

    found = next((path for path in (given, MODELS_DIR / given) if path.is_dir()), None)
    if found is None:
        names = sorted(path.parent.relative_to(MODELS_DIR).as_posix() for path in MODELS_DIR.rglob("manifest.toml"))
        hint = "give a directory with a manifest.toml" + (f", or one of: {', '.join(names)}" if names else "")
        raise Fatal(f"{given}: there is no such package", hint=hint, exit_code=ExitCode.CONFIGURATION)
    if not (found / "manifest.toml").exists():
        versions = sorted(path.parent.name for path in found.glob("*/manifest.toml"))
        hint = f"name a version: {', '.join(versions)}" if versions else "give the directory that holds it"
        raise Fatal(f"{found}: there is no manifest.toml", hint=hint, exit_code=ExitCode.CONFIGURATION)
    return found


def _page(document: dict[str, Any], package: Package) -> list[Section]:
    manifest = package.manifest
    timing = document["latency_ms"]
    title, tone = ("OK", "good") if document["ok"] else ("INVALID", "bad")
    ran = f"p50 {timing['p50']:.3g} ms, worst {timing['max']:.3g} ms of {show.counted(timing['runs'], 'run')}"
    return [
        Section(title, [Line(text=_verdict(document, manifest.name, manifest.version))], tone),
        Section("outputs", [Line(name, text=_told(value)) for name, value in document["outputs"].items()]),
        Section("detail", list(_detail(document["detail"] or {}))),
        Section("input", [Line(text=document["input"])]),
        Section("latency", [Line(text=f"{ran}; the limit is {document['deadline_ms']} ms")]),
        Section("backend", [Line(text=f"{document['backend']}, loaded in {document['load_ms']:.0f} ms")]),
    ]


def _verdict(document: dict[str, Any], name: str, version: str) -> str:
    from pathlib import Path

    said = f"{name} {version} on {Path(document['file']).name}"
    return f"{said}: {document['error']}" if document["error"] else said


def _told(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _detail(detail: dict[str, Any]) -> list[Line]:
    lines = [Line(name, text=_in_words(value)) for name, value in detail.items() if name != "boxes"]
    boxes = detail.get("boxes", [])
    for box in boxes[:_SHOWN_BOXES]:
        corners = ", ".join(f"{corner:.0f}" for corner in box["box"])
        lines.append(Line(box["label"], text=f"{box['score']:.3f} at {corners}"))
    if len(boxes) > _SHOWN_BOXES:
        lines.append(Line(text=f"and {len(boxes) - _SHOWN_BOXES} more, see --json"))
    return lines


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        best = sorted(value.items(), key=lambda item: -item[1])[:10]
        return ", ".join(f"{name}: {score:.3f}" for name, score in best)
    return ", ".join(map(_told, value)) if isinstance(value, list) else _told(value)
