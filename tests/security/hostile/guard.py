"""Refuses to go on unless this process can prove that it is confined.

Every program of this folder begins with ``guard.confined()``. One that did its work outside of a
sandbox, as root, would damage the machine, so each of several independent proofs is asked for and
whatever cannot be looked up counts as missing.
"""

import os
import sys

REFUSED = 99


def proofs():
    status = dict(
        line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line
    )
    mounts = [line.split() for line in open("/proc/mounts")]
    cards = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
    yield "the marker is set", os.environ.get("CONDUCTOR_SANDBOX") in ("bubblewrap", "docker")
    yield "the user is nobody", os.getuid() == os.geteuid() == 65534
    yield "no capability is held", int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    yield "none can be gained", status["NoNewPrivs"].strip() == "1"
    yield "system calls are filtered", status["Seccomp"].strip() == "2"
    yield "the first process is ours", os.stat("/proc/1").st_uid == 65534
    yield "the root is read-only", bool(os.statvfs("/").f_flag & os.ST_RDONLY)
    yield "only loopback is there", cards == ["lo"]
    yield "the work folder is in memory", any(
        mount[1] == "/workspace" and mount[2] == "tmpfs" for mount in mounts
    )
    yield "this is the work folder", os.getcwd() == "/workspace"


def confined():
    try:
        missing = [name for name, given in proofs() if not given]
    except Exception as error:
        missing = [repr(error)]
    if missing:
        print("REFUSED:", "; ".join(missing))
        sys.stdout.flush()
        os._exit(REFUSED)
    print("CONFINED")
    sys.stdout.flush()


if __name__ == "__main__":
    confined()
