#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Where the time goes when the pilot starts processes, beside the bare loop: both under `perf record`,
every sample of every core laid to a process and to the system call in which it was. What the pilot
costs more than the loop, and what nobody could take away, is read off line by line.

    python3 tests/bench/breakdown.py               20,000 x /bin/true; prints the table
    python3 tests/bench/breakdown.py --shell       10,000 x sh -c '/bin/true; :'
    python3 tests/bench/breakdown.py --null        1,000,000 tasks that nobody starts, beside SQLite's rows alone
    python3 tests/bench/breakdown.py --page        writes that of /bin/true (or --null) into docs/performance.md, too

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
MARKS = "<!-- %s: measured part, written by tests/bench/breakdown.py %s -->", "<!-- %s: end -->"
HERTZ = 3999  # not in step with the kernel's own timers

# Who it is: the loop's and the pilot's way of doing the same stand in one line.
STARTER, PROGRAM, HEAD, STATE, IDLE, REST = (
    "starter", "program", "head and agent", "state", "idle", "rest of the machine")
WHO = {"bench_spawn": STARTER, "pilot-slot": STARTER, "true": PROGRAM, "sh": PROGRAM, "pilot-mpi": HEAD, "pilot-store": STATE,
       "swapper": IDLE}
# Without starting, the row that SQLite needs and the pilot's thread that asks for it stand in one line.
WHO_NULL = {"python3": STATE, "pilot-store": STATE, "pilot-mpi-null": HEAD, "swapper": IDLE}
LIBRARIES = (("libsqlite3", "SQLite"), ("libpython", "Python"), ("python3", "Python"), ("libc.so", "libc"), ("libm.so", "libc"))
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


def lay(comm, frames, place):
    """(who, what) of a sample of a start."""
    who = WHO.get(comm, REST)
    if who in (IDLE, REST):
        return who, ""
    call = what(frames)
    return SHARED.get(call, who), call


def lay_null(comm, frames, place):
    """The same where nothing is started: in whose code, or in which system call."""
    who = WHO_NULL.get(comm, REST)
    if who in (IDLE, REST):
        return who, ""
    call = what(frames)
    if call == "user":
        return who, next((name for part, name in LIBRARIES if part in place), "own code")
    return who, "interrupts" if "interrupts" in call else call


def stacks(lines):
    """(comm, [symbols], object) of each sample in what `perf script -F comm,ip,sym,dso` prints; the
    object is that of the innermost frame."""
    comm, frames, place = None, [], ""
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if comm is not None:
                yield comm, frames, place
            comm, frames, place = None, [], ""
        elif comm is None:
            comm = line.strip().split(":")[0].strip()
        else:
            word = line.split()
            if not frames:
                place = word[-1]
            frames.append(word[1].split("+")[0] if len(word) > 1 else "")
    if comm is not None:
        yield comm, frames, place


def profile(bench, name, command, cwd, runs, lay=lay):
    """Microseconds of one core a run, by (who, what)."""
    data = os.path.join(bench.work, name + ".perf")
    bench.run(["perf", "record", "-q", "-a", "-g", "-F", str(HERTZ), "-e", "cpu-clock", "-o", data, "--", *command], cwd)
    script = subprocess.Popen(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace")
    laid = collections.Counter()
    for comm, frames, place in stacks(script.stdout):
        if comm != "perf":
            laid[lay(comm, frames, place)] += 1e6 / HERTZ / runs
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


def measure_null(bench, tasks):
    code = "import sys; sys.path.insert(0, %r); from rows.core import bare_rows; bare_rows('bare.db', %d)" % (HERE, tasks)
    cwd = bench.fresh("null")
    write_lines(os.path.join(cwd, "tasks.txt"), lambda i: "true\n", tasks)
    pilot = [bench.tool("pilot-mpi-null"), "--quiet", "tasks.txt"]
    return [("SQLite's rows alone", profile(bench, "bare", ["python3", "-c", code], cwd, tasks, lay_null)),
            ("pilot", profile(bench, "pilot", pilot, cwd, tasks, lay_null))]


def table(ways, least_us=1.0):
    """Lines of cells: what the pilot adds most stands first."""
    bare = ways[0][1]
    added = {k: max(w[k] for _, w in ways[1:]) - bare[k] for _, w in ways for k in w}
    lines = [["who", "in"] + [title for title, _ in ways]]
    small = [0.0] * len(ways)
    digits = "%.1f" if least_us >= 1 else "%.2f"
    for key in sorted(added, key=added.get, reverse=True):
        figures = [w[key] for _, w in ways]
        if max(figures) < least_us:
            small = [a + b for a, b in zip(small, figures)]
        else:
            lines.append([*key] + [digits % f for f in figures])
    lines.append(["each below %g us" % least_us, ""] + [digits % f for f in small])
    lines.append(["**all**", ""] + [("**%.0f**" if least_us >= 1 else "**%.1f**") % sum(w.values()) for _, w in ways])
    return lines


def show(cells):
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip())


def write_page(cells, name, option, tasks):
    begin, end = MARKS[0] % (name, option), MARKS[1] % name
    with open(PAGE) as f:
        text = f.read()
    head, rest = text.split(begin, 1)
    rows = ["| %s |" % " | ".join(line) for line in cells]
    part = "Microseconds of one core a task, %s, perf at %d Hz (which itself makes all slower by a tenth).\n\n" % (tasks, HERTZ)
    part += "\n".join([rows[0], "| --- | --- |" + " ---: |" * (len(cells[0]) - 2)] + rows[1:]) + "\n"
    with open(PAGE, "w") as f:
        f.write(head + begin + "\n" + part + end + rest.split(end, 1)[1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tasks", type=int, metavar="N")
    p.add_argument("--shell", action="store_true", help="tasks that start a shell, which starts a program")
    p.add_argument("--null", action="store_true", help="tasks that nobody starts")
    p.add_argument("--page", action="store_true", help="write the table into docs/performance.md")
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="build directory")
    args = p.parse_args()
    if shutil.which("perf") is None:
        sys.exit("breakdown.py: there is no perf; install it (Debian: apt-get install linux-perf)")
    bench = Bench(ROOT, os.path.abspath(args.build), False)
    try:
        if args.null:
            runs = args.tasks or 1000000
            cells = table(measure_null(bench, runs), 0.02)
        elif args.shell:
            cells = table(measure(bench, ["sh", "-c", "/bin/true; :"], args.tasks or 10000))
        else:
            runs = args.tasks or 20000
            cells = table(measure(bench, ["/bin/true"], runs))
    finally:
        bench.close()
    show(cells)
    if args.page and args.null:
        write_page(cells, "profile-null", "--null --page", "{:,} tasks".format(runs))
    elif args.page and not args.shell:
        write_page(cells, "profile", "--page", "{:,} x `/bin/true`".format(runs))


if __name__ == "__main__":
    main()
