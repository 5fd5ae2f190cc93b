import guard

guard.confined()

import signal
import time

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        continue
print("STARTED", flush=True)
while True:
    time.sleep(1)
