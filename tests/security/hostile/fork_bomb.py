import guard

guard.confined()

import os
import time

made = 0
while True:
    try:
        if os.fork() == 0:
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(60)
        made += 1
    except OSError:
        print("CONTAINED after", made, flush=True)
        time.sleep(60)
