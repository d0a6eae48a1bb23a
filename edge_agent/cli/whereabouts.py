"""Where a site's agent is to be found: its control socket and its data, from the site file or the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge_agent.errors import ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path

RUN_DIR = "/run/edge-agent"
DATA_DIR = "/var/lib/edge-agent"


class Whereabouts(NamedTuple):
    socket: Path
    store: Path


def whereabouts(site: Path | None, socket: Path | None, data_dir: Path | None) -> Whereabouts:
    """What is given by hand goes before what SITE says.

    Of SITE only `[agent]` is looked at: a file that the agent would refuse still tells where it is. Raises Fatal.
    """
    from pathlib import Path

    agent = _agent_table(site) if site else {}
    run_dir = agent.get("run_dir", RUN_DIR)
    data = data_dir or agent.get("data_dir", DATA_DIR)
    if not isinstance(run_dir, str) or not isinstance(data, str | Path):
        raise Fatal(f"{site}: run_dir and data_dir are texts", hint=f"edge-agent check {site}", exit_code=2)
    return Whereabouts(socket or Path(run_dir) / "agent.sock", Path(data) / "store")


def _agent_table(site: Path) -> dict[str, object]:
    import tomllib

    try:
        agent = tomllib.loads(site.read_text(encoding="utf-8")).get("agent", {})
    except OSError as e:
        hint = "give the path of the site file, or --socket and --data-dir"
        raise Fatal(f"{site}: {e.strerror}", hint=hint, exit_code=ExitCode.CONFIGURATION) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        hint = f"edge-agent check {site}; or give --socket and --data-dir"
        raise Fatal(f"{site}: {e}", hint=hint, exit_code=ExitCode.CONFIGURATION) from e
    return agent if isinstance(agent, dict) else {}
