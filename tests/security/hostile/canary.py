"""Looks for the canary wherever a process can look; its form is known, its value is not."""

import guard

guard.confined()

import glob
import os
import re

FORM = re.compile(rb"canary-[0-9a-f]{32}")
places = [*glob.glob("/proc/[0-9]*/*"), *glob.glob("/proc/[0-9]*/task/*/*"), *glob.glob("/proc/*")]
places += glob.glob("/run/**", recursive=True) + glob.glob("/etc/**", recursive=True)
places += glob.glob("/tmp/**", recursive=True) + glob.glob("/dev/shm/**", recursive=True)
endless = ("kmsg", "pagemap", "mem", "kcore", "kpagecount", "kpageflags", "kpagecgroup")
looked = found = 0
for place in places:
    if os.path.basename(place) in endless or not os.path.isfile(place):
        continue
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
        data = os.read(handle, 1 << 20)
        os.close(handle)
    except OSError:
        continue
    looked += 1
    for secret in FORM.findall(data):
        found += 1
        print("ESCAPED:", place, secret.decode(), flush=True)
for name, value in os.environ.items():
    if FORM.search(value.encode()):
        found += 1
        print("ESCAPED: variable", name, flush=True)
print("LOOKED at", looked, "and found", found, flush=True)
