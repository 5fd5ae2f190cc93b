import guard

guard.confined()

import os
import sys

failed = 0
for folder in ("/workspace", "/tmp", "/dev/shm"):
    with open(folder + "/big", "wb", buffering=0) as file:
        try:
            for _ in range(4096):
                file.write(bytes(1 << 20))
            print("ESCAPED: 4 GiB were written to", folder, flush=True)
        except OSError as error:
            failed += 1
            print("CONTAINED", folder, error.strerror, flush=True)
    if folder != sys.argv[1]:
        os.unlink(folder + "/big")
raise SystemExit(1)
