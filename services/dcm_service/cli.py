# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The command line: the five processes, and `token`, `check` for operators."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from dcm_service import __version__, snowflake, tokens, trust
from dcm_service.config import PROCESSES, Process, Settings, load
from dcm_service.errors import ServiceError
from dcm_service.secretfiles import SecretFiles

MODULES: dict[Process, str] = {
    "gateway": "dcm_service.gateway.app",
    "bot": "dcm_service.bot",
    "worker": "dcm_service.worker",
    "dashboard": "dcm_service.dashboard.app",
    "discord-fake": "dcm_service.discord_fake.app",
}


def _guild(text: str) -> int:
    try:
        return snowflake.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m dcm_service", description="The reference service of the DCM platform.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for process in PROCESSES:
        commands.add_parser(process, help=f"run the {process}")
    token = commands.add_parser("token", help="print an API token")
    token.add_argument("--guild", type=_guild, action="append", required=True, help="a guild the token is for; may be repeated")
    token.add_argument("--ttl", default="1h", help="how long it is valid: 90s, 15m, 1h, 7d (default: 1h)")
    token.add_argument("--subject", default="operator", help="who it is for; appears in logs (default: operator)")
    check = commands.add_parser("check", help="print what is wrong with settings and secret files; status 1 when something is")
    check.add_argument("process", choices=PROCESSES, help="the process to check for")
    return parser


def _run(process: Process) -> int:
    settings = load(process)
    trust.use_bundled_authorities()
    from dcm_service import runtime  # only now: libraries read the authorities when they are imported

    return runtime.run(process, settings, importlib.import_module(MODULES[process]).run)


def _token(arguments: argparse.Namespace) -> int:
    directory = Settings.model_validate({}).secrets_dir
    key = SecretFiles(Path(directory)).signing_keys()[0]
    print(tokens.mint(key, arguments.subject, arguments.guild, tokens.parse_ttl(arguments.ttl)))
    return 0


def _check(process: Process) -> int:
    settings = load(process)
    problems = SecretFiles(settings.secrets_dir).problems(process)
    if problems:
        raise ServiceError("\n".join(problems))
    print(f"{process}: settings and secret files are in order")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run a command; what is wrong goes to stderr, one line each, and gives status 1."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "token":
            return _token(arguments)
        if arguments.command == "check":
            return _check(arguments.process)
        return _run(arguments.command)
    except ServiceError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
