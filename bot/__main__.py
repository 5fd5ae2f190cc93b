"""``python -m bot`` is ``conductor``."""

from bot.cli import main

main()
