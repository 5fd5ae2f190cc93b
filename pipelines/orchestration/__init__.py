"""The brain: what happens, when and in what order. No agent talks to another directly."""
