import guard

guard.confined()

import os
import signal
import time

# Two daemons: one that left the session, one whose parent is gone, too; both keep the pipes open.
for leave in (1, 2):
    if os.fork() == 0:
        os.setsid()
        if leave == 2 and os.fork():
            os._exit(0)
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                continue
        while True:
            with open("/workspace/report.xml", "w") as file:
                file.write("the daemon was here")
            time.sleep(0.001)
time.sleep(0.1)
with open("/workspace/done.txt", "w") as file:
    file.write("done")
