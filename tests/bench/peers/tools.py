# SPDX-License-Identifier: BSD-3-Clause
"""The tools: how each is given a job, with the options that its documentation has for this.

What is written to files here is not timed; what runs is the argv, from its start to its end, with
every server that it starts and stops. To add a tool: a class, and its name in TOOLS.

    slow        a task costs so much that fewer of them are run
    kinds       the workloads that it can do; "resume" only if it keeps a state on disk
    keeps       what of a task is on disk after it has ended (in the tables)
    how         the command, as a person would write it
"""
import json
import os
import shlex
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))

PLAIN = {"true", "check", "spin", "out"}
ALL = PLAIN | {"dag", "resume"}


def said_by(argv, words=None, line=0):
    """A line of what a command says; None when it cannot be run."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                              stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    if done.returncode != 0 or len(lines) <= line:
        return None
    return lines[line] if words is None else " ".join(lines[line].split()[words])


def write_lines(path, lines):
    with open(path, "w") as f:
        f.writelines(line + "\n" for line in lines)


def command(task, out=None):
    """As a line of shell."""
    text = shlex.join(task.argv)
    return text if out is None else "%s >%s" % (text, shlex.quote("%s/%d" % (out, task.number)))


class Tool:
    slow = False
    kinds = PLAIN
    keeps = "nothing"
    how = ""
    python = None

    def __init__(self, root, build, venv):
        self.root, self.build, self.venv = root, build, venv

    def version(self):
        """None: it cannot be run here."""
        raise NotImplementedError

    def prepare(self, job):
        pass

    def argv(self, job):
        raise NotImplementedError

    def resume_argv(self, job):
        return self.argv(job)

    def env(self, job):
        """HOME is that of the run, so that nothing is left in the user's and nothing is found."""
        env = dict(os.environ, HOME=job.dir, PATH="%s/bin:%s" % (self.venv, os.environ["PATH"]))
        return env


class Bare(Tool):
    title = "bare loops"
    kinds = PLAIN | {"dag"}
    how = "bench_spawn N 2 COMMAND  (posix_spawn and waitpid in two pinned loops: the reference)"

    def version(self):
        return "" if os.access(self._program(), os.X_OK) else None

    def _program(self):
        return os.path.join(self.build, "tests/bench/bench_spawn")

    def argv(self, job):
        n, loops = job.n, job.cores
        argv = [self._program(), str(n), str(loops)] + job.tasks[0].argv
        if job.kind == "check":
            # It runs one command only: the marks of all are made by a shell.
            return ["sh", "-c", "\n".join(command(t) for t in job.tasks)]
        if job.kind == "dag":
            return ["sh", os.path.join(job.dir, "two-lines.sh")]
        if job.kind == "out":
            return ["sh", "-c", 'f=$1; shift; exec "$@" >"$f"', "sh", job.out + "/all"] + argv
        return argv

    def prepare(self, job):
        # The diamonds without any scheduler: a shell that starts the two in the middle together.
        if job.kind == "dag":
            write_lines(os.path.join(job.dir, "two-lines.sh"), (
                command(t) + (" &" if t.number % 3 == 1 else "\nwait" if t.number % 3 == 2 else "")
                for t in job.tasks))


class Xargs(Tool):
    title = "xargs"
    how = "xargs -P 2 -n 1 COMMAND <numbers; output: sh -c 'COMMAND >out/$0'"

    def version(self):
        said = said_by(["xargs", "--version"])
        return said and said.split()[-1]

    def prepare(self, job):
        write_lines(os.path.join(job.dir, "numbers"), (str(t.number) for t in job.tasks))

    def argv(self, job):
        argv = ["xargs", "-a", "numbers", "-P", str(job.cores), "-n", "1"]
        if job.kind == "out":
            return argv + ["sh", "-c", "exec %s >out/$0" % command(job.tasks[0])]
        if job.kind == "check":
            return argv + job.tasks[0].argv[:-1]
        return argv + job.tasks[0].argv


class Parallel(Tool):
    title = "GNU Parallel"
    kinds = PLAIN | {"resume"}
    keeps = "a line in the job log (written, not synced)"
    how = ("parallel -j 2 --joblog LOG <commands; output: --results DIR/{#}; "
           "resume: the same with --resume")

    def version(self):
        said = said_by(["parallel", "--version"])
        return said and said.split()[-1]

    def prepare(self, job):
        write_lines(os.path.join(job.dir, "commands"), (command(t) for t in job.tasks))
        os.makedirs(os.path.join(job.dir, ".parallel"), exist_ok=True)
        open(os.path.join(job.dir, ".parallel/will-cite"), "w").close()

    def argv(self, job):
        argv = ["parallel", "-j", str(job.cores), "--joblog", "log", "-a", "commands"]
        return argv + (["--results", job.out + "/{#}"] if job.kind == "out" else [])

    def resume_argv(self, job):
        return self.argv(job) + ["--resume"]


class ParallelPipe(Parallel):
    title = "GNU Parallel to shells"
    kinds = {"true", "check", "spin"}
    keeps = "nothing"
    how = "parallel -j 2 --pipe -N 50 sh <commands  (blocks of commands, no control of each)"

    def argv(self, job):
        block = max(1, min(50, job.n // (2 * job.cores)))
        return ["sh", "-c", "parallel -j %d --pipe -N %d sh <commands" % (job.cores, block)]


class Make(Tool):
    title = "GNU make"
    kinds = ALL
    keeps = "the file that the task makes"
    how = "make -s -j 2; one rule a task, output: COMMAND >out/$@; resume: the same, targets are files"

    def version(self):
        said = said_by(["make", "--version"])
        return said and said.split()[-1]

    def prepare(self, job):
        os.makedirs(os.path.join(job.dir, "done"), exist_ok=True)
        lines = ["all: " + " ".join(self._target(job, t.number) for t in job.tasks)]
        if job.kind != "resume":
            lines.append(".PHONY: all " + " ".join(self._target(job, t.number) for t in job.tasks))
        for t in job.tasks:
            text = command(t, job.out).replace("$", "$$")
            lines.append("%s: %s" % (self._target(job, t.number),
                                     " ".join(self._target(job, d) for d in t.deps)))
            lines.append("\t@" + text + (" && : >$@" if job.kind == "resume" else ""))
        write_lines(os.path.join(job.dir, "Makefile"), lines)

    def _target(self, job, number):
        return "done/%d" % number if job.kind == "resume" else "t%d" % number

    def argv(self, job):
        return ["make", "-s", "-j", str(job.cores)]


class Ninja(Tool):
    title = "Ninja"
    kinds = ALL
    keeps = "the file that the task makes, and a line in its log"
    how = "ninja --quiet -j 2; one build statement a task; resume: the same"

    def version(self):
        return said_by(["ninja", "--version"])

    def prepare(self, job):
        os.makedirs(os.path.join(job.dir, "done"), exist_ok=True)
        lines = ["rule r", "  command = $cmd"]
        for t in job.tasks:
            text = command(t, job.out) + (" && : >done/%d" % t.number if job.kind == "resume" else "")
            lines.append("build done/%d: r %s" % (t.number, " ".join("done/%d" % d for d in t.deps)))
            lines.append("  cmd = " + text.replace("$", "$$"))
        write_lines(os.path.join(job.dir, "build.ninja"), lines)

    def argv(self, job):
        return ["ninja", "--quiet", "-j", str(job.cores)]


class Pilot(Tool):
    title = "pilot-mpi"
    kinds = ALL
    keeps = "a row in SQLite, committed before it is shown; a directory with two output files"
    how = "pilot-mpi --cores 2 tasks.jsonl; resume: pilot-mpi --cores 2 --resume"

    def _program(self):
        return os.path.join(self.build, "pilot-mpi")

    def version(self):
        said = said_by([self._program(), "--version"])
        return said and said.split()[-1]

    def prepare(self, job):
        lines = []
        for t in job.tasks:
            task = {"id": "t%d" % t.number, "command": t.argv}
            if t.deps:
                task["depends_on"] = ["t%d" % d for d in t.deps]
            lines.append(json.dumps(task))
        write_lines(os.path.join(job.dir, "tasks.jsonl"), lines)

    def argv(self, job):
        argv = [self._program(), "--cores", str(job.cores)]
        return argv + (["--workdir", job.out] if job.out else []) + ["tasks.jsonl"]

    def resume_argv(self, job):
        return [self._program(), "--cores", str(job.cores), "--resume"]


class Python(Tool):
    """A program of ours on the tool's Python interface; it reads plan.json."""
    package = program = None

    def version(self):
        return said_by([self.venv + "/bin/python", "-c", "import importlib.metadata as m; "
                        "print(m.version(%r))" % self.package])

    def prepare(self, job):
        with open(os.path.join(job.dir, "plan.json"), "w") as f:
            json.dump({"cores": job.cores, "out": job.out, "kind": job.kind,
                       "tasks": [[t.argv, t.deps] for t in job.tasks]}, f)

    def argv(self, job):
        return [self.venv + "/bin/python", os.path.join(HERE, self.program)]

    def resume_argv(self, job):
        return self.argv(job) + ["resume"]


class HyperQueue(Python):
    title = "HyperQueue"
    package, program = "hyperqueue", "run_hyperqueue.py"
    kinds = PLAIN | {"dag"}
    keeps = "two output files; no journal through the wheel"
    how = "LocalCluster (real server and worker), one job of N program tasks, stdout and stderr files"


class HyperQueueQuiet(HyperQueue):
    title = "HyperQueue, no output"
    kinds = {"true", "check", "spin", "dag"}
    keeps = "nothing"
    how = "the same with stdout=None, stderr=None"

    def argv(self, job):
        return super().argv(job) + ["quiet"]


class Parsl(Python):
    title = "Parsl"
    package, program = "parsl", "run_parsl.py"
    kinds = ALL
    keeps = "nothing; with checkpoints a record a task"
    how = ("HighThroughputExecutor, 2 workers, prefetch_capacity=2, bash_app; resume: "
           "checkpoint_mode='task_exit', then get_all_checkpoints()")


class Dask(Python):
    title = "Dask"
    package, program = "distributed", "run_dask.py"
    kinds = PLAIN | {"dag"}
    how = "LocalCluster(n_workers=2, threads_per_worker=1), a function that runs the command"


class Qcg(Python):
    title = "QCG-PilotJob"
    package, program = "qcg-pilotjob", "run_qcg.py"
    kinds = ALL
    keeps = "a record of each change, in its tracker file"
    how = "LocalManager(--nodes 2), a job a task; resume: --resume DIR"


class DisBatch(Tool):
    title = "disBatch"
    slow = True
    kinds = PLAIN | {"resume"}
    keeps = "a line in the status file"
    how = "disBatch -s localhost:2 tasks; resume: -r STATUSFILE"

    def version(self):
        said = said_by([self.venv + "/bin/disBatch", "--version"])
        return said and said.split()[-1]

    def prepare(self, job):
        write_lines(os.path.join(job.dir, "tasks"), (command(t, job.out) for t in job.tasks))

    def argv(self, job):
        return [self.venv + "/bin/disBatch", "-s", "localhost:%d" % job.cores, "tasks"]

    def resume_argv(self, job):
        argv = self.argv(job)[:-1]
        for name in sorted(os.listdir(job.dir)):
            if name.endswith("_status.txt"):
                argv += ["-r", name]
        return argv + ["tasks"]


class TaskSpooler(Tool):
    title = "task-spooler"
    keeps = "nothing; output in one file a task"
    how = "tsp -S 2; tsp -n COMMAND for each (output: tsp COMMAND); then wait until none is left"

    def version(self):
        said = said_by(["tsp", "-V"])
        return said and said.split("v")[-1].split()[0]

    def prepare(self, job):
        option = "" if job.kind == "out" else "-n "
        lines = ["set -e", "export TS_SOCKET=$PWD/socket TMPDIR=${1:-$PWD}",
                 "tsp -S %d" % job.cores,
                 "until tsp >ids; do sleep 0.02; done  # its server is up"]
        lines += ["tsp %s%s >ids" % (option, command(t)) for t in job.tasks]
        lines += ["tsp -w 2>/dev/null || :"]  # for the last one; others may run still
        lines += ["while tsp | grep -q -e queued -e running; do sleep 0.02; done"]
        lines += ["tsp -K"]
        write_lines(os.path.join(job.dir, "all.sh"), lines)

    def argv(self, job):
        return ["sh", "all.sh"] + ([job.out] if job.out else [])


class Snakemake(Tool):
    title = "Snakemake"
    slow = True
    kinds = ALL
    keeps = "the file that the task makes, and its metadata"
    how = "snakemake --cores 2 --quiet all; one rule, N targets; resume: --rerun-incomplete"

    def version(self):
        return said_by([self.venv + "/bin/snakemake", "--version"])

    def prepare(self, job):
        with open(os.path.join(job.dir, "commands.json"), "w") as f:
            json.dump([[command(t, job.out), t.deps] for t in job.tasks], f)
        write_lines(os.path.join(job.dir, "Snakefile"), [
            "import json",
            "T = json.load(open('commands.json'))",
            "rule all:",
            "    input: expand('done/{i}', i=range(len(T)))",
            "rule task:",
            "    input: lambda w: ['done/%d' % d for d in T[int(w.i)][1]]",
            "    output: touch('done/{i}')",
            "    params: c=lambda w: T[int(w.i)][0]",
            "    shell: '{params.c}'"])

    def argv(self, job):
        return [self.venv + "/bin/snakemake", "--cores", str(job.cores), "--quiet", "all",
                "--keep-going"]

    def resume_argv(self, job):
        # A killed one leaves its lock.
        again = shlex.join(self.argv(job) + ["--rerun-incomplete"])
        return ["sh", "-c", "%s/bin/snakemake --unlock --quiet all; %s" % (self.venv, again)]


TOOLS = {
    "bare": Bare,
    "pilot-mpi": Pilot,
    "xargs": Xargs,
    "parallel": Parallel,
    "parallel-pipe": ParallelPipe,
    "make": Make,
    "ninja": Ninja,
    "hyperqueue": HyperQueue,
    "hyperqueue-quiet": HyperQueueQuiet,
    "parsl": Parsl,
    "dask": Dask,
    "qcg": Qcg,
    "disbatch": DisBatch,
    "task-spooler": TaskSpooler,
    "snakemake": Snakemake,
}

# Looked at, and why they are not measured.
LEFT_OUT = [
    ("RADICAL-Pilot 1.103", "installs; the agent of its local pilot ended at once here (its bootstrap "
     "took the system's Python), and its profiler asks public time servers"),
    ("FireWorks", "needs a MongoDB server, which neither Debian 12 nor PyPI has; on a stand-in for the "
     "database a measurement would not be one of FireWorks"),
    ("Pegasus MPI Cluster", "the package on PyPI has the Python part only, not the MPI program"),
    ("flux-core", "PyPI has Python bindings (flux-python) without the broker; not in Debian 12; the "
     "PyPI package of the name flux-core is another program"),
    ("HyperQueue's hq and its journal", "the wheel carries server and worker but not the command line "
     "program, and its LocalCluster has no option for the journal: no resume here"),
    ("Slurm's own job steps and arrays", "not a package to install but a cluster to set up"),
    ("nq", "one task at a time in a queue"),
]


def make(names, root, build, venv):
    return {name: TOOLS[name](root, build, venv) for name in names}
