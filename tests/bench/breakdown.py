#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Where the time goes when the pilot starts processes, beside the bare loop: both under `perf record`,
every sample of every core laid to a process and to the system call in which it was. What the pilot
costs more than the loop, and what nobody could take away, is read off line by line.

    python3 tests/bench/breakdown.py               20,000 x /bin/true; prints the table
    python3 tests/bench/breakdown.py --shell       10,000 x sh -c '/bin/true; :'
    python3 tests/bench/breakdown.py --page        writes that of /bin/true into docs/performance.md, too

Needs perf, and the right to look at all processes (root, or kernel.perf_event_paranoid = -1)."""
import argparse
import collections
import os
import shlex
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

from rows.harness import Bench, write_lines  # noqa: E402
from rows.start import best_loop  # noqa: E402

PAGE = os.path.join(ROOT, "docs", "performance.md")
BEGIN, END = "<!-- profile: measured part, written by tests/bench/breakdown.py --page -->", "<!-- profile: end -->"
HERTZ = 3999  # not in step with the kernel's own timers
LEAST_US = 1.0

# Who it is: the loop's and the pilot's way of doing the same stand in one line.
STARTER, PROGRAM, HEAD, STATE, IDLE, REST = (
    "starter", "program", "head and agent", "state", "idle", "rest of the machine")
WHO = {"bench_spawn": STARTER, "pilot-slot": STARTER, "true": PROGRAM, "sh": PROGRAM, "pilot-mpi": HEAD, "pilot-store": STATE,
       "swapper": IDLE}
# In these the name of the process changes from the starter's to the program's.
SHARED = {"execve": "start and program", "exit_group": "program"}
ENTRIES = (("asm_exc_page_fault", "page faults"), ("asm_sysvec_reschedule_ipi", "interrupts to reschedule"),
           ("asm_", "other interrupts"), ("ret_from_fork", "begin of a process"))


def what(frames):
    """In which system call a stack (innermost first) is; else what brought the kernel in, or "user"."""
    for f in frames:
        if f.startswith(("__x64_sys_", "__do_sys_", "__se_sys_")):
            return f.split("_sys_", 1)[1]
    for f in reversed(frames):
        for prefix, name in ENTRIES:
            if f.startswith(prefix):
                return name
    return "user"


def lay(comm, frames):
    """(who, what) of a sample."""
    who = WHO.get(comm, REST)
    if who in (IDLE, REST):
        return who, ""
    call = what(frames)
    return SHARED.get(call, who), call


def stacks(lines):
    """(comm, [symbols]) of each sample in what `perf script -F comm,ip,sym` prints."""
    comm, frames = None, []
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if comm is not None:
                yield comm, frames
            comm, frames = None, []
        elif comm is None:
            comm = line.strip().split(":")[0].strip()
        else:
            word = line.split()
            frames.append(word[1].split("+")[0] if len(word) > 1 else "")
    if comm is not None:
        yield comm, frames


def profile(bench, name, command, cwd, runs):
    """Microseconds of one core a run, by (who, what)."""
    data = os.path.join(bench.work, name + ".perf")
    bench.run(["perf", "record", "-q", "-a", "-g", "-F", str(HERTZ), "-e", "cpu-clock", "-o", data, "--", *command], cwd)
    script = subprocess.Popen(["perf", "script", "-i", data, "-F", "comm,ip,sym"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace")
    laid = collections.Counter()
    for comm, frames in stacks(script.stdout):
        if comm != "perf":
            laid[lay(comm, frames)] += 1e6 / HERTZ / runs
    if script.wait() != 0 or not laid:
        sys.exit("breakdown.py: perf script did not read %s" % data)
    return laid


def measure(bench, command, runs):
    """[(title, laid)], the bare loop first."""
    how, in_flight = best_loop(bench, "profile", command, bench.pick(200, 2000))[-1]
    loop = [bench.tool("bench_spawn"), *how, str(runs), str(in_flight), *command]
    out = [("bare loop", profile(bench, "bare", loop, bench.fresh(), runs))]
    for output in ("files", "packed"):
        cwd = bench.fresh(output)
        write_lines(os.path.join(cwd, "tasks.txt"), lambda i: shlex.join(command) + "\n", runs)
        pilot = [bench.pilot, "--quiet", "--output=" + output, "tasks.txt"]
        out.append(("pilot, " + output, profile(bench, output, pilot, cwd, runs)))
    return out


def table(ways):
    """Lines of cells: what the pilot adds most stands first."""
    bare = ways[0][1]
    added = {k: max(w[k] for _, w in ways[1:]) - bare[k] for _, w in ways for k in w}
    lines = [["who", "in"] + [title for title, _ in ways]]
    small = [0.0] * len(ways)
    for key in sorted(added, key=added.get, reverse=True):
        figures = [w[key] for _, w in ways]
        if max(figures) < LEAST_US:
            small = [a + b for a, b in zip(small, figures)]
        else:
            lines.append([*key] + ["%.1f" % f for f in figures])
    lines.append(["each below %g us" % LEAST_US, ""] + ["%.1f" % f for f in small])
    lines.append(["**all**", ""] + ["**%.0f**" % sum(w.values()) for _, w in ways])
    return lines


def show(cells):
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip())


def write_page(cells, runs):
    with open(PAGE) as f:
        text = f.read()
    head, rest = text.split(BEGIN, 1)
    rows = ["| %s |" % " | ".join(line) for line in cells]
    part = "\nMicroseconds of one core a task, %s x `/bin/true`, perf at %d Hz (which itself makes both slower by a tenth).\n\n" % (
        "{:,}".format(runs), HERTZ)
    part += "\n".join([rows[0], "| --- | --- |" + " ---: |" * (len(cells[0]) - 2)] + rows[1:]) + "\n"
    with open(PAGE, "w") as f:
        f.write(head + BEGIN + "\n" + part.lstrip("\n") + END + rest.split(END, 1)[1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tasks", type=int, default=20000, metavar="N")
    p.add_argument("--shell", action="store_true", help="tasks that start a shell, which starts a program")
    p.add_argument("--page", action="store_true", help="write the table into docs/performance.md")
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="build directory")
    args = p.parse_args()
    if shutil.which("perf") is None:
        sys.exit("breakdown.py: there is no perf; install it (Debian: apt-get install linux-perf)")
    bench = Bench(ROOT, os.path.abspath(args.build), False)
    try:
        if args.shell:
            cells = table(measure(bench, ["sh", "-c", "/bin/true; :"], args.tasks // 2))
        else:
            cells = table(measure(bench, ["/bin/true"], args.tasks))
    finally:
        bench.close()
    show(cells)
    if args.page and not args.shell:
        write_page(cells, args.tasks)


if __name__ == "__main__":
    main()
