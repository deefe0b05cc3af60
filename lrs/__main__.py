"""The command `griffel`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

import click

COMMANDS = {
    "serve": ("lrs.cli.serve", "serve", "Run the record store."),
    "status": ("lrs.cli.status", "status", "Say how far the log and each view are."),
    "credentials": ("lrs.cli.credentials", "credentials", "Make, list and revoke keys."),
    "import": ("lrs.cli.import_statements", "import_statements", "Bring statements in, from a file or another store."),
    "export": ("lrs.cli.export", "export", "Write statements out."),
    "courses": ("lrs.cli.courses", "courses", "Show courses, and where everyone stands."),
    "views": ("lrs.cli.views", "views", "List views, build one anew, print one."),
    "dead-letters": ("lrs.cli.dead_letters", "dead_letters", "Look after events that could not be applied."),
    "erase": ("lrs.cli.erase", "erase", "Forget a learner, and prove it."),
    "consent": ("lrs.cli.decisions", "consent", "Record consent given or withdrawn."),
    "restrict": ("lrs.cli.decisions", "restrict", "Hide a learner from everybody else."),
    "unrestrict": ("lrs.cli.decisions", "unrestrict", "Show a restricted learner again."),
    "hold": ("lrs.cli.hold", "hold", "Keep what may not be destroyed."),
    "retention": ("lrs.cli.retention", "retention", "Forget what is past its term."),
    "keys": ("lrs.cli.keys", "keys", "Rotate keys, and list them."),
    "topics": ("lrs.cli.topics", "topics", "Make and check the topics on Kafka."),
    "relay": ("lrs.cli.relay", "relay", "Copy the log to Kafka."),
    "consume": ("lrs.cli.consume", "consume", "Compute views from the log on Kafka."),
    "backup": ("lrs.cli.backup", "backup", "Copy log and vault, apart."),
    "restore": ("lrs.cli.restore", "restore", "Bring back a backup, or the log from Kafka."),
    "doctor": ("lrs.cli.doctor", "doctor", "Look for personal values in every store."),
    "demo": ("lrs.cli.demo", "demo", "Play a school term against a running server."),
}


class Griffel(click.Group):
    """Commands that are loaded when they are named, so that none waits for another's libraries."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands, in the order in which one needs them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(cls=Griffel, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    version=None, package_name="griffel", prog_name="griffel", message=f"griffel {version('griffel')}"
)
def main(**_: Any) -> None:
    """Griffel: a learning record store for people who must be able to forget.

    \b
    Start one:          griffel serve
    Give it a term:     griffel demo --key … --secret …
    Bring statements:   griffel import statements.ndjson --key … --secret …

    Every option is also an environment variable, GRIFFEL_… (see each command's --help).
    """


if __name__ == "__main__":
    main()
