"""What scripts/compare and scripts/gpu-report share: starting programs, numbers in words, versions, and records."""

import argparse
import itertools
import json
import math
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "benches" / "peers"
RECORDS = ROOT / "benches" / "records"


class Failure(Exception):
    """A program did not run, or not as it should have; the message says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def numbers(text):
    return [positive(part) for part in text.split(",")]


def in_words(value):
    """Three digits that mean something, without an exponent."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{min(max(digits, 0), 4)}f}"


# ---- programs


def run(command, **options):
    """The finished process. A program that is not there is a Failure like any other."""
    try:
        return subprocess.run([str(part) for part in command], text=True, check=False, **options)
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from None


def build(arguments, program):
    """Builds with cargo, whose messages go on to stderr, and returns the path of the program."""
    say(f"Building {program}.")
    command = ["cargo", *arguments, "--release", "--locked", "--message-format", "json-render-diagnostics"]
    built = run(command, stdout=subprocess.PIPE)
    if built.returncode:
        raise Failure(f"cargo {arguments[0]} failed with exit code {built.returncode}")
    # Cargo says itself where the program lies, wherever its target folder is.
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["target"]["name"] == program:
            return message["executable"]
    raise Failure(f"cargo built no program {program}")


def last_words(stderr):
    """The line that says what went wrong: the last one that is no hint about backtraces."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("note:")]
    return lines[-1] if lines else "no message"


def output_of(*command):
    """What a command prints, or None where it cannot run."""
    try:
        finished = run(command, capture_output=True)
    except Failure:
        return None
    return finished.stdout.strip() if finished.returncode == 0 else None


# ---- records


def found_in(name, pattern):
    """The first group of a pattern in a file of this checkout, or None."""
    try:
        found = re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
    except OSError:
        return None
    return found and found.group(1)


def checkout():
    """The versions of what lies in this checkout, as far as they can be known."""
    changes = output_of("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no")
    return {
        "retrospect": found_in("Cargo.toml", r'^version = "(.*)"'),
        "commit": output_of("git", "-C", ROOT, "rev-parse", "HEAD"),
        "uncommitted_changes": changes if changes is None else bool(changes),
        "wgpu": found_in("Cargo.lock", r'^name = "wgpu"\nversion = "(.*)"'),
        "rustc": output_of("rustc", "--version"),
    }


def record_path(folder, where, now):
    """Where the record of a machine and a day goes, without its ending. A second one of that day does not replace the first."""
    slug = re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{slug}-{now:%Y-%m-%d}"
    for number in itertools.count(1):
        path = folder / (stem if number == 1 else f"{stem}-{number}")
        # Names have dots in them, which with_suffix would cut.
        if not any(path.with_name(path.name + ending).exists() for ending in (".json", ".md", "")):
            return path


def write_json(path, document):
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def shown(path):
    """A path as people write it: from the checkout's root on where it lies there."""
    path = pathlib.Path(path).resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
