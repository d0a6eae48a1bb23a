"""A site file with everything that it names, checked as a whole: drivers, fields, model packages, rules.

Opens nothing but files: the site file and the packages' manifests.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_agent.config.folders import Outside
from edge_agent.config.load import Site, examine_site
from edge_agent.config.names import head, names
from edge_agent.config.problems import ConfigError, Problem, Severity, listed
from edge_agent.config.site import ModelConfig, SiteConfig, SourceConfig
from edge_agent.drivers import DriverConfigs, driver
from edge_agent.durations import parse_duration
from edge_agent.errors import Rejected
from edge_agent.inference.manifest import WindowInput, output_types
from edge_agent.inference.package import Package, load_package
from edge_agent.plan import Doubts, LaneSpec, Plan, PlanError, PlanProblem, make_plan
from edge_agent.ports import FieldSpec

_HERE = Path(__file__).resolve().parent
MODELS_DIR = next((d for d in (_HERE / "models", _HERE.parent / "models") if d.is_dir()), _HERE / "models")
"""The project's own packages: in the wheel, or in a checkout."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """All that is needed to run a site. `fields` by source, then by `field` or `stream.field`."""

    site: SiteConfig
    sha256: str
    fields: dict[str, dict[str, FieldSpec]]
    packages: dict[str, Package]
    plan: Plan
    warnings: tuple[Problem, ...]


def assemble(path: Path) -> Assembly:
    """Raises ConfigError with every problem of the file, its packages and its rules in one go."""
    examined = examine_site(path, DriverConfigs(), models_dir=MODELS_DIR, fields_of=fields_of)
    site = examined.site
    if site is None:
        raise ConfigError(examined.problems)
    problems = list(examined.problems)
    fields = {source.name: fields_of(source) for source in site.config.source}
    packages = _packages(site, problems)
    lanes = {model.name: _lane(model, packages[model.name]) for model in site.config.model if model.name in packages}
    doubts = _doubts(site, lanes, failed=any(p.severity == "error" for p in problems))
    try:
        plan, found = make_plan(site.config, fields, lanes, doubts)
    except PlanError as e:
        problems = _merged(problems, _placed(site, e.problems))
        raise ConfigError((*problems, *_unchecked(path, doubts))) from e
    problems = _merged(problems, _placed(site, found))
    if any(p.severity == "error" for p in problems):
        raise ConfigError((*problems, *_unchecked(path, doubts)))
    sha256 = hashlib.sha256(msgspec.json.encode(site.tables)).hexdigest()
    return Assembly(site.config, sha256, fields, packages, plan, tuple(problems))


def _doubts(site: Site, lanes: dict[str, LaneSpec], *, failed: bool) -> Doubts:
    """What a table that is wrong would define, a model without its package would give, or a window over such."""
    models = {model.name for model in site.config.model} - lanes.keys()
    windows = names(site.tables, "signal")
    return Doubts(lambda name: failed and (head(name) in models or name in windows or site.read.doubts(name)))


def _unchecked(path: Path, doubts: Doubts) -> list[Problem]:
    """Rules are typed by the tables: one that reads what a wrong table would define cannot be judged."""
    if not doubts.met:
        return []
    reason = f"what reads {listed(list(doubts.met))} was not checked"
    return [Problem(str(path), 0, None, "", reason, "correct these first", "warning")]


def fields_of(source: SourceConfig) -> dict[str, FieldSpec]:
    """The fields that the driver knows by itself, and those of the site file over them."""
    module = driver("source", source.kind)
    known = module.fields(source.driver) if hasattr(module, "fields") else {}
    return {**known, **source.fields}


def _packages(site: Site, problems: list[Problem]) -> dict[str, Package]:
    packages = {}
    for i, model in enumerate(site.config.model):
        try:
            package = load_package(site.package_directory(model))
        except Rejected as e:
            problem = site.problem(("model", i, "package"), e.message, e.hint)
            # it takes the place of a warning that the loader had about the same key
            problems[:] = [p for p in problems if (p.line, p.key) != (problem.line, problem.key)]
            problems.append(problem)
        except Outside:
            continue  # said already, with its hint
        else:
            packages[model.name] = package
            problems += _input_problems(site, i, model, package)
    return packages


def _input_problems(site: Site, i: int, model: ModelConfig, package: Package) -> list[Problem]:
    takes, name = package.manifest.input, package.manifest.name
    key = ("model", i, "input")
    if isinstance(takes, WindowInput) != isinstance(model.input, tuple):
        wants = "a list of fields" if isinstance(takes, WindowInput) else "a camera"
        return [site.problem(key, f"{name} takes {wants}", 'such as input = ["motor.temp"] or input = "cam"')]
    if isinstance(takes, WindowInput) and len(model.input) != takes.channels:
        return [site.problem(key, f"{name} takes {takes.channels} fields, here are {len(model.input)}")]
    return []


def _lane(model: ModelConfig, package: Package) -> LaneSpec:
    takes = package.manifest.input
    outputs, stale_ns = output_types(package.manifest), parse_duration(model.stale_after)
    if isinstance(takes, WindowInput):
        return LaneSpec(model.name, outputs, tuple(model.input), takes.length, takes.stride, stale_ns)
    return LaneSpec(model.name, outputs, stale_ns=stale_ns)


def _placed(site: Site, problems: tuple[PlanProblem, ...]) -> list[Problem]:
    """But for what half a rule as a whole would be blamed for: what is missing may be in the other half."""
    placed = []
    for p in problems:
        if p.line or p.key[0] != "rule" or p.key[1] not in site.read.halves:
            severity: Severity = "error" if p.is_error else "warning"
            placed.append(site.problem(p.key, p.reason, p.hint, severity, at=(p.line, p.col) if p.line else None))
    return placed


def _merged(problems: list[Problem], more: list[Problem]) -> list[Problem]:
    """What two checks found at the same place is said once."""
    said = {(p.line, p.key) for p in problems}
    return problems + [p for p in more if (p.line, p.key) not in said]
