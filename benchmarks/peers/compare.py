#!/usr/bin/env python3
"""Compares xgrad with LibTorch, JAX, OpenBLAS and oneDNN on this machine: time, memory, and that results agree.

    benchmarks/peers/compare.py --build build/release --peer-build build/peers --mnist DIR --json speed.json
    benchmarks/peers/compare.py --build build/release --only matmul rows --quick

cases.py says what is compared. The programs run by turns, --rounds times, kept to as many cores as they may use threads;
each prints one line of JSON per case (measure.hpp). Reported is the median over the rounds of each round's median; rounds
during which other programs were busy on the machine are marked, and count only where there are no others. Results must
agree, or the comparison fails. A program that is not there is left out with one line. Needs Python 3.9 and nothing else.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import machine
from cases import CHAOTIC, GROUPS, TARGETS

HERE = pathlib.Path(__file__).resolve().parent
PEERS = pathlib.Path(os.environ.get("XGRAD_PEERS", pathlib.Path.home() / ".cache" / "xgrad-peers"))
TITLES = {"xgrad": "xgrad", "formula": "xgrad, formula", "libtorch": "LibTorch", "jax": "JAX", "openblas": "OpenBLAS",
          "onednn": "oneDNN"}
# Of a core: a run during which other programs, or other guests of the same host, took more is called disturbed.
DISTURBED = 0.05
# Keeps every program to an instruction set below the machine's.
LEVELS = {
    "avx512": {"XGRAD_LEVEL": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2": {"XGRAD_LEVEL": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"},
}


@dataclasses.dataclass
class Program:
    command: list
    missing: str                       # why it is not there, or ""
    digits: list = None                # the program of the group "digits", where it is another one
    rename: tuple = ("", "")           # in the names of cases


def find_programs(arguments):
    build, peer_build, python = map(pathlib.Path, (arguments.build, arguments.peer_build, arguments.python))

    def binary(path):
        return "" if os.access(path, os.X_OK) else f"there is no {path}"

    def importable(modules):
        if not binary(python):
            done = subprocess.run([python, "-c", f"import {modules}"], capture_output=True, cwd="/")
            return "" if done.returncode == 0 else f"{python} cannot import {modules}"
        return binary(python)

    ours, libtorch = build / "benchmarks" / "run_xgrad", peer_build / "run_libtorch"
    openblas, onednn = build / "benchmarks" / "run_openblas", peer_build / "run_onednn"
    return {
        "xgrad": Program([ours], binary(ours), digits=[build / "examples" / "digits"]),
        "formula": Program([ours], binary(ours), rename=("elementwise", "formula")),
        "libtorch": Program([libtorch], binary(libtorch), digits=[python, HERE / "digits_torch.py"]),
        "jax": Program([python, HERE / "run_jax.py"], importable("jax, optax")),
        "openblas": Program([openblas], binary(openblas)),
        "onednn": Program([onednn], binary(onednn)),
    }


def launch(command, threads, arguments):
    """The lines that a program prints, each with the seconds since its start, and whether others disturbed it."""
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    environment |= LEVELS.get(arguments.level, {})
    if arguments.mnist:
        environment["XGRAD_MNIST"] = str(arguments.mnist)
    start, others = time.monotonic(), machine.busy_seconds()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    lines = [(time.monotonic() - start, line) for line in process.stdout]
    errors = process.stderr.read().strip().splitlines()
    if process.wait() != 0:
        raise RuntimeError(f"failed with {process.returncode}: {(errors or ['no message'])[-1]}")
    disturbed = machine.busy_seconds() - others > DISTURBED * (time.monotonic() - start)
    return lines, disturbed


def run_cases(group, name, program, threads, arguments):
    """What a program has measured: a dictionary for each case of the group."""
    if group.name == "digits" and program.digits:
        epochs = group.cases[0].split("/")[1]
        command = program.digits + ["--data", arguments.mnist, "--epochs", epochs, "--threads", threads]
    else:
        command = program.command + ["--threads", threads, "--seconds", arguments.seconds or group.seconds]
        command += [case.replace(*program.rename, 1) if program.rename[0] else case for case in group.cases]
    lines, disturbed = launch(command, threads, arguments)
    results = {}
    for case, (elapsed, line) in zip(group.cases, lines[-len(group.cases):]):
        accuracy = re.match(r"test accuracy ([0-9.]+)", line)
        result = {"framework": "", "values": [float(accuracy[1])]} if accuracy else json.loads(line)
        if group.from_start:
            result["ms"] = elapsed * 1e3
        if "flops" in result:
            result["gflops"] = result["flops"] / result["us"] / 1e3
        results[case] = result | {"disturbed": disturbed}
    return results


def disagreement(case, values, expected, tolerance):
    """What is wrong with these values, or None."""
    if len(values) != len(expected):
        return f"{len(values)} values instead of {len(expected)}"
    scale = max(map(abs, expected))
    compared = 1 if case in CHAOTIC else len(expected)
    for i, (a, b) in enumerate(zip(values[:compared], expected)):
        if not abs(a - b) <= tolerance * scale:  # also for NaN
            return f"value {i} is {a:.7g}, expected {b:.7g}"
    a, b = statistics.fmean(values), statistics.fmean(expected)
    if case in CHAOTIC and not abs(a - b) <= 5e-2 * scale:
        return f"the mean is {a:.7g}, expected {b:.7g}"
    return None


def compare(group, programs, threads, arguments):
    """For each case what each program took, and the list of what went wrong."""
    rounds, problems = {name: [] for name in programs}, []
    for r in range(arguments.rounds):
        order = list(programs)
        order = order[r % len(order):] + order[: r % len(order)]  # nobody is always first
        for name in order:
            try:
                rounds[name].append(run_cases(group, name, programs[name], threads, arguments))
            except (RuntimeError, ValueError, OSError) as error:
                problems.append({"group": group.name, "threads": threads, "name": name, "problem": str(error)})
    table = {case: {} for case in group.cases}
    for case in group.cases:
        for name in programs:
            runs = [results[case] for results in rounds[name] if case in results]
            if not runs:
                continue
            quiet = [run for run in runs if not run["disturbed"]] or runs
            quantities = [quantity for quantity in group.quantities if quantity in runs[0]]
            table[case][name] = {
                "framework": runs[0]["framework"],
                "disturbed": [run["disturbed"] for run in runs],
                "values": runs[0]["values"],
                "rounds": [{quantity: run[quantity] for quantity in quantities} for run in runs],
            } | {quantity: statistics.median(run[quantity] for run in quiet) for quantity in quantities}
            if "us_min" in runs[0]:
                table[case][name]["us_min"] = min(run["us_min"] for run in runs)
        # The peers' word counts: that of the first of them that is there.
        expected = [table[case][name] for name in programs if name in table[case] and name not in ("xgrad", "formula")]
        for name, found in table[case].items():
            wrong = expected and disagreement(case, found["values"], expected[0]["values"], group.tolerance)
            if wrong:
                problems.append({"case": case, "threads": threads, "name": name,
                                 "problem": f"against {expected[0]['framework'] or 'its peer'}: {wrong}"})
    return table, problems


def ratio(row, quantity, peer, ours=("xgrad",)):
    """How many times as much as xgrad the peer takes, or how many times as fast xgrad is; None where one is not there."""
    values = [row[name][quantity] for name in ours if name in row and quantity in row[name]]
    if not values or peer not in row or quantity not in row[peer]:
        return None
    theirs = row[peer][quantity]
    return max(values) / theirs if quantity == "gflops" else theirs / max(min(values), 1e-9)


def number(value):
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}".replace(",", " ")


SCALES = {  # of a quantity, by the unit of its group
    "us": ("µs", 1), "ms": ("ms", 1), "us_p999": ("µs, 99.9 %", 1), "gflops": ("GFLOPS", 1),
    "peak_above_baseline_kb": ("MB above the baseline", 1024), "peak_kb": ("MB in all", 1024),
}


def print_rows(case, threads, row, columns, quantities):
    for quantity in quantities:
        if not any(quantity in found for found in row.values()):
            continue
        unit, scale = SCALES[quantity]
        cells = []
        for name in columns:
            text = "–"
            if name in row and quantity in row[name]:
                found = row[name]
                text = number(found[quantity] / scale)
                if name != "xgrad" and ratio(row, quantity, name):
                    text += f" ({ratio(row, quantity, name):.2f}×)"
                text += " " if not any(found["disturbed"]) else "~" if not all(found["disturbed"]) else "!"
            cells.append(f"{text:>20}")
        print(f"{case:44}{threads:>7}  {unit:22}" + "".join(cells), flush=True)


def short_of_target(case, threads, row):
    result, met = [], set()
    for pattern, quantity, peer, target in TARGETS:
        if (quantity, peer) in met or not re.match(pattern, f"{case}, {threads}"):
            continue
        met.add((quantity, peer))
        reached = ratio(row, quantity, peer, ("xgrad", "formula"))
        if reached is not None and reached < target:
            result.append({"case": case, "threads": threads, "quantity": quantity, "peer": peer,
                           "ratio": round(reached, 3), "target": round(target, 3)})
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="of the project (default: %(default)s)")
    parser.add_argument("--peer-build", default="build/peers", help="of benchmarks/peers (default: %(default)s)")
    parser.add_argument("--python", default=PEERS / "bin" / "python",
                        help="a Python with JAX, Optax and PyTorch (default: %(default)s)")
    parser.add_argument("--mnist", metavar="DIR", type=pathlib.Path, default=os.environ.get("XGRAD_MNIST"),
                        help="MNIST's files, for the group “digits” (default: the environment variable XGRAD_MNIST)")
    parser.add_argument("--only", nargs="+", metavar="GROUP", choices=[group.name for group in GROUPS],
                        help="of %(choices)s")
    parser.add_argument("--cases", metavar="PATTERN", default="", help="a regular expression for names of cases")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="timed in each case of a round, instead of what the group says")
    parser.add_argument("--quick", action="store_true", help="one round of 0.05 s: to see that everything works")
    parser.add_argument("--level", choices=LEVELS, help="keep all programs to a lower instruction set")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write the same, and every round, to a file")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or min(arguments.threads) < 1:
        parser.error("--rounds and --threads start at 1")
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 0.05

    about = machine.description()
    print(machine.in_words(about))
    programs = find_programs(arguments)
    if arguments.level:
        programs["formula"].missing = "formulas are compiled for this machine, whatever the level"
    for name, program in programs.items():
        if program.missing:
            print(f"{TITLES[name]}: left out, {program.missing}")
    programs = {name: program for name, program in programs.items() if not program.missing}
    if max(arguments.threads) > about["cores"]:
        print(f"{max(arguments.threads)} threads: left out, there are {about['cores']} cores")
    print(f"\nMedians of {arguments.rounds} rounds. In brackets: how many times as long, or as much, as with xgrad;"
          " of GFLOPS, how many times as fast xgrad is.")

    rows, problems, shortfalls, frameworks = [], [], [], set()
    for group in GROUPS:
        group = dataclasses.replace(group, cases=[case for case in group.cases if re.search(arguments.cases, case)])
        columns = {name: programs[name] for name in group.columns if name in programs}
        if not group.cases or not columns or (arguments.only and group.name not in arguments.only):
            continue
        if group.name == "digits" and not arguments.mnist:
            print("\ndigits: left out (--mnist says where MNIST's files are)")
            continue
        print(f"\n{group.title}\n{'case':44}threads  {'':22}" + "".join(f"{TITLES[n]:>20}" for n in columns), flush=True)
        parts = [[case] for case in group.cases] if group.alone else [group.cases]
        for cases, threads in itertools.product(parts, sorted(set(group.threads) & set(arguments.threads))):
            if threads > about["cores"]:
                continue
            table, wrong = compare(dataclasses.replace(group, cases=cases), columns, threads, arguments)
            problems += wrong
            for case, row in table.items():
                print_rows(case, threads, row, columns, group.quantities)
                shortfalls += short_of_target(case, threads, row)
                frameworks |= {found["framework"] for found in row.values()} - {""}
                rows.append({"case": case, "threads": threads, "programs": row})

    print("\n" + ", ".join(sorted(frameworks)))
    print("~ other programs were busy in some rounds, which are left out;  ! in all rounds: measure again")
    for s in shortfalls:
        print(f"short of the target: {s['case']}, threads: {s['threads']}, {SCALES[s['quantity']][0]}: "
              f"{s['ratio']:.2f}× {TITLES[s['peer']]}, not {s['target']:.2f}×")
    for p in problems:
        print(f"WRONG: {p.get('case', p.get('group'))}, threads: {p['threads']}, {TITLES[p['name']]}: {p['problem']}")
    if not problems:
        print("results agree")
    if arguments.json:
        arguments.json.write_text(json.dumps({
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": about,
            "level": arguments.level or "best",
            "frameworks": sorted(frameworks),
            "rounds": arguments.rounds,
            "results": rows,
            "short_of_target": shortfalls,
            "problems": problems,
        }, indent=1) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
