"""What a machine is, and whether others are using it."""

import os
import pathlib
import platform
import resource

INSTRUCTION_SETS = ["sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
                    "amx_tile", "asimd", "sve", "sve2"]


def description():
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


def in_words(m):
    return (f"{m['cpu']} (family/model {m['family_model']}), {m['cores']} cores, {' '.join(m['instruction_sets'])}\n"
            f"{m['system']}, load {m['load_at_start']} at the start")


def busy_seconds():
    """Processor time that programs other than this one's finished children have spent, on the whole machine."""
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    everyone = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return everyone - own.ru_utime - own.ru_stime
