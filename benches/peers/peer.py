"""What the peers in Python share: the command line, the clock, the rows and the document.

A peer imports this, and gives `main` an object with

    name, version     of the library, and `cpu_device`, `gpu_device`: what --device takes, and what rows call the backend
    open(options)     imports the library and opens the device, or calls `give_up`; what the document says of the device
    cells             of GATES, those that it has
    step(size)        a call that does one training step of a size and cell, and gives a loss that `value` reads
    product(form, n)  a call that does one product of two n × n matrices
    set_precision(p)  for those that have another than f32
    finish(result)    waits until the device is done
    value(result)     as a number
    errors            the exceptions that say that a size does not fit
    forget()          gives memory of a failed size back
"""

import argparse
import gc
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time

FORMS = ("nn", "nt", "tn")  # a·b, a·bᵀ, aᵀ·b
SIZE = ("layers", "hidden", "batch", "window")
GATES = {"elman": 1, "gru": 3, "lstm": 4}


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def numbers(text):
    return [positive(part) for part in text.split(",")]


def arguments(peer, precisions):
    parser = argparse.ArgumentParser(
        description=f"Times one training step of a recurrent network in {peer.name}.",
        epilog="Lists are separated by commas; every combination is timed.",
    )
    parser.add_argument("--hidden", type=numbers, default=[256], metavar="LIST")
    parser.add_argument("--batch", type=numbers, default=[32], metavar="LIST")
    parser.add_argument("--window", type=numbers, default=[64], metavar="LIST")
    parser.add_argument("--layers", type=numbers, default=[1], metavar="LIST")
    parser.add_argument("--cell", choices=peer.cells, default="elman")
    parser.add_argument("--input", type=positive, default=64, metavar="N")
    parser.add_argument("--output", type=positive, default=64, metavar="N")
    parser.add_argument("--runs", type=positive, default=5, metavar="N", help="the median counts (default: 5)")
    parser.add_argument(
        "--run-seconds", type=float, default=0.2, metavar="S", help="a run lasts at least so long (default: 0.2)"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="on the CPU; default: all cores")
    parser.add_argument("--device", choices=[peer.cpu_device, peer.gpu_device], default=peer.cpu_device)
    if "tf32" in precisions:
        parser.add_argument("--tf32", action="store_true", help="let CUDA multiply with ten bits of mantissa")
    parser.add_argument("--products", type=numbers, default=[], metavar="LIST", help="time products of square matrices too")
    parser.add_argument(
        "--serve",
        action="store_true",
        help="print the document without rows on one line, and then for each line of standard input, a JSON object with the "
        "numbers of a row and its precision, a line with that row",
    )
    options = parser.parse_args()
    options.precision = "tf32" if getattr(options, "tf32", False) else "f32"
    if options.precision == "tf32" and options.device != peer.gpu_device:
        parser.error(f"--tf32 needs --device {peer.gpu_device}")
    return options


def give_up(message):
    """Exit code 3: this cannot run here, whatever the size."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
    sys.exit(3)


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    if platform.system() == "Darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        if asked.returncode == 0:
            return asked.stdout.strip()
    return platform.processor() or None


def cores():
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def milliseconds(peer, call, options):
    """Of one call, in each of the runs; a run is as many calls as last its seconds, so that the clock's grain and one late
    wake-up do not count."""
    at_least = options.run_seconds

    def seconds(calls):
        start = time.perf_counter()
        for _ in range(calls):
            result = call()
        peer.finish(result)
        return time.perf_counter() - start

    # The first calls choose algorithms and take memory.
    start = time.perf_counter()
    seconds(2)
    while time.perf_counter() - start < at_least:
        seconds(1)
    calls = 1
    while (took := seconds(calls)) < at_least:
        calls = max(2 * calls, math.ceil(1.1 * at_least / took * calls))
    return [seconds(calls) * 1e3 / calls for _ in range(options.runs)]


def flops_of_step(cell, layers, hidden, batch, window, inputs, outputs):
    """Of its products: forward, and twice that backward, less the gradient by the input of the first layer, which nothing
    asks for."""
    rows = window * batch
    sums = GATES[cell] * hidden
    first = 2 * rows * inputs * sums
    forward = first + 2 * rows * (hidden * sums + hidden * outputs) + (layers - 1) * 4 * rows * hidden * sums
    return 3 * forward - first


def times_or_error(peer, make, options):
    """The times and the last result, or why there are none. The sweep goes on with the next size."""
    try:
        call = make()
        times = milliseconds(peer, call, options)
        result = peer.value(call())
        if not math.isfinite(result):
            raise ArithmeticError(f"the result became {result}")
        return times, None
    except (MemoryError, ArithmeticError, *peer.errors) as error:
        message = (str(error) or type(error).__name__).splitlines()[0]
    # Only here, where the error and with it the tensors of the failed size are gone.
    gc.collect()
    peer.forget()
    return None, message


def time_step(peer, size, precision, options):
    """A row of a training step."""
    row = {"backend": options.device, "cell": size.get("cell", "elman"), **{key: size[key] for key in SIZE}}
    row |= {"input": size["input"], "output": size["output"], "precision": precision}
    peer.set_precision(precision)
    times, error = times_or_error(peer, lambda: peer.step(row), options)
    if error:
        return row | {"error": error}
    middle = statistics.median(times)
    flops = flops_of_step(*(row[key] for key in ("cell", *SIZE, "input", "output")))
    row |= {"ms_per_step": middle, "ms_min": min(times), "ms_max": max(times), "runs": len(times)}
    return row | {"tokens_per_s": row["batch"] * row["window"] / middle * 1e3, "gflops": flops / middle / 1e6}


def time_product(peer, form, n, precision, options):
    """A row of a product."""
    row = {"backend": options.device, "form": form, "size": n, "precision": precision}
    peer.set_precision(precision)
    times, error = times_or_error(peer, lambda: peer.product(form, n), options)
    if error:
        return row | {"error": error}
    middle = statistics.median(times)
    row |= {"ms": middle, "ms_min": min(times), "ms_max": max(times), "runs": len(times)}
    return row | {"gflops": 2 * n**3 / middle / 1e6}


def serve(peer, options):
    """Answers requests, one a line, until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        precision = asked["precision"]
        if "form" in asked:
            row = time_product(peer, asked["form"], asked["size"], precision, options)
        else:
            row = time_step(peer, asked, precision, options)
        print(json.dumps(row), flush=True)


def main(peer, precisions=("f32",)):
    options = arguments(peer, precisions)
    device = peer.open(options)
    document = {
        "program": peer.name.lower(),
        "version": peer.version,
        "machine": f"{platform.system().lower()} {platform.machine()}",
        "cpu": cpu_name(),
        **device,
    }
    if options.serve:
        print(json.dumps(document), flush=True)
        serve(peer, options)
        return
    sizes = itertools.product(*(getattr(options, key) for key in SIZE))
    ends = {"cell": options.cell, "input": options.input, "output": options.output}
    document["rows"] = [time_step(peer, {**dict(zip(SIZE, size)), **ends}, options.precision, options) for size in sizes]
    forms = itertools.product(options.products, FORMS)
    document["products"] = [time_product(peer, form, n, options.precision, options) for n, form in forms]
    print(json.dumps(document, indent=2))
