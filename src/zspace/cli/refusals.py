"""What the argument parser refuses, as one sentence with the remedy, like any other user's error.

Tyro draws a box; it also tells of the error before it does, by `tyro._errors`, which is private:
where a version of tyro has no such module, or tells of an error that is unknown here, its box
stays.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zspace.system.errors import UserError, nearest

PYTHON_ONLY = ("reporter", "recipe_options")
WANTED = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path", "STR": "a text"}
"""What an option takes, by tyro's word for it."""


@contextlib.contextmanager
def in_sentences(args: Sequence[str]) -> Iterator[None]:
    """Within, what tyro refuses is raised as a UserError.

    args: those that it parses, the command first.
    """
    try:
        from tyro import _errors
    except ImportError:
        yield
        return

    def told(event: Any) -> None:
        if text := _sentence(event, _errors, args):
            raise UserError(text)

    with _errors.on_parse_error(told):
        yield


def _sentence(event: Any, errors: Any, args: Sequence[str]) -> str:
    """The error in one sentence; "" for one that is unknown here."""
    command = " ".join(["zspace", *_command(args)])
    if isinstance(event, errors.UnrecognizedArgs):
        return _unrecognised(event.tokens[0], command, args)
    if isinstance(event, errors.InvalidChoice):
        remedy = _choose(event.value, event.choices)
        return f"{_name(event.argument)} is '{event.value:.60}': {remedy}"
    if isinstance(event, errors.BadValue):
        return f"{_name(event.argument)} has no value: {_give(event.argument)}"
    if isinstance(event, errors.MissingArgs):
        names = [_name(missing.arg) for missing in event.missing_arguments]
        return f"'{command}' needs {' and '.join(names)}: see '{command} --help'"
    if isinstance(event, errors.MissingSubcommand):
        return f"'{command}' needs one of {', '.join(event.subcommand_spec.parser_from_name)}"
    if isinstance(event, errors.InstantiationFailure):
        if event.argument is None:
            return f"{' '.join(str(event.message).split())}: see '{command} --help'"
        given = _given(event.argument.lowered.name_or_flags, args) or "not understood"
        return f"{_name(event.argument)} is {given}: {_give(event.argument)}"
    return ""


def _name(argument: Any) -> str:
    """An argument as a person types it."""
    name = argument.lowered.metavar if argument.is_positional() else argument.display_name()
    return str(name)


def _given(flags: Sequence[str], args: Sequence[str]) -> str:
    """The values that follow one of these flags, in quotes."""
    for i, word in enumerate(args):
        flag, equals, value = word.partition("=")
        if flag in flags:
            rest = itertools.takewhile(lambda one: not one.startswith("--"), args[i + 1 :])
            return f"'{value if equals else ' '.join(rest):.60}'"
    return ""


def _command(args: Sequence[str]) -> list[str]:
    """The words of the arguments that name a command, and a recipe that is to be trained."""
    most = 2 if args[:1] == ["train"] else 1
    return list(itertools.takewhile(lambda word: not word.startswith("-"), args[:most]))


def _unrecognised(token: str, command: str, args: Sequence[str]) -> str:
    """token: the first that is not known."""
    if not token.startswith("-"):
        return f"'{command}' takes no '{token:.60}' there: see '{command} --help'"
    name = token.partition("=")[0]
    if command == "zspace train":
        return "'zspace train' needs a recipe: 'zspace recipes' lists them"
    train = args[:1] == ["train"]
    if train and (others := _offering(name)):
        return f"option '{name}' of '{command}' is unknown: use {' or '.join(others)}"
    near = nearest(name, flags_of(_command(args)))
    hint = f"did you mean '{near}'? " if near else ""
    every = "--help-all" if train else "--help"
    return f"option '{name:.60}' of '{command}' is unknown: {hint}'{command} {every}' lists all"


def _offering(flag: str) -> list[str]:
    from zspace.models import recipes

    return recipes.offering(flag.lstrip("-").replace("-", "_"))


def flags_of(command: Sequence[str]) -> list[str]:
    """The options of a command, or of training a recipe, as they are typed."""
    if list(command[:1]) == ["train"]:
        from zspace.models import recipes
        from zspace.runs.config import OUTPUT, OWN, RESERVED

        choices = recipes.choices_of(recipes.find(command[1])) if command[1:] else None
        names = [n for n in RESERVED if n not in OUTPUT]
        names += [
            "out",
            "from",
            "config",
            "print-config",
            "save-every",
            "json",
            "quiet",
            "workers",
        ]
        if choices:
            names += [OWN * (n in RESERVED) + n for n in choices.own] + [*choices.network]
    else:
        from zspace.cli.commands import COMMANDS

        known = [COMMANDS[name] for name in command[:1] if name in COMMANDS]
        names = [name for one in known for name in inspect.signature(one).parameters]
    return [f"--{name.replace('_', '-')}" for name in names]


def _choose(value: str, choices: Iterable[str]) -> str:
    names = list(choices)
    near = nearest(value, names)
    hint = f"did you mean '{near}'? " if near else ""
    return f"{hint}choose from: {', '.join(names)}"


def _give(argument: Any) -> str:
    """What an option takes, as a request."""
    metavar = str(argument.lowered.metavar or "").strip()
    return f"give {WANTED.get(metavar, metavar or 'a value')}"
