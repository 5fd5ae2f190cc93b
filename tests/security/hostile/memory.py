import guard

guard.confined()

hoard = []
try:
    while len(hoard) < 64:
        hoard.append(bytearray(b"x") * (64 << 20))
except MemoryError:
    print("CONTAINED", flush=True)
    raise SystemExit(1) from None
print("ESCAPED: 4 GiB were given", flush=True)
