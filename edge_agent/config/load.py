"""load_site: a site file to frozen configuration, or every problem of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.config.document import parse_document
from edge_agent.config.drivers import Drivers
from edge_agent.config.folders import PackageFolders
from edge_agent.config.inline_secrets import check_secrets
from edge_agent.config.names import check_names
from edge_agent.config.places import Places
from edge_agent.config.problems import ConfigError, KeyPath, Problem, Severity
from edge_agent.config.readable import Readable, readable
from edge_agent.config.references import FieldsOf, check_references, known_names
from edge_agent.config.report import Report
from edge_agent.config.sense import check_sense
from edge_agent.config.site import AgentConfig, ModelConfig, SiteConfig
from edge_agent.config.site_file import Unreadable, read_site_file
from edge_agent.config.walk import Walk


@dataclass(frozen=True, slots=True)
class Site:
    """A configuration and where each of its keys stands, for those who find problems later, such as in rules. With
    errors in the file it is what could be read beside them.

    `repr` leaves out what could hold a password in a URL.
    """

    config: SiteConfig = field(repr=False)
    file: str
    places: Places = field(repr=False)
    folders: PackageFolders
    tables: dict[str, object] = field(repr=False)
    read: Readable = field(repr=False)
    warnings: tuple[Problem, ...] = ()

    def problem(
        self, key: KeyPath, reason: str, hint: str = "", severity: Severity = "error",
        *, at: tuple[int, int] | None = None,
    ) -> Problem:  # fmt: skip
        """A problem at `("rule", 2, "when")` of `config`; `at` is line and column, from 1, inside the text of that
        key."""
        report = Report(self.file, self.places, self.tables)
        if len(key) > 1 and isinstance(key[1], int):
            key = (key[0], self.read.kept[str(key[0])][key[1]], *key[2:])
        report.add(key, reason, hint, severity, at=at)
        return report.problems[0]

    def package_directory(self, model: ModelConfig) -> Path:
        """Where the model's package is, or would be. Raises folders.Outside if a link has since been bent."""
        return self.folders.resolve(model.package)


@dataclass(frozen=True, slots=True)
class Examined:
    """What `check` looks at. `site` is there whenever the file has tables, also with problems in and between them, so
    that packages and rules are checked in the same go."""

    site: Site | None
    problems: tuple[Problem, ...]

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


def load_site(
    path: Path, drivers: Drivers, *, models_dir: Path | None = None, fields_of: FieldsOf | None = None
) -> Site:
    """The site at `path`. `models_dir` is the project's `models/`; `fields_of` tells all fields of a source.

    Raises ConfigError with every problem; warnings alone are in `Site.warnings`. Opens nothing but the file.
    """
    examined = examine_site(path, drivers, models_dir=models_dir, fields_of=fields_of)
    if examined.site is None or examined.failed:
        raise ConfigError(examined.problems)
    return examined.site


def examine_site(
    path: Path, drivers: Drivers, *, models_dir: Path | None = None, fields_of: FieldsOf | None = None
) -> Examined:
    """The same without raising."""
    try:
        text = read_site_file(path)
    except Unreadable as e:
        return Examined(None, (Problem(str(path), e.line, e.column, "", e.reason, e.hint),))
    document = parse_document(text)
    report = Report(str(path), document.places, document.tables)
    for fault in document.faults:
        report.put(fault.line, fault.column, fault.path, fault.reason, fault.hint)
    walk = Walk(document, drivers, report, path.parent.absolute())
    config = walk.build(SiteConfig) if document.tables else None
    folders = _folders(path, walk, models_dir)
    check_secrets(document.tables, report)
    check_sense(walk.built, folders, report)
    if not document.faults:
        # a statement that could not be read may hold the very name that is looked for
        check_names(document.tables, report)
        check_references(document.tables, known_names(document.tables, walk.built, fields_of), report)
    if not document.tables:
        return Examined(None, report.problems)
    read = readable(config, document, walk.built, fields_of)
    site = Site(read.config, str(path), document.places, folders, document.tables, read, report.problems)
    return Examined(site, report.problems)


def _folders(path: Path, walk: Walk, models_dir: Path | None) -> PackageFolders:
    agent = walk.built.get(("agent",))
    data = agent.data_dir if isinstance(agent, AgentConfig) else AgentConfig(gateway="default").data_dir
    return PackageFolders(path.parent.absolute(), models_dir, Path(data))
