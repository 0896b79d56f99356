"""The command line: thin. Flags come from signatures; heavy imports wait until they are needed."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TextIO, Union, cast, get_args, get_origin

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo
from tyro.extras import subcommand_cli_from_dict

from zspace._version import __version__
from zspace.cli.commands import COMMANDS
from zspace.cli.commands.training import train_command
from zspace.system import renamed
from zspace.system.bars import lines
from zspace.system.errors import FEWER, UserError, nearest, ran_out, unknown
from zspace.system.signals import Unheard, deafen

TOGETHER = ("train", "resume", "repeat")
SPEAKING = (*TOGETHER, "study", "explore")
"""Commands that say by themselves how far they are."""
ABOUT_DATA = ("list", "info")
"""What `zspace data` does; of anything else it says what it is."""
ABOUT = (
    "Build, train, compare and explore autoencoders from parts. Every command also takes --import "
    "MODULE or --import FILE.py, which loads recipes of your own."
)


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Exit codes: 0; 2 for a user's error; 1 for an error of ours; 130, 143 and 129 after SIGINT,
    SIGTERM and SIGHUP. If the reader of the output goes away, as `head` does, that is no error.
    """
    args, imports = _imports(list(sys.argv[1:] if argv is None else argv))
    _fit_code_page()
    # By default OpenMP's threads wait for each other at full speed for milliseconds, which costs
    # nothing on an idle machine and slows a busy one many times over. Torch's import reads this.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    warnings.formatwarning = _one_line  # type: ignore[assignment] # it reads one argument
    try:
        for target in imports:
            from zspace.models.recipes import import_recipes  # imports torch: only where wanted

            import_recipes(target)
        code = _main(renamed.flags(args))
        sys.stdout.flush()
    except UserError as error:
        if runs := getattr(error, "runs", ()):  # several, where the command takes one
            error.args = (f"{error}, for example: zspace {args[0]} {shlex.quote(str(runs[0]))}",)
        _say(error)
        return _left(error)
    except (MemoryError, RuntimeError) as error:  # torch raises either, or one of its own kind
        if not ran_out(error):
            raise
        _say(f"the memory ran out: {FEWER}")
        return _left(error)
    except KeyboardInterrupt as stop:
        _say(stop if str(stop) else "stopped before there was anything to save")
        return _left(stop, 128 + int(getattr(stop, "number", signal.SIGINT)))
    except BrokenPipeError:
        deafen(sys.stdout)
        return 0
    return code


def _fit_code_page() -> None:
    """Let what is printed fit the code page of the terminal, whatever that is.

    Boxes are drawn in ASCII where it has none; other letters that it lacks become a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None)
        if not encoding or not hasattr(stream, "reconfigure"):
            continue
        try:
            BOXES.encode(encoding)
        except UnicodeEncodeError:
            stream.reconfigure(errors="replace")
            tyro._experimental_options["utf8_boxes"] = False


BOXES = "╭─│╰╮╯"


def _imports(args: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without --import MODULE|FILE.py, which every command takes, and those."""
    rest: list[str] = []
    imports: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--import":
            imports.append(next(words, ""))
        elif word.startswith("--import="):
            imports.append(word.partition("=")[2])
        else:
            rest.append(word)
    return rest, imports


def _say(error: BaseException | str) -> None:
    """One sentence on standard error; of several processes, the first alone says it."""
    if isinstance(error, BaseException) and _first_says(error):
        time.sleep(3)  # torchrun ends all processes with the first that ends: it must speak
        return
    print(f"zspace: {error}", file=cast(TextIO, Unheard(sys.stderr)), flush=True)


def _first_says(error: BaseException) -> bool:
    """Whether this is one of several processes, and the first of them says what is wrong."""
    if os.environ.get("RANK", "0") == "0":
        return False
    from zspace.system.distributed import RankError

    return not isinstance(error, RankError)


def _left(error: BaseException, code: int = 2) -> int:
    """The exit code; the process ends at once where another one of this training is gone."""
    if os.environ.get("RANK"):
        from zspace.system import distributed

        stopped = isinstance(error, KeyboardInterrupt) and not distributed.first()
        if stopped or isinstance(error, distributed.RankLost):
            distributed.leave_at_once(code)
    return code


def _one_line(message: Warning | str, *_: object) -> str:
    """A warning as the user should see it: the sentence, without the line of code."""
    return f"zspace: {message}\n"


def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How an option that may be None is read and shown in the help: as if it could not be None."""
    types = get_args(info.type)
    if info.type_origin not in (Union, UnionType) or len(types) != 2 or types[1] is not NoneType:
        return None
    some = replace(info, type=types[0], type_origin=get_origin(types[0]))
    spec = ConstructorRegistry.get_primitive_spec(some)
    assert isinstance(spec, PrimitiveConstructorSpec), info.type
    return replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda v: ["none"] if v is None else spec.str_from_instance(v),
    )


def _is_source(word: str) -> bool:
    """Whether that is a path or a name of data, and no option, word or misspelt word of `data`."""
    if word.startswith("-") or word in ABOUT_DATA:
        return False
    return Path(word).exists() or not nearest(word, ABOUT_DATA)


def _main(args: list[str]) -> int:
    if args[:1] == ["--version"]:
        print(f"zspace {__version__}")
        return 0
    if args[:1] == ["data"] and args[1:] and _is_source(args[1]):
        args = ["data", "info", *args[1:]]
    commands = dict(COMMANDS)
    if args and not args[0].startswith("-") and args[0] not in commands:
        raise unknown("command", args[0], commands)
    if os.environ.get("WORLD_SIZE", "1") != "1" and args[:1] and args[0] not in TOGETHER:
        raise UserError(
            f"'zspace {args[0]}' was started as {os.environ['WORLD_SIZE']} processes "
            f"(WORLD_SIZE), but only {', '.join(TOGETHER)} can use several: start it without "
            "torchrun"
        )
    if args[:1] == ["train"]:
        commands["train"], rest = train_command(args[1:])  # imports torch: only when wanted
        args = [args[0], *rest]
    from zspace.cli.refusals import in_sentences

    if args[:1] and args[0].startswith("--tyro-"):  # completion of a shell, recipes included
        commands["train"], _ = train_command([])
    registry = ConstructorRegistry()
    registry.primitive_rule(_optional)
    silent = not args or args[0] in SPEAKING or bool({"-h", "--help", "--quiet"} & set(args))
    with in_sentences(args), lines(" ".join(["zspace", *args[:1]]), quiet=silent):
        subcommand_cli_from_dict(
            commands,
            prog="zspace",
            description=ABOUT,
            args=args or ["--help"],
            registry=registry,
            config=(OmitArgPrefixes, OmitSubcommandPrefixes, FlagCreatePairsOff),
        )
    return 0
