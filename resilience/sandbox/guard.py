"""The guard of a sandboxed program on Linux and other POSIX systems: run as a script of its own, standard library only.

It starts the program under the system's limits, and ends with it all that it has left behind. When whoever asked for it
dies, the pipe that it holds is closed, and everything here ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import NoReturn

_PDEATHSIG, _SUBREAPER, _NO_NEW_PRIVS = 1, 36, 38  # the second: what loses its parent becomes a child of this process
_NEW_USER, _NEW_PID, _NEW_NET = 0x10000000, 0x20000000, 0x40000000
_LOOK_MS = 50


def main() -> None:
    """Reads what to do from its argument; how it ended is told through the pipe ``report``."""
    told = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if told["cgroup"] is not None:
        with contextlib.suppress(OSError):
            (Path(told["cgroup"]) / "cgroup.procs").write_text("0")
    apart = _leave_the_others(libc, network=told["network"])
    _prctl(libc, _SUBREAPER, 1)
    keeper = os.fork()
    if keeper == 0:
        _keep(told, libc, apart=apart)
    os.closerange(0, 3)  # else nobody would see the end of the program's output
    killed = False
    ends = select.poll()  # select() cannot wait for descriptors past 1,023
    ends.register(told["alive"], select.POLLIN)
    with contextlib.suppress(AttributeError, OSError):  # not every system has it; then the keeper is looked at now and then
        ends.register(os.pidfd_open(keeper), select.POLLIN)
    while os.waitid(os.P_PID, keeper, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if told["alive"] in dict(ends.poll(_LOOK_MS)) and not killed:
            killed = True
            os.kill(keeper, signal.SIGKILL)
            os.waitid(os.P_PID, keeper, os.WEXITED | os.WNOWAIT)
    status = os.wait4(keeper, 0)[1]
    _end_what_is_left()
    if status != 0:
        _tell(told, -signal.SIGKILL, apart=apart)
    os._exit(0)


def _keep(told: dict, libc: ctypes.CDLL | None, *, apart: bool) -> NoReturn:  # type: ignore[type-arg]
    """In between: buries what ends. In a world of its own it is the first process, with which all others end."""
    _prctl(libc, _PDEATHSIG, signal.SIGKILL)
    _prctl(libc, _SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        _become(told, libc)
    os.closerange(0, 3)
    while (ended := os.wait4(-1, 0))[0] != child:
        pass
    if apart:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # only those of this world are seen from here
    _end_what_is_left()
    _tell(told, os.waitstatus_to_exitcode(ended[1]), apart=apart)
    os._exit(0)


def _tell(told: dict, code: int, *, apart: bool) -> None:  # type: ignore[type-arg]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = {"code": code, "cpu_s": used.ru_utime + used.ru_stime, "peak_kb": used.ru_maxrss}
    os.write(told["report"], json.dumps({**answer, "network_cut_off": apart and not told["network"]}).encode())


def _prctl(libc: ctypes.CDLL | None, option: int, value: int) -> None:
    if libc is not None:
        libc.prctl(option, value, 0, 0, 0)


def _leave_the_others(libc: ctypes.CDLL | None, *, network: bool) -> bool:
    """Has children live in a world of processes of their own, and without a network if they are to have none.

    Returns:
        Whether that worked; not every system allows it.
    """
    if libc is None:
        return False
    wanted = _NEW_PID | (0 if network else _NEW_NET)
    if os.geteuid() == 0 and libc.unshare(wanted) == 0:
        return True
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_NEW_USER | wanted) != 0:
        return False
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _become(told: dict, libc: ctypes.CDLL | None) -> None:  # type: ignore[type-arg]
    """In the child: takes the limits upon it, and becomes the program."""
    try:
        _prctl(libc, _PDEATHSIG, signal.SIGKILL)
        _prctl(libc, _NO_NEW_PRIVS, 1)
        for name, most in told["rlimits"].items():
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(which, (most, most + 1 if name == "RLIMIT_CPU" and hard == resource.RLIM_INFINITY else most))
        for name in ("SIGPIPE", "SIGXFSZ"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.set_inheritable(told["report"], False)
        os.set_inheritable(told["alive"], False)
        os.execvpe(told["command"][0], told["command"], os.environ)  # noqa: S606
    except OSError as error:
        os.write(told["report"], json.dumps({"errno": error.errno, "message": str(error)}).encode())
    finally:
        os._exit(127)


def _end_what_is_left() -> None:
    """Kills what the program has left, which is this process's to bury, until nothing is."""
    own = Path(f"/proc/self/task/{Path('/proc/self').readlink()}/children") if sys.platform == "linux" else None
    while True:
        with contextlib.suppress(OSError):
            for one in own.read_text().split() if own is not None else ():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(one), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    main()
