#!/usr/bin/env python3
"""Compares one training step (forward, loss, backward, Adam) of xgrad, LibTorch and JAX on this machine.

    benchmarks/peers/compare.py --xgrad build/benchmarks/steps --rounds 5 --threads 1 2 --json speed.json

Every program is run by turns, --rounds times, kept to as many cores as it may use threads, and prints one line of JSON
(see workload.hpp). What is reported is the median over the rounds of each round's median; rounds during which other
programs were busy on the machine are marked, and count only where there are no others. The losses of the first 20 steps
must agree, or the comparison fails. A framework that is not there is left out with one line. Needs Python 3.9 and
nothing else.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PEERS = pathlib.Path(os.environ.get("XGRAD_PEERS", pathlib.Path.home() / ".cache" / "xgrad-peers"))
WORKLOADS = ["tiny", "small", "mnist", "deep", "wide"]
INSTRUCTION_SETS = ["sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
                    "amx_tile", "asimd", "sve", "sve2"]

# A batch-normalised network of 50 random layers is chaotic: its gradients grow by five orders of magnitude from the
# last layer to the first, and a change of 1e-15 in the weights, in double precision, changes the third loss in the
# fourth digit. So only its first loss is compared number by number, and of the rest the mean.
CHAOTIC = {"deep"}


# Of a core: a run during which other programs, or other guests of the same host, took more is called disturbed.
DISTURBED = 0.05


def machine():
    info = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        info.setdefault(name.strip(), value.strip())
    flags = (info.get("flags") or info.get("Features") or "").split()
    return {
        "cpu": info.get("model name") or info.get("CPU part") or platform.machine(),
        "family_model": f"{info.get('cpu family', '?')}/{info.get('model', '?')}",
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def describe(m):
    return (f"{m['cpu']} (family/model {m['family_model']}), {m['cores']} cores, {' '.join(m['instruction_sets'])}\n"
            f"{m['system']}, load {m['load_at_start']} at the start")


def programs(arguments):
    """The command of each framework that is there."""
    found = {}
    if arguments.xgrad is None:
        print("xgrad: left out (--xgrad says where its program is)")
    elif not os.access(arguments.xgrad, os.X_OK):
        sys.exit(f"compare: {arguments.xgrad} is not a program")
    else:
        found["xgrad"] = [os.path.abspath(arguments.xgrad)]
    if os.access(arguments.libtorch, os.X_OK):
        found["libtorch"] = [os.path.abspath(arguments.libtorch)]
    else:
        print(f"LibTorch: left out, no {arguments.libtorch} (benchmarks/peers/CMakeLists.txt says how to build it)")
    python = str(arguments.python)
    check = [python, "-c", "import jax, optax"]
    if os.access(python, os.X_OK) and subprocess.run(check, capture_output=True).returncode == 0:
        found["jax"] = [python, str(HERE / "steps_jax.py")]
    else:
        print(f"JAX: left out, {python} cannot import it (benchmarks/peers/install installs it)")
    return found


def busy_seconds():
    """Processor time spent on the whole machine, and by this program's finished children."""
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    everyone = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return everyone, own.ru_utime + own.ru_stime


def run(command, workload, threads, seconds):
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    start, everyone, own = time.monotonic(), *busy_seconds()
    done = subprocess.run(
        command + ["--workload", workload, "--threads", str(threads), "--seconds", str(seconds)],
        capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{command[-1]} failed with {done.returncode}: {last}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    everyone_after, own_after = busy_seconds()
    others = (everyone_after - everyone) - (own_after - own)
    result["disturbed"] = others > DISTURBED * (time.monotonic() - start)
    return result


def close(a, b, tolerance):
    return abs(a - b) <= tolerance * max(1.0, abs(b))  # also false for NaN


def disagreement(workload, losses, expected):
    """What is wrong with these losses, or None."""
    if len(losses) != len(expected):
        return f"{len(losses)} losses instead of {len(expected)}"
    compared = 1 if workload in CHAOTIC else len(expected)
    for step, (a, b) in enumerate(zip(losses[:compared], expected)):
        if not close(a, b, 1e-3):
            return f"loss of step {step} is {a:.6g}, expected {b:.6g}"
    if not close(statistics.fmean(losses), statistics.fmean(expected), 5e-2):
        return f"mean loss is {statistics.fmean(losses):.6g}, expected {statistics.fmean(expected):.6g}"
    return None


def compare(commands, workload, threads, arguments):
    """One entry per framework, and the list of what went wrong."""
    runs, problems = {name: [] for name in commands}, []
    for r in range(arguments.rounds):
        order = list(commands)
        order = order[r % len(order):] + order[: r % len(order)]  # nobody is always first
        for name in order:
            try:
                if name not in {p[0] for p in problems}:
                    runs[name].append(run(commands[name], workload, threads, arguments.seconds))
            except (RuntimeError, ValueError, IndexError, OSError) as error:
                problems.append((name, f"{error}"))
    results = []
    for name, all_runs in runs.items():
        if not all_runs:
            continue
        quiet = [r for r in all_runs if not r["disturbed"]]
        results.append({
            "name": name,
            "framework": all_runs[0]["framework"],
            "workload": workload,
            "threads": threads,
            "step_us_median": statistics.median(r["step_us_median"] for r in quiet or all_runs),
            "step_us_min": min(r["step_us_min"] for r in all_runs),
            "step_us_rounds": [r["step_us_median"] for r in all_runs],
            "disturbed": [r["disturbed"] for r in all_runs],
            "peak_rss_kb": max(r["peak_rss_kb"] for r in all_runs),
            "losses": all_runs[0]["losses"],
        })
    if results:
        # The peers' word counts: LibTorch's if it is there, else JAX's.
        expected = next((r for r in results if r["name"] == "libtorch"), results[-1])
        for r in results:
            if results[0]["name"] == "xgrad":
                r["relative_to_xgrad"] = r["step_us_median"] / results[0]["step_us_median"]
            wrong = disagreement(workload, r["losses"], expected["losses"])
            if wrong:
                problems.append((r["name"], f"against {expected['framework']}: {wrong}"))
    return results, problems


def microseconds(value):
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}".replace(",", " ")


def cell(found):
    if found is None:
        return "failed"
    text = microseconds(found["step_us_median"])
    if found["name"] != "xgrad" and "relative_to_xgrad" in found:
        text += f" ({found['relative_to_xgrad']:.2f}×)"
    return text + (" " if not any(found["disturbed"]) else "~" if not all(found["disturbed"]) else "!")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xgrad", metavar="PROGRAM", help="xgrad's steps program")
    parser.add_argument("--libtorch", metavar="PROGRAM", default=REPOSITORY / "build-peers" / "steps_libtorch",
                        help="LibTorch's (default: %(default)s)")
    parser.add_argument("--python", metavar="PROGRAM", default=PEERS / "bin" / "python",
                        help="a Python with JAX and Optax (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="timed in each run (default: %(default)s)")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write the same, and every round, to a file")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or min(arguments.threads) < 1:
        parser.error("--rounds and --threads start at 1")

    about = machine()
    print(describe(about))
    commands = programs(arguments)
    if not commands:
        sys.exit("compare: no framework found")
    threads_used = sorted({t for t in arguments.threads if t <= about["cores"]})
    for t in sorted(set(arguments.threads) - set(threads_used)):
        print(f"{t} threads: left out, there are {about['cores']} cores")
    if not threads_used:
        sys.exit("compare: nothing to run")

    print(f"\nOne training step, µs: median of {arguments.rounds} rounds of {arguments.seconds:g} s"
          + ("; in brackets, relative to xgrad" if "xgrad" in commands else "") + "\n")
    title = {"xgrad": "xgrad", "libtorch": "LibTorch", "jax": "JAX"}
    print(f"{'workload':9}{'threads':>7}  " + "  ".join(f"{title[name]:>20}" for name in commands), flush=True)
    everything, problems = [], []
    for workload in arguments.workloads:
        for threads in threads_used:
            results, wrong = compare(commands, workload, threads, arguments)
            found = {r["name"]: r for r in results}
            print(f"{workload:9}{threads:>7}  " + "  ".join(f"{cell(found.get(n)):>20}" for n in commands), flush=True)
            everything += results
            problems += [{"workload": workload, "threads": threads, "name": n, "problem": p} for n, p in wrong]

    print("\n" + ", ".join(sorted({r["framework"] for r in everything})))
    if any(any(r["disturbed"]) for r in everything):
        print("~ other programs were busy in some rounds, which are left out;  ! in all rounds: measure again")
    for p in problems:
        print(f"WRONG: {p['workload']}, {p['threads']} threads, {title[p['name']]}: {p['problem']}")
    if not problems:
        print("losses agree")
    if arguments.json:
        arguments.json.write_text(json.dumps({
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": about,
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "results": everything,
            "problems": problems,
        }, indent=1) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
