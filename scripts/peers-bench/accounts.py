"""What processes and the machine have used: processor time, memory, and what strangers took of both cores.

The bench lives in a process namespace of its own. Its own processes are in /proc, those of the whole machine in MACHINE.
"""

import os
import re
import time
from pathlib import Path

MACHINE = Path("/run/machine-proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def stat_fields(directory):
    """The fields of /proc/PID/stat behind the name, or None when the process is gone."""
    try:
        text = Path(directory, "stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def tree(pid):
    """A process and its living descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        fields = stat_fields(f"/proc/{entry}") if entry.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_seconds(pids):
    """Processor time of these processes and their descendants, in ticks' resolution."""
    fields = [stat_fields(f"/proc/{process}") for pid in pids for process in tree(pid)]
    return sum(int(each[11]) + int(each[12]) for each in fields if each) / TICKS_PER_SECOND


def run_seconds(pids):
    """The same by the scheduler's nanoseconds: for idle daemons, which use less than a tick."""
    total = 0
    for pid in pids:
        for process in tree(pid):
            for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
                total += int(path.read_text().split()[0])
    return total / 1e9


def memory_mib(pid, field):
    """A memory field of /proc/PID/status (VmHWM: the peak, VmRSS: the present), descendants included."""
    total = 0
    for process in tree(pid):
        try:
            text = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        found = re.search(field + r":\s+(\d+)", text)
        total += int(found.group(1)) if found else 0
    return total / 1024


def machine_busy_seconds():
    """Processor time the whole machine has used since its start."""
    user, nice, system, idle, io_wait, *interrupts = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / TICKS_PER_SECOND


def foreign_seconds():
    """Processor time of every process outside of the bench's namespace, that of the children they have reaped included:
    what a child has used passes to its parent when it ends, so the sum is that of the living and the dead."""
    own = os.readlink("/proc/self/ns/pid")
    used = 0
    for entry in os.listdir(MACHINE):
        directory = MACHINE / entry
        fields = stat_fields(directory) if entry.isdigit() else None
        # Kernel threads (2 and its children) work for the bench as well.
        if not fields or entry == "2" or fields[1] == "2":
            continue
        try:
            if os.readlink(directory / "ns/pid") == own:
                continue
        except OSError:
            pass
        used += sum(map(int, fields[11:15]))
    return used / TICKS_PER_SECOND


class Foreign:
    """How many cores strangers use, from its making on."""

    def __init__(self):
        self.used, self.begun = foreign_seconds(), time.monotonic()

    def cores(self):
        return max(0, foreign_seconds() - self.used) / (time.monotonic() - self.begun)


def wait_for_quiet(patience_s):
    """Waits until strangers use little, but no longer than told. Returns how long it waited."""
    begun = time.monotonic()
    while time.monotonic() - begun < patience_s:
        foreign = Foreign()
        time.sleep(0.5)
        if foreign.cores() < QUIET_CORES:
            break
    return time.monotonic() - begun


# A shell, an editor and a log do not disturb; a compiler does.
QUIET_CORES = 0.15
