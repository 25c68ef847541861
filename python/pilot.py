# SPDX-License-Identifier: BSD-3-Clause
"""Many tasks inside one allocation, from Python.

    from pilot import Pilot, Task

    def refine(task, result, pilot):
        if result.success and interesting(result.stdout_file):
            return [Task(id=task.id + "_fine", command="./run --fine", cores=2)]

    pilot = Pilot(total_cores=8, db_path="state.db")
    pilot.on_complete(refine)
    pilot.add_tasks(Task(id="x%d" % x, command="./run %d" % x, tags={"x": x}) for x in range(10))
    print(pilot.run())

This module owns what a Python program sees: tasks, results, callbacks, and which task is where. It
schedules nothing and starts no task: it starts one ``pilot-mpi --on-complete -`` (through srun in an
allocation of several nodes), reads events from its standard output and writes answers to its
standard input, one JSON line each. docs/hooks.md describes that conversation.

One file that needs nothing but the standard library, so that it can be copied beside a campaign;
and without syntax that is newer than Python 3.6, which old clusters still have.

As a program, ``python pilot.py --cores 8 --tasks tasks.json`` is pilot-mpi with the same options.

Environment: PILOT_MPI, the program pilot-mpi; PILOT_LAUNCH, what starts it on all nodes, such as
"mpirun -np 4", or empty to start it on this machine only.
"""
import codecs
import collections
import json
import math
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union

try:
    from dataclasses import dataclass
except ImportError:  # Python 3.6

    def dataclass(**_options):  # type: ignore
        """Does nothing: the classes below are complete without it."""
        return lambda cls: cls


__all__ = ["Pilot", "Task", "TaskResult", "PilotError", "PilotRefused"]

PROTOCOL = 1
EXIT_COMPLETED, EXIT_FAILED, EXIT_USAGE, EXIT_STOPPED, EXIT_PILOT = range(5)

# How long an interrupted pilot-mpi may take to end its tasks (they have --grace, 5 s by default)
# before it is sent SIGTERM, and then SIGKILL.
END_SECONDS = 60
# For what is left in the pipe of standard error, once pilot-mpi has gone.
TEE_SECONDS = 5
# After so long in callbacks, what has been answered meanwhile is handed on.
FLUSH_SECONDS = 0.01
READ_BYTES = 1 << 18


class PilotError(RuntimeError):
    """pilot-mpi could not be started, or failed; the text says what it said."""


class PilotRefused(PilotError, ValueError):
    """pilot-mpi refused the tasks or the options, and ran nothing."""


# ---- Tasks and results ---------------------------------------------------------------------------
#
# Written out, because dataclasses came with Python 3.7; where there are any, the decorator adds
# what dataclasses.asdict() and replace() look for.


@dataclass(init=False, repr=False, eq=False)
class Task:
    """A command to run, and what it needs.

    id: unique, and the name of its directory below the work directory.
    command: for ``sh -c``; or a list of arguments, which is run without a shell.
    cores: on one node, for this task alone.
    timeout: seconds; None: no limit.
    priority: higher starts first.
    workdir: where it runs; None: in its own directory.
    env: environment variables. tags: anything, handed to the callbacks.
    max_retries: attempts that may follow a failed one. retries: those that there were.
    depends_on: ids of tasks that must have completed. stdin: a file for its standard input.
    memory: bytes, or "2G", that it may use; None: no limit. time_estimate: seconds that it will take.
    """

    id: str
    command: "Union[str, List[str]]"
    cores: int
    timeout: "Optional[float]"
    priority: int
    workdir: "Optional[str]"
    env: "Dict[str, str]"
    tags: "Dict[str, Any]"
    max_retries: int
    retries: int
    depends_on: "Optional[List[str]]"
    stdin: "Optional[str]"
    memory: "Union[int, str, None]"
    time_estimate: "Optional[float]"

    def __init__(
        self,
        id: str,
        command: "Union[str, List[str]]",
        cores: int = 1,
        timeout: "Optional[float]" = None,
        priority: int = 0,
        workdir: "Optional[str]" = None,
        env: "Optional[Dict[str, str]]" = None,
        tags: "Optional[Dict[str, Any]]" = None,
        max_retries: int = 0,
        retries: int = 0,
        depends_on: "Optional[List[str]]" = None,
        stdin: "Optional[str]" = None,
        memory: "Union[int, str, None]" = None,
        time_estimate: "Optional[float]" = None,
    ) -> None:
        self.id = id
        self.command = command
        self.cores = cores
        self.timeout = timeout
        self.priority = priority
        self.workdir = workdir
        self.env = {} if env is None else env
        self.tags = {} if tags is None else tags
        self.max_retries = max_retries
        self.retries = retries
        self.depends_on = depends_on
        self.stdin = stdin
        self.memory = memory
        self.time_estimate = time_estimate

    def to_dict(self) -> "Dict[str, Any]":
        """Its fields; depends_on and stdin only where they are set."""
        return {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in self.__dict__.items()
            if value is not None or name in _CLASSIC_TASK
        }

    @classmethod
    def from_dict(cls, data: "Mapping[str, Any]") -> "Task":
        """The task of a mapping such as to_dict() gives. Unknown keys are ignored."""
        for name in ("id", "command"):
            if data.get(name) is None:
                raise ValueError("task %.200s: it has no %r" % (dict(data), name))
        return cls(**{k: v for k, v in data.items() if k in _TASK and v is not None})

    def __lt__(self, other: "Task") -> bool:
        return self.priority > other.priority

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore  # equal ones may become different

    def __repr__(self) -> str:
        return "Task(%s)" % ", ".join("%s=%r" % item for item in self.to_dict().items())


_TASK = tuple(Task.__annotations__)
_CLASSIC_TASK = frozenset(_TASK) - {"depends_on", "stdin", "memory", "time_estimate"}


@dataclass(init=False, repr=False, eq=False)
class TaskResult:
    """What became of a task.

    returncode: its exit code; -1 when it did not exit by itself (timeout, signal, not started).
    duration: seconds, of the last attempt. stdout_file, stderr_file: absolute paths.

    And, where pilot-mpi says them, as attributes: status ("completed", "failed", "skipped",
    "cancelled"), reason ("exit", "signal", "timeout", "spawn", "lost", "cancel", "memory"), signal,
    node, attempts, cpus, user_time, sys_time (seconds), max_rss_kib. None where it does not.
    """

    task_id: str
    success: bool
    returncode: int
    duration: float
    stdout_file: str
    stderr_file: str

    status = None  # type: Optional[str]
    reason = None  # type: Optional[str]
    signal = None  # type: Optional[int]
    node = None  # type: Optional[str]
    attempts = None  # type: Optional[int]
    cpus = None  # type: Optional[str]
    user_time = None  # type: Optional[float]
    sys_time = None  # type: Optional[float]
    max_rss_kib = None  # type: Optional[int]

    def __init__(
        self,
        task_id: str,
        success: bool,
        returncode: int,
        duration: float,
        stdout_file: str = "",
        stderr_file: str = "",
        **more: "Any"
    ) -> None:
        self.task_id = task_id
        self.success = success
        self.returncode = returncode
        self.duration = duration
        self.stdout_file = stdout_file
        self.stderr_file = stderr_file
        self.__dict__.update(more)

    def to_dict(self) -> "Dict[str, Any]":
        """All that is known of it."""
        return dict(self.__dict__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskResult) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore

    def __repr__(self) -> str:
        return "TaskResult(%s)" % ", ".join("%s=%r" % item for item in self.__dict__.items())


_RESULT = tuple(TaskResult.__annotations__)

Callback = Callable[[Task, TaskResult, "Pilot"], Optional[Iterable[Task]]]
Resumed = collections.namedtuple("Resumed", ["pending", "done"])


def _plain(value: "Any") -> "Any":
    """The same in values that JSON has. A campaign may tag its tasks with anything; its callbacks
    get the very object back, and what is told to pilot-mpi is for the state."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(v) for v in value), key=repr)
    if hasattr(value, "tolist"):  # arrays and numbers of numpy
        return _plain(value.tolist())
    return str(value)


def _encode(task: Task) -> str:
    """The task as pilot-mpi reads it: one line of JSON, without the fields at their defaults. Equal
    content gives equal text."""
    if not isinstance(task.id, str) or not task.id:
        raise ValueError("task %r: its id must be a text that is not empty" % (task.id,))
    data = {"id": task.id, "command": task.command}  # type: Dict[str, Any]
    usual = (
        ("cores", 1),
        ("timeout", None),
        ("time_estimate", None),
        ("memory", None),
        ("priority", 0),
        ("max_retries", 0),
    )
    for name, default in usual:
        value = getattr(task, name)
        if value != default:
            data[name] = value
    for name in ("workdir", "stdin"):
        value = getattr(task, name)
        if value is not None:
            data[name] = str(value)
    if task.depends_on:
        data["depends_on"] = list(task.depends_on)
    if task.env:
        data["env"] = {str(k): str(task.env[k]) for k in sorted(task.env)}
    if task.tags:
        data["tags"] = task.tags
    try:
        return json.dumps(data, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(_plain(data))


def _as_task(value: "Any") -> Task:
    if isinstance(value, Task):
        return value
    if isinstance(value, Mapping):
        return Task.from_dict(value)
    raise TypeError("%r is not a Task; write Task(id=..., command=...)" % (value,))


def _read_tasks(text: str, name: str) -> "List[Task]":
    """The tasks of a JSON array, of an object with "tasks" and "defaults", or of JSON Lines. Those
    without an id are called task-1, task-2, ..., by their place."""
    defaults = {}  # type: Dict[str, Any]
    try:
        data = json.loads(text)
    except ValueError as whole:
        try:
            data = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise ValueError("%s: not JSON: %s" % (name, whole)) from None
    if isinstance(data, dict) and "tasks" in data:
        defaults = data.get("defaults") or {}
        data = data["tasks"]
    elif isinstance(data, dict):
        data = [data]
    tasks = []
    for number, item in enumerate(data if isinstance(data, list) else [data], 1):
        if not isinstance(item, dict):
            raise ValueError("%s: task %d: not an object, but %.80r" % (name, number, item))
        fields = dict(defaults, **{k: v for k, v in item.items() if v is not None})
        if "env" in defaults:
            fields["env"] = dict(defaults["env"], **(item.get("env") or {}))
        fields.setdefault("id", "task-%d" % number)
        tasks.append(Task.from_dict(fields))
    return tasks


# ---- Starting pilot-mpi --------------------------------------------------------------------------


def _find_program(environ: "Mapping[str, str]" = os.environ) -> str:
    """pilot-mpi: PILOT_MPI, else beside this module, else on PATH."""
    named = environ.get("PILOT_MPI")
    if named:
        found = shutil.which(named, path=environ.get("PATH"))
        if found is None:
            raise PilotError(
                "PILOT_MPI is '%s', which is not a program; set it to the path of pilot-mpi" % named
            )
        return os.path.abspath(found)
    here = os.path.dirname(os.path.realpath(__file__))
    # In its source tree, and as installed (share/pilot-mpi/python).
    for place in (".", "../build", "../bin", "../../../bin"):
        path = os.path.normpath(os.path.join(here, place, "pilot-mpi"))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    found = shutil.which("pilot-mpi", path=environ.get("PATH"))
    if found is None:
        raise PilotError(
            "the program pilot-mpi was not found: neither beside %s nor on PATH. Build it (cmake -B"
            " build && cmake --build build), or set PILOT_MPI to its path" % here
        )
    return os.path.abspath(found)


def _rank(environ: "Mapping[str, str]" = os.environ) -> "Optional[int]":
    """The number of this copy of the program, when mpirun or srun has started several; else None."""
    for rank, size in (
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        ("PMI_RANK", "PMI_SIZE"),
        ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
    ):
        number, count = environ.get(rank, ""), environ.get(size, "")
        if number.isdigit() and count.isdigit() and int(count) > 1:
            return int(number)
    return None


def _launcher(environ: "Mapping[str, str]" = os.environ) -> "List[str]":
    """The words that go before pilot-mpi to have it on all nodes of the allocation; none on one's
    own machine, in an allocation that is this machine, and where this program is on all nodes."""
    if _rank(environ) is not None:
        return []
    words = environ.get("PILOT_LAUNCH")
    if words is not None:
        return shlex.split(words)
    count = environ.get("SLURM_JOB_NUM_NODES") or environ.get("SLURM_NNODES") or "1"
    nodes = int(count) if count.isdigit() else 1
    # Outside of the job's nodes (salloc's shell on a login node) the one node is another machine.
    elsewhere = "SLURM_JOB_ID" in environ and "SLURMD_NODENAME" not in environ
    if nodes < 2 and not elsewhere:
        return []
    words_of_srun = [
        "srun",
        # One rank a node; it is the node's agent and uses all cores that the job has there.
        "--nodes=%d" % nodes,
        "--ntasks=%d" % nodes,
        "--ntasks-per-node=1",
        # The rank's own binding would be handed on to the tasks; pilot-mpi pins them itself.
        "--cpu-bind=none",
        "--mem=0",
        # A lost node or a dead rank does not end the others.
        "--no-kill",
        "--kill-on-bad-exit=0",
        "--wait=0",
        # The answers are for rank 0 alone.
        "--input=0",
    ]
    if "SLURM_STEP_ID" in environ:  # this program is in a step itself, whose cores are to be shared
        words_of_srun.append("--overlap")
    return words_of_srun


class _Tee(threading.Thread):
    """Passes on what pilot-mpi writes to standard error, and keeps the end of it for exceptions. In
    a thread: a long callback must not hold it up."""

    KEPT_CHARACTERS = 16384

    def __init__(self, pipe: "IO[bytes]") -> None:
        super().__init__(name="pilot-stderr", daemon=True)
        self.tail = ""
        self._pipe = pipe
        self.start()

    def run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        data = b"."
        while data:
            data = self._pipe.read(65536)  # unbuffered: what there is
            text = decoder.decode(data, final=not data)
            self.tail = (self.tail + text)[-self.KEPT_CHARACTERS :]
            try:
                sys.stderr.write(text)
                sys.stderr.flush()
            except (OSError, ValueError, AttributeError):
                pass  # nobody wants it; it is read all the same, or pilot-mpi would wait
        self._pipe.close()


class _Process:
    """A running pilot-mpi and its pipes. It never waits for one pipe while another is full: both
    sides may have a lot to say at once."""

    def __init__(self, command: "List[str]") -> None:
        on_terminal = _is_terminal(sys.stderr)
        try:
            # A session of its own: Ctrl-C is for this program, which then ends pilot-mpi in order
            # (srun and mpirun would make something else of it).
            self._popen = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if on_terminal else subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise PilotError("cannot start '%s': %s" % (command[0], error.strerror)) from error
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._tee = None if self._popen.stderr is None else _Tee(self._popen.stderr)
        self._in = self._popen.stdin
        self._out = self._popen.stdout
        os.set_blocking(self._in.fileno(), False)
        os.set_blocking(self._out.fileno(), False)
        self._lock = threading.Lock()  # of the next
        self._unsent = bytearray()
        self._partial = []  # type: List[bytes]
        self.ended = False

    def send(self, line: str) -> None:
        """Queues a line; from any thread."""
        with self._lock:
            self._unsent += line.encode("utf-8", "backslashreplace") + b"\n"

    def flush(self) -> None:
        """Writes as much as pilot-mpi takes now."""
        with self._lock:
            while self._unsent and not self._in.closed:
                try:
                    count = os.write(self._in.fileno(), bytes(self._unsent[:READ_BYTES]))
                except BlockingIOError:
                    return
                except OSError:  # it has gone; what it has written before is still to be read
                    self._in.close()
                    return
                del self._unsent[:count]

    def close_input(self) -> None:
        """No more answers: pilot-mpi ends (its running tasks too, if there are any)."""
        self._in.close()

    def lines(self, seconds: float) -> "List[bytes]":
        """What it has written, waiting so long at most; sets `ended` at the end of it. Meanwhile
        writes what is queued."""
        self.flush()
        gone = self._popen.poll() is not None
        poll = select.poll()
        poll.register(self._out.fileno(), select.POLLIN)
        if self._unsent and not self._in.closed:
            poll.register(self._in.fileno(), select.POLLOUT)
        ready = dict(poll.poll(seconds * 1000))
        if self._out.fileno() not in ready:
            self.flush()
            # Should a descendant of a killed pilot-mpi hold the pipe open.
            self.ended = gone and not ready
            return []
        try:
            data = os.read(self._out.fileno(), READ_BYTES)
        except BlockingIOError:
            return []
        self.ended = not data
        return self._split(data)

    def _split(self, data: bytes) -> "List[bytes]":
        first, newline, rest = data.partition(b"\n")
        self._partial.append(first)
        if not newline:
            return []
        lines = rest.split(b"\n")
        lines.insert(0, b"".join(self._partial))
        self._partial = [lines.pop()]
        return lines

    def wait(self) -> int:
        """Its exit status, when it has ended by itself."""
        self.close_input()
        status = self._popen.wait()
        self._close()
        return status

    def end(self) -> None:
        """Ends it early, and returns when it has gone. It still gets what is queued; its tasks are
        ended, and will run again on resume."""
        self.send('{"stop": "interrupted"}')
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._popen.send_signal(number)
            try:
                deadline = time.monotonic() + END_SECONDS
                while self._popen.poll() is None and time.monotonic() < deadline:
                    self.flush()
                    if not self._unsent:
                        self.close_input()
                    if self.ended:
                        time.sleep(0.01)
                    else:
                        self.lines(0.05)
                if self._popen.poll() is not None:
                    break
            except KeyboardInterrupt:
                pass  # not fast enough for the user
        self.wait()

    def complaint(self) -> str:
        """The end of what it wrote to standard error, after wait()."""
        if self._tee is None:
            return "see what it wrote to the terminal, above"
        return self._tee.tail.strip() or "it did not say why"

    def _close(self) -> None:
        self._out.close()
        if self._tee is not None:
            self._tee.join(TEE_SECONDS)


def _is_terminal(stream: "Any") -> bool:
    """Standard error of this process, and a terminal: pilot-mpi then draws on it itself."""
    try:
        return bool(stream.fileno() == 2 and stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False


# ---- The state of an earlier run -----------------------------------------------------------------


def _read_database(path: str) -> "List[Tuple[Any, ...]]":
    """A row for each task of a database that no pilot has open: id, status, exit code, reason, node,
    attempts, seconds, specification. None when there is no database."""
    if not os.path.exists(path):
        return []
    try:
        import sqlite3
    except ImportError:
        raise PilotError(
            "%s: this Python was built without sqlite3, which db_path needs" % path
        ) from None
    columns = "id, status, exit_code, reason, node, attempts, finished_at - started_at, spec"
    uri = Path(path).absolute().as_uri() + "?mode=ro"
    try:
        db = sqlite3.connect(uri, uri=True)
        try:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'tasks'").fetchone():
                return []
            return db.execute("SELECT %s FROM tasks ORDER BY seq" % columns).fetchall()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise PilotError(
            "%s: cannot be read: %s. It must be the state of a pilot, and no other pilot may have it"
            " open" % (path, error)
        ) from error


# ---- The pilot -----------------------------------------------------------------------------------


class _Pending:
    """What waits, as a queue that can only be looked at."""

    def __init__(self, waiting: "Dict[str, Task]") -> None:
        self._waiting = waiting

    def qsize(self) -> int:
        return len(self._waiting)

    def empty(self) -> bool:
        return not self._waiting

    def __len__(self) -> int:
        return len(self._waiting)


class _Answer:
    """What one event is answered with: all that is added while its callbacks run, so that
    pilot-mpi can commit it together."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.tasks = []  # type: List[str]
        self.cancel = []  # type: List[str]
        self.stop = None  # type: Optional[str]

    def line(self, seq: "Optional[int]") -> str:
        parts = [] if seq is None else ['"ack": %d' % seq]
        parts.append('"tasks": [%s]' % ", ".join(self.tasks))
        if self.cancel:
            parts.append('"cancel": %s' % json.dumps(self.cancel))
        if self.stop is not None:
            parts.append('"stop": %s' % json.dumps(self.stop))
        return "{%s}" % ", ".join(parts)


class Pilot:
    """Runs tasks on the cores of an allocation, and tells callbacks of those that have ended.

    total_cores: cores to use on all nodes together; None: all that there are.
    workdir: each task has a directory below it. All nodes must see it.
    db_path: where the state is kept; a later Pilot with the same one goes on with what it holds: no
        completed task runs again, and tasks that are there already may be added again. Without it,
        nothing of an earlier run counts.
    options: more options for pilot-mpi, such as ["--head-only", "--grace", "30"].

    Attributes: completed, failed, skipped, cancelled (ended tasks: TaskResult by id), running (Task
    by id), pending (qsize(), empty()), total_cores, cores_free, workdir.

    Callbacks are called one at a time, in the thread that called run(). Tasks may be added, tasks
    cancelled and the run stopped from them, and from other threads while it lasts.
    """

    _joined = False  # to the other ranks of this program: can be done once

    def __init__(
        self,
        total_cores: "Optional[int]" = None,
        workdir: "Union[str, Path]" = "./pilot_runs",
        db_path: "Optional[Union[str, Path]]" = None,
        options: "Optional[Iterable[str]]" = None,
    ) -> None:
        self.total_cores = total_cores
        self.workdir = Path(workdir)
        self.workdir.mkdir(parents=True, exist_ok=True)
        self.db_path = None if db_path is None else str(db_path)
        self.options = list(options or [])
        self.completed = {}  # type: Dict[str, TaskResult]
        self.failed = {}  # type: Dict[str, TaskResult]
        self.skipped = {}  # type: Dict[str, TaskResult]
        self.cancelled = {}  # type: Dict[str, TaskResult]
        self.running = {}  # type: Dict[str, Task]
        self._waiting = {}  # type: Dict[str, Task]
        self.pending = _Pending(self._waiting)
        self._tasks = {}  # type: Dict[str, Task]
        self._told = {}  # type: Dict[str, int]  # of those added here: hash of their text
        self._new = []  # type: List[Task]  # added, and not yet given to pilot-mpi
        self._callbacks = []  # type: List[Callback]
        self._process = None  # type: Optional[_Process]
        self._answer = None  # type: Optional[_Answer]
        self._summary = {}  # type: Dict[str, Any]
        self._lock = threading.RLock()  # who adds what

    # -- Before and during a run

    @property
    def cores_free(self) -> int:
        """Cores without a task."""
        with self._lock:
            busy = sum(task.cores for task in self.running.values())
        return max(0, (self.total_cores or 0) - busy)

    def on_complete(self, callback: Callback) -> Callback:
        """Has callback(task, result, pilot) called for each task that has ended for good. It returns
        tasks to add, or None. With a db_path its additions and the fact that it was called are kept
        together: after a crash neither is lost or done twice."""
        self._callbacks.append(callback)
        return callback

    def add_task(self, task: "Union[Task, Mapping[str, Any]]") -> None:
        """Adds a task (or a dict of its fields). One that is there already, with the same content, changes nothing; the same
        id with other content is a ValueError."""
        task = _as_task(task)
        text = _encode(task)
        with self._lock:
            told = self._told.get(task.id)
            if told is not None and told != hash(text):
                raise ValueError(
                    "task '%s' is there already, with other content; give it another id" % task.id
                )
            if told is not None:
                return
            self._told[task.id] = hash(text)
            self._tasks.setdefault(task.id, task)
            if not self._is_placed(task.id):
                self._waiting[task.id] = task
            if self._process is None:
                self._new.append(task)
                return
            self._tell(tasks=[text])

    def add_tasks(self, tasks: "Iterable[Union[Task, Mapping[str, Any]]]") -> None:
        """Adds several."""
        for task in tasks:
            self.add_task(task)

    def load_json(self, path: "Union[str, Path]") -> int:
        """Adds the tasks of a JSON file (an array; an object with "tasks" and "defaults"; or one
        task a line), and returns how many it has."""
        with open(str(path), encoding="utf-8") as file:
            tasks = _read_tasks(file.read(), str(path))
        self.add_tasks(tasks)
        return len(tasks)

    def resume(self) -> "Tuple[int, int]":
        """Reads what db_path holds; returns how many tasks are to be run and how many have ended.
        run() goes on with the former, whether or not this was called."""
        if self.db_path is not None:
            self._load_database()
        pending = len(self._waiting)
        return Resumed(pending, len(self._tasks) - pending)

    def cancel(self, *ids: str) -> None:
        """Ends tasks that have not ended, as cancelled; during a run."""
        with self._lock:
            self._tell(cancel=ids)

    def stop(self, why: str) -> None:
        """Ends the run; running tasks are ended and will run again on resume."""
        with self._lock:
            self._tell(stop=why)

    def log(self, message: str) -> None:
        """Prints a line with the time, to standard error."""
        clear = "\r\x1b[K" if _is_terminal(sys.stderr) else ""  # pilot-mpi's live line
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            sys.stderr.write("%s%s %s\n" % (clear, stamp, message))
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            pass

    # -- The run

    def run(self, max_workers: "Optional[int]" = None) -> "Dict[str, Any]":
        """Runs until every task has ended, those that callbacks add included; at most max_workers
        at once. Returns completed, failed, skipped, cancelled (numbers of tasks), unfinished,
        wall_time, cpu_time (seconds, of this run), exit_status (of pilot-mpi) and stopped: True if
        it ended early (a signal, stop(), --max-failures), and the rest is for another run.

        Errors: PilotRefused, which is a ValueError too (tasks or options that cannot be; a known id
        with other content; nothing was run); PilotError (pilot-mpi failed). KeyboardInterrupt and
        SystemExit end the running tasks, and then this program."""
        if self._process is not None:
            raise RuntimeError("run() was called inside run(); use add_task() in a callback")
        if _rank() is not None:
            self._join(max_workers)
        started = time.monotonic()
        resume = self.db_path is not None and self._load_database()
        if not self._new and not resume:
            return self._report(0, started)
        scratch = _make_scratch(self.workdir)
        try:
            status = self._run_in(scratch, resume, max_workers)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return self._report(status, started)

    def _join(self, max_workers: "Optional[int]") -> None:
        """Where mpirun or srun has started this program on every node: rank 0 goes on, the others
        are their node's agent and end here, as what they would get to see is on rank 0."""
        if Pilot._joined:
            raise PilotError(
                "a program that mpirun or srun has started on all nodes can run one Pilot only. Start"
                " it as it is, once: it starts pilot-mpi on the nodes of the allocation itself"
            )
        Pilot._joined = True
        if _rank() != 0:
            command = self._command(self.db_path or "state.db", False, max_workers, os.devnull)
            sys.exit(subprocess.call(command, stdin=subprocess.DEVNULL))

    def _run_in(self, scratch: str, resume: bool, max_workers: "Optional[int]") -> int:
        tasks = os.path.join(scratch, "tasks.jsonl") if self._new else None
        if tasks is not None:
            self._write_new(tasks)
        database = self.db_path or os.path.join(scratch, "state.db")
        self._summary = {}
        process = _Process(self._command(database, resume, max_workers, tasks))
        self._process = process
        try:
            self._converse(process)
            left_with = process.wait()
            status = int(self._summary.get("exit_status", left_with))
        except BaseException:
            process.end()
            raise
        finally:
            self._process = None
            self._answer = None
            self._requeue_running()
        if status == EXIT_USAGE:
            raise PilotRefused("nothing was run: %s" % process.complaint())
        self._new = []
        if status in (EXIT_COMPLETED, EXIT_FAILED):
            self._waiting.clear()  # of what was refused nothing is left
        if status < 0 or status >= EXIT_PILOT:
            raise PilotError(
                "pilot-mpi failed (exit status %d): %s" % (status, process.complaint())
            )
        return status

    def _command(
        self, database: str, resume: bool, max_workers: "Optional[int]", tasks: "Optional[str]"
    ) -> "List[str]":
        command = _launcher() + [_find_program(), "--on-complete", "-"]
        if self.total_cores is not None:
            command += ["--cores", str(self.total_cores)]
        if max_workers is not None:
            command += ["--max-workers", str(max_workers)]
        command += ["--workdir", os.path.abspath(str(self.workdir))]
        command += ["--db", os.path.abspath(database)]
        if resume:
            command.append("--resume")
        return command + self.options + ([] if tasks is None else ["--", os.path.abspath(tasks)])

    def _write_new(self, path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            for task in self._new:
                text = _encode(task)  # again: it may have been changed since it was added
                self._told[task.id] = hash(text)
                file.write(text + "\n")

    def _report(self, status: int, started: float) -> "Dict[str, Any]":
        report = {"cpu_time": 0.0}  # type: Dict[str, Any]
        report["wall_time"] = time.monotonic() - started
        report.update(self._summary)
        for name in ("completed", "failed", "skipped", "cancelled"):
            report[name] = len(getattr(self, name))
        report.setdefault("unfinished", len(self._waiting))
        report["exit_status"] = status
        report["stopped"] = status == EXIT_STOPPED
        return report

    # -- What pilot-mpi says

    def _converse(self, process: _Process) -> None:
        flushed = time.monotonic()
        while not process.ended:
            for line in process.lines(1.0):
                self._handle(process, line)
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    process.flush()
                    flushed = time.monotonic()

    def _handle(self, process: _Process, line: bytes) -> None:
        try:
            event = json.loads(line.decode("utf-8", "replace"))
            kind = event["event"]
        except (ValueError, KeyError, TypeError):
            if line.strip():  # a launcher's own words
                self.log(line.decode("utf-8", "replace"))
            return
        if kind == "ended":
            process.send(self._on_ended(event))
        elif kind == "started":
            self._on_started(event)
        elif kind == "hello":
            self._on_hello(event)
        elif kind == "error":
            self._on_error(event)
        elif kind == "end":
            self._summary = dict(event.get("summary") or {})
            self._summary["exit_status"] = event["exit_status"]
            process.flush()
            process.close_input()

    def _on_hello(self, event: "Dict[str, Any]") -> None:
        if event.get("protocol") != PROTOCOL:
            raise PilotError(
                "pilot-mpi %s speaks version %s of the hook protocol and this module version %d; use"
                " the pilot.py that came with it"
                % (event.get("version"), event.get("protocol"), PROTOCOL)
            )
        if self.total_cores is None:
            self.total_cores = event["cores"]

    def _on_started(self, event: "Dict[str, Any]") -> None:
        with self._lock:
            task = self._tasks.get(event["id"])
            if task is None:  # by pilot-mpi add; its content comes when it has ended
                task = Task(event["id"], "", cores=event.get("cores", 1))
            self._forget(task.id)
            self.running[task.id] = task

    def _on_ended(self, event: "Dict[str, Any]") -> str:
        fields = event["result"]
        result = TaskResult(**fields)
        task_id = result.task_id
        with self._lock:
            task = self._tasks.get(task_id)
            if task is None:
                task = Task.from_dict(event["task"])
                self._tasks[task_id] = task
            task.retries = max(0, (result.attempts or 1) - 1)
            self._forget(task_id)
            self._ended_as(result.status)[task_id] = result
            answer = self._answer = _Answer()
        for callback in self._callbacks:
            self._call(callback, task, result)
        with self._lock:
            self._answer = None
        return answer.line(event.get("seq"))

    def _call(self, callback: Callback, task: Task, result: TaskResult) -> None:
        name = getattr(callback, "__name__", repr(callback))
        try:
            more = callback(task, result, self)
            if more is None:
                return
            for new in [more] if isinstance(more, (Task, Mapping)) else more:
                try:
                    self.add_task(new)
                    if new is task:
                        raise ValueError(
                            "a task that has ended does not run again: give it max_retries, or"
                            " return a new Task with another id"
                        )
                except (TypeError, ValueError) as error:
                    self.log("%s, called for task '%s': %s" % (name, task.id, error))
        except Exception:
            self.log(
                "%s failed for task '%s':\n%s" % (name, task.id, traceback.format_exc().rstrip())
            )

    def _on_error(self, event: "Dict[str, Any]") -> None:
        message = str(event.get("message"))
        self.log("pilot-mpi refused an answer: %s" % message)
        with self._lock:  # tasks that it names will not run; a corrected one may come
            for task_id in re.findall(r"(?:task|id) '([^']*)'", message):
                if self._waiting.pop(task_id, None) is not None:
                    self._told.pop(task_id, None)
                    self._tasks.pop(task_id, None)

    # -- Which task is where: in exactly one of these

    def _ended_as(self, status: "Optional[str]") -> "Dict[str, TaskResult]":
        kinds = {
            "completed": self.completed,
            "skipped": self.skipped,
            "cancelled": self.cancelled,
        }
        return kinds.get(status or "", self.failed)

    def _places(self) -> "Tuple[Dict[str, Any], ...]":
        return (
            self._waiting,
            self.running,
            self.completed,
            self.failed,
            self.skipped,
            self.cancelled,
        )

    def _is_placed(self, task_id: str) -> bool:
        return any(task_id in place for place in self._places())

    def _forget(self, task_id: str) -> None:
        for place in self._places():
            place.pop(task_id, None)

    def _requeue_running(self) -> None:
        with self._lock:
            self._waiting.update(self.running)
            self.running.clear()

    def _tell(
        self,
        tasks: "Iterable[str]" = (),
        cancel: "Iterable[str]" = (),
        stop: "Optional[str]" = None,
    ) -> None:
        """In the answer of the callback that wants it, so that pilot-mpi commits all of it together;
        what comes from elsewhere in a line of its own."""
        if self._process is None:
            raise RuntimeError("nothing runs: cancel() and stop() are for callbacks")
        answer = self._answer
        if answer is None or answer.thread is not threading.current_thread():
            answer = _Answer()
        answer.tasks.extend(tasks)
        answer.cancel.extend(cancel)
        answer.stop = stop or answer.stop
        if answer is not self._answer:
            self._process.send(answer.line(None))

    def _load_database(self) -> bool:
        """Puts the tasks of db_path where they are; False if there are none."""
        again = "--retry-failed" in self.options
        found = False
        ran = []  # type: List[str]
        for row in _read_database(self.db_path or ""):
            task_id, status, code, reason, node, attempts, seconds, spec = row
            found = True
            if task_id not in self._tasks:
                self._tasks[task_id] = Task.from_dict(json.loads(spec))
            self._forget(task_id)
            if status in ("pending", "running") or (again and status in ("failed", "skipped")):
                self._waiting[task_id] = self._tasks[task_id]
                continue
            directory = self.workdir.absolute() / task_id
            self._tasks[task_id].retries = max(0, attempts - 1)
            self._ended_as(status)[task_id] = TaskResult(
                task_id,
                status == "completed",
                -1 if code is None else code,
                seconds or 0.0,
                str(directory / "stdout.txt"),
                str(directory / "stderr.txt"),
                status=status,
                reason=reason or "",
                node=node or "",
                attempts=attempts,
            )
            if attempts > 0:
                ran.append(task_id)
        self._unpack(ran)
        return found

    def _unpack(self, ids: "List[str]") -> None:
        """Makes the files of those whose output was packed by a run that nobody listened to."""
        workdir = self.workdir.absolute()
        if next(workdir.glob(".pilot/*/output-*.pack"), None) is None:
            return
        ids = [i for i in ids if not (workdir / i / "stdout.txt").exists()]
        command = [_find_program(), "logs", "--workdir", str(workdir), "--db", str(self.db_path)]
        for first in range(0, len(ids), 500):
            unpack = command + ["--unpack", str(workdir), "--"] + ids[first : first + 500]
            if subprocess.call(unpack, stdin=subprocess.DEVNULL) != 0:
                self.log("the packed output of tasks of an earlier run could not be unpacked")
                return


def _make_scratch(workdir: Path) -> str:
    """A directory for one run, where all nodes see it. A program that was killed leaves its own,
    which the next one on the same host removes."""
    prefix = ".pilot-py-%s-" % socket.gethostname()
    for old in workdir.glob(prefix + "*"):
        pid = old.name[len(prefix) :].split("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(str(old), ignore_errors=True)
    return tempfile.mkdtemp(prefix="%s%d-" % (prefix, os.getpid()), dir=str(workdir))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


# ---- As a program --------------------------------------------------------------------------------


def _program_command(arguments: "List[str]") -> "List[str]":
    """pilot-mpi with the same options. Without --db nothing of an earlier run counts, as ever."""
    names = {word.split("=")[0] for word in arguments}
    first = (arguments or ["-"])[0]
    if not first.startswith("-") and not os.path.exists(first):
        return [_find_program()] + arguments  # such as "add"
    command = _launcher() + [_find_program()]
    if names.isdisjoint(("--db", "--resume", "--fresh", "--help", "-h", "--version")):
        command.append("--fresh")
    return command + arguments


def main() -> None:
    """Becomes pilot-mpi; does not return."""
    try:
        command = _program_command(sys.argv[1:])
        os.execvp(command[0], command)
    except (PilotError, OSError) as error:
        sys.stderr.write("pilot.py: %s\n" % error)
        sys.exit(EXIT_USAGE)


if __name__ == "__main__":
    main()
