# SPDX-License-Identifier: BSD-3-Clause
"""Starting processes: how much of the rate of a bare loop is left when the pilot starts them, and how
soon the next one starts."""
import os
import statistics

from rows.harness import Row, Unavailable
from rows import marks


def loops(bench, command, runs, how, in_flight):
    out = bench.ask(bench.tool("bench_spawn"), *how, str(runs), str(in_flight), *command)
    return float(out.split()[0])


def best_loop(bench, key, command, runs):
    """The fastest of 1 to 4 in flight, by vfork or posix_spawn; tried twice each, in both orders."""
    def find():
        ways = [(how, n) for n in range(1, 5) for how in ([], ["--vfork"])]
        rates = {}
        for way in ways + ways[::-1]:
            rate = loops(bench, command, runs, *way)
            name = (tuple(way[0]), way[1])
            rates[name] = max(rates.get(name, 0), rate)
        return sorted(rates, key=rates.get)[-2:]
    return bench.once("best loop " + key, find)


class Rate(Row):
    unit, beside = "tasks/s", "best bare loop"
    options = ()

    def sizes(self, bench):
        """Tasks, runs of each half of the reference."""
        return bench.pick((2500, 750), (100000, 20000))

    def line(self):
        return " ".join(self.command) + "\n"

    def measure(self, bench):
        tasks, runs = self.sizes(bench)
        ways = best_loop(bench, self.key, self.command, bench.pick(200, 2000))
        before = [loops(bench, self.command, runs, *way) for way in ways]
        cwd = bench.fresh(self.key)
        with open(os.path.join(cwd, "tasks.txt"), "w") as f:
            f.write(self.line() * tasks)
        seconds, usage = bench.run([bench.pilot, "--quiet", *self.options, "tasks.txt"], cwd)
        after = [loops(bench, self.command, runs, *way) for way in ways]
        # The better of the two best ways, at the better of the two moments would favour luck: the
        # mean of before and after, of the way that was faster.
        reference = max((b + a) / 2 for b, a in zip(before, after))
        return {"value": tasks / seconds, "reference": reference, "ratio": tasks / seconds / reference,
                "cpu_us": 1e6 * (usage.ru_utime + usage.ru_stime) / tasks, "ways": [[*w[0], w[1]] for w in ways]}

    def note(self, rounds):
        return "reference: %s in flight" % " or ".join("%d%s" % (w[-1], " by vfork" if len(w) > 1 else "")
                                                      for w in rounds[-1]["ways"])


class True_(Rate):
    key, title, reach_ratio = "true", "/bin/true, state and output files on", 0.85
    command = ["/bin/true"]

    def measure(self, bench):
        """Beside it the floor: the same loop when it makes a directory with two files for each run."""
        found = super().measure(bench)
        in_flight = found["ways"][-1][-1]
        with_files = loops(bench, self.command, self.sizes(bench)[1], ["--files", bench.fresh(self.key)], in_flight)
        return {**found, "floor": with_files / found["reference"]}

    def note(self, rounds):
        return "%s; that loop with the files: %.2f" % (super().note(rounds), statistics.median(r["floor"] for r in rounds))


class Packed(Rate):
    key, title, reach_ratio = "packed", "the same with --output=packed", 0.93
    command = ["/bin/true"]
    options = ("--output=packed",)

    def measure(self, bench):
        if "--output " not in bench.once("help", lambda: bench.ask(bench.pilot, "--help")):
            raise Unavailable("this pilot-mpi has no --output")
        return super().measure(bench)


class Shell(Rate):
    key, title, reach_ratio = "shell", "sh -c '/bin/true; :'", 0.92
    command = ["sh", "-c", "/bin/true; :"]

    def sizes(self, bench):
        return bench.pick((1000, 350), (50000, 10000))

    def line(self):
        return "sh -c '/bin/true; :'\n"


class Next(Row):
    key, title = "next", "exit of a task to the start of the next, all cores busy"
    unit, beside, less, reach_value = "us", "bare loop", True, 150

    def measure(self, bench):
        tasks = bench.pick(400, 6000)
        mark = bench.tool("bench_mark")
        cwd = bench.fresh(self.key)
        ours, bare = os.path.join(cwd, "ours"), os.path.join(cwd, "bare")
        with open(os.path.join(cwd, "tasks.txt"), "w") as f:
            f.write("".join("%s %s 5000 %d\n" % (mark, ours, i) for i in range(tasks)))
        bench.ask(bench.tool("bench_spawn"), str(tasks // 2), str(bench.cores), mark, bare, "5000", "0")
        bench.run([bench.pilot, "--quiet", "tasks.txt"], cwd)
        got = marks.read(ours)
        if sorted(m.number for m in got) != list(range(tasks)):
            raise RuntimeError("%d records of %d tasks" % (len(got), tasks))
        gaps = sorted(marks.gaps_us(got))
        value, reference = statistics.median(gaps), statistics.median(marks.gaps_us(marks.read(bare)))
        return {"value": value, "reference": reference, "ratio": reference / value,
                "p90": gaps[len(gaps) * 9 // 10], "p99": gaps[len(gaps) * 99 // 100]}

    def note(self, rounds):
        return "90 %%: %.0f us, 99 %%: %.0f us" % tuple(statistics.median(r[p] for r in rounds) for p in ("p90", "p99"))
