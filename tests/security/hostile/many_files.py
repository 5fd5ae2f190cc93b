import guard

guard.confined()

import os

made = 0
try:
    for folder in range(4000):
        os.mkdir(f"d{folder}")
        for name in range(1000):
            os.close(os.open(f"d{folder}/{name}", os.O_CREAT | os.O_WRONLY))
            made += 1
except OSError as error:
    print("CONTAINED", made, error, flush=True)
    raise SystemExit(1) from None
print("ESCAPED: four million files", flush=True)
