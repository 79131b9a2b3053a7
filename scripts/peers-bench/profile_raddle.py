"""Where both routers spend their time under one TCP stream, by what the time is for, and whether their data threads wait for
one another. Needs perf (Debian: linux-perf)."""

import re
import subprocess
from pathlib import Path

import measures
from lab import Failure, Lab

# In order: the first class of which a frame of the stack matches. Kernel stacks are whole, user stacks one frame deep.
CLASSES = [
    ("interrupts", r"asm_sysvec|asm_common_interrupt"),
    ("tap write: bridge, veth, the container's TCP", (r"tun_chr_write_iter", r"netif_receive_skb|do_softirq|napi")),
    ("tap write: copying and the device", r"tun_chr_write_iter"),
    ("tap read", r"tun_chr_read_iter"),
    ("UDP send: underlay and the other router's socket", (r"sendm{1,2}sg", r"__dev_queue_xmit|do_softirq")),
    ("UDP send: copying and the socket", r"sendm{1,2}sg"),
    ("UDP receive", r"recvm{1,2}sg"),
    ("waiting: poll, sleep, wake-up", r"sys_p?poll|epoll|schedule|finish_task_switch"),
    ("seal", r"encrypt|seal|poly1305_.*seal"),
    ("open", r"decrypt|Opener|::open|aead.*_open"),
    ("either: hash and counter of the AEAD", r"aws_lc|gcm|chacha|poly1305|init_IV|CRYPTO_"),
    ("copying in the router", r"mem(cpy|move|set)"),
    ("other system calls", r"do_syscall_64"),
]
REST = "the router's own code"
SAMPLES_PER_SECOND = 1999
# What could be shared, and what moves frames.
COUNTED = ("futex", "read", "write", "writev", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg")


def profile(system, scratch, depth):
    """Shares of all samples by class, the hottest symbols, and what the stream cost while it was looked at."""
    with Lab(scratch, 1500) as lab:
        measures.bring_up(system, lab)
        measures.serve(lab)
        measures.warm(lab, depth)
        pids = ",".join(map(str, lab.daemons()))
        record = ["perf", "record", "-q", "-F", str(SAMPLES_PER_SECOND), "-e", "cpu-clock", "-g", "-p", pids]
        recording = subprocess.Popen([*record, "-o", str(lab.scratch / "perf.data"), "--", "sleep", str(depth.tcp_s)])
        stream = measures.tcp(lab, depth.tcp_s)
        recording.wait(20)
        stacks = read_stacks(lab.scratch / "perf.data")
    if not stacks:
        raise Failure("perf has taken no samples")
    classes, symbols = shares(map(class_of, stacks)), shares(map(leaf_of, stacks))
    return {"samples": len(stacks), "cpu_s_per_gb": stream["cpu_s_per_gb"], "classes": classes, "symbols": symbols}


def read_stacks(data):
    """Each sample as its symbols, the innermost first."""
    words = ["perf", "script", "-i", str(data), "-F", "ip,sym"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    stacks = [block.split("\n") for block in said.split("\n\n")]
    symbols = [[frame.split(maxsplit=1)[-1] for frame in stack if frame.strip()] for stack in stacks]
    return [stack for stack in symbols if stack]


def class_of(stack):
    text = "\n".join(stack)
    for name, patterns in CLASSES:
        patterns = patterns if isinstance(patterns, tuple) else (patterns,)
        if all(re.search(pattern, text) for pattern in patterns):
            return name
    return REST


def leaf_of(stack):
    return stack[0]


def sharing(system, scratch, depth):
    """What the data threads of both routers ask the kernel for under four streams: a frame's way has no futex on it."""
    with Lab(scratch, 1500) as lab:
        measures.bring_up(system, lab)
        measures.serve(lab)
        measures.warm(lab, depth)
        threads = ",".join(data_threads(lab))
        counts = [word for name in COUNTED for word in ("-e", f"syscalls:sys_enter_{name}")]
        words = ["perf", "stat", "-x", ",", "-o", str(lab.scratch / "counts"), *counts, "-t", threads]
        counting = subprocess.Popen([*words, "--", "sleep", str(depth.tcp_s)])
        measures.tcp(lab, depth.tcp_s, "--parallel", "4")
        counting.wait(20)
        lines = [line.split(",") for line in (lab.scratch / "counts").read_text().splitlines() if "sys_enter_" in line]
    calls = {fields[2].rpartition("sys_enter_")[2]: int(fields[0]) for fields in lines}
    return {"threads": threads.count(",") + 1, "calls": calls}


def data_threads(lab):
    """The ids of the threads that carry frames."""
    names = [path for pid in lab.daemons() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
    return [path.parent.name for path in names if path.read_text().startswith("data-")]


def shares(names):
    counts = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    total = sum(counts.values())
    return {name: count / total for name, count in sorted(counts.items(), key=lambda item: -item[1])}


def sharing_table(rows):
    lines = ["", "### What data threads share: calls of all of them under four streams", ""]
    lines += [f"| | data threads | {' | '.join(COUNTED)} |", "|---" * (2 + len(COUNTED)) + "|"]
    for name, row in rows.items():
        calls = " | ".join(str(row["calls"].get(counted, 0)) for counted in COUNTED)
        lines.append(f"| {name} | {row['threads']} | {calls} |")
    return "\n".join(lines)


def table(result):
    lines = ["", f"### Profile: {result['samples']} samples of both routers", "", "| | share | s/GB |", "|---|---|---|"]
    spent = result["cpu_s_per_gb"]
    lines += [f"| {name} | {share:.1%} | {share * spent:.2f} |" for name, share in result["classes"].items()]
    lines += ["", "| hottest symbols | share |", "|---|---|"]
    lines += [f"| `{name}` | {share:.1%} |" for name, share in list(result["symbols"].items())[:20]]
    return "\n".join(lines)
