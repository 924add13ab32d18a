"""The command line: ``companion data | pretrain | finetune | evaluate | predict | export``.

Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage, 130 stopped by Ctrl-C, 141 nobody
reads the output any more (as with ``| head``).
"""

import argparse
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

DONE, FAILED, INTERRUPTED = 0, 1, 130
CUT_OFF = 141
"""What a shell says of a program that wrote to a pipe without a reader, 128 + SIGPIPE."""
COMMANDS = ("data", "pretrain", "finetune", "evaluate", "predict", "export")
"""Each is a module of this folder."""

EPILOG = """\
from text to a model, in three steps:
  companion data my_texts/ --out runs/data/mine            # .txt or .jsonl files
  companion pretrain book/recipes/bert-book-imdb.toml --set data.corpus=runs/data/mine --out runs/mine
  companion evaluate runs/mine

and to a classifier, from texts with labels:
  companion finetune book/recipes/imdb-full.toml --set data.source=mine.csv --out runs/classes
  companion predict "A quiet film, and a good one." --model runs/classes

`companion COMMAND --help` says more. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C, 141 nobody
reads the output any more.
"""


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser with these commands."""
    parser = argparse.ArgumentParser(
        prog="companion",
        description="Prepare text, pretrain small Transformers on it, fine-tune them, and see what they have learned.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in commands:
        import_module(f"companion.cli.{name}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    if arguments is None:  # a program of its own: what it has imported stays, and is no garbage to look for at the end
        gc.freeze()
        arguments = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        _replace_unknown(stream)
    asked = [name for name in COMMANDS if name in arguments[:1]]
    options = build_parser(asked or COMMANDS).parse_args(arguments)  # the others' modules take time to import
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            code: int = options.run(options)
            print(end="", flush=True)  # what cannot be written is noticed here, not when Python ends
        except KeyboardInterrupt:
            print("companion: stopped", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # as `| head` does when it has enough: no failure
            _discard_output()
            return CUT_OFF
        except (ValueError, OSError, FloatingPointError) as error:
            print(f"companion: error: {_one_line(error)}", file=sys.stderr)
            return FAILED
    return code


def _replace_unknown(stream: Any) -> None:
    """Let a stream write ? for a character that its encoding lacks, where it would fail."""
    if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


def _discard_output() -> None:
    """Send what is left to write nowhere: Python writes it when it ends, and would complain."""
    with suppress(OSError, ValueError):  # a stream of another kind has no descriptor
        descriptor = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"companion: warning: {' '.join(str(message).split())}", file=sys.stderr)
