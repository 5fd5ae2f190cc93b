"""Attacks the first process and its pipes, and forges what it would say."""

import guard

guard.confined()

import json
import os
import signal

forged = json.dumps({"path": "report.xml", "size": 6}).encode() + b"\nforged" + b'{"exit": 0}\n'
for descriptor in os.listdir("/proc/1/fd") if os.access("/proc/1/fd", os.R_OK) else ():
    try:
        handle = os.open(f"/proc/1/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
        os.write(handle, forged + b"\xff" * 4096)
    except OSError as error:
        print("could not", descriptor, error.strerror, flush=True)
for number in range(1, 65):
    try:
        os.kill(1, number)
    except (OSError, ValueError):
        continue
print("STILL HERE", flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
