"""The critical section: pause clients, fence, drain, stop, sequences, smoke, decide, open; or undo."""
