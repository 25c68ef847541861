# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the Python module share: where it is, processes of a test, and the test case with a
real pilot-mpi (PILOT_MPI, or the one found beside the module or on PATH), in a directory of its own
below PILOT_TEST_TMP.

    python3 tests/python/test_runs.py [-v] [CLASS[.test_name]]
"""

import contextlib
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODULE = ROOT / "python" / "pilot.py"
sys.path.insert(0, str(MODULE.parent))

import pilot as module  # noqa: E402
from pilot import Pilot, PilotError  # noqa: E402

DEADLINE = 60  # for whatever is waited for, seconds

# Every process that is started from here inherits it; so the ones left behind are found.
MARKER = "PY_TEST_MARKER=%s" % uuid.uuid4()
os.environ.__setitem__(*MARKER.split("="))
os.environ["OMPI_ALLOW_RUN_AS_ROOT"] = os.environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"


def marked():
    """Pids of living processes that were started from here."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if int(directory.name) == os.getpid():
                continue
            if MARKER.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
        except OSError:
            pass
    return found


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("not within %d s: %s%s" % (DEADLINE, what, describe(marked())))
        time.sleep(0.01)


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def describe(pids):
    text = ""
    for pid in pids:
        with contextlib.suppress(OSError):
            command = Path("/proc/%d/cmdline" % pid).read_bytes().replace(b"\0", b" ")
            wchan = Path("/proc/%d/wchan" % pid).read_text()
            parent = Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[:2]
            text += "\n  %d %s %s %s" % (pid, command.decode("utf-8", "replace"), wchan, parent)
    return text


def skip(reason):
    print("SKIP: %s" % reason)  # tests/run.sh shows such lines
    raise unittest.SkipTest(reason)


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


def start_python(*words, **more):
    environ = dict(os.environ, PYTHONPATH=str(MODULE.parent), PYTHONDONTWRITEBYTECODE="1")
    environ.update(more.pop("env", {}))
    return subprocess.Popen([sys.executable] + list(words), env=environ, **more)


def run_python(*words, **more):
    """Exit status, standard output, standard error."""
    process = start_python(
        *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **more
    )
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


class RealTest(unittest.TestCase):
    """A directory of its own, which is the current one; and nothing left running in the end."""

    @classmethod
    def setUpClass(cls):
        try:
            module._find_program()
        except PilotError as error:
            if os.environ.get("PILOT_MPI"):
                raise
            skip(error)

    def setUp(self):
        base = os.environ.get("PILOT_TEST_TMP") or str(ROOT / "build" / "test-tmp")
        os.makedirs(base, exist_ok=True)
        self.dir = Path(tempfile.mkdtemp(prefix="python.", dir=base))
        self.addCleanup(shutil.rmtree, str(self.dir), ignore_errors=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(str(self.dir))
        self.addCleanup(self.nothing_is_left)
        # What pilot-mpi and the module write.
        self.err = io.StringIO()
        redirect = contextlib.redirect_stderr(self.err)
        redirect.__enter__()
        self.addCleanup(redirect.__exit__, None, None, None)

    def nothing_is_left(self):
        try:
            wait_until(lambda: not marked(), "processes are left")
        except AssertionError:
            kill(marked())
            raise
        self.assertEqual(list(self.dir.glob("**/.pilot-py-*")), [])

    def pilot(self, total_cores=4, **more):
        return Pilot(total_cores, **more)

    def statuses(self, path):
        db = sqlite3.connect(str(path))
        try:
            return dict(db.execute("SELECT id, status FROM tasks"))
        finally:
            db.close()
