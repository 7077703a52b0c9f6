"""Bytes to PEFT: the one way in which an adapter is put on a base, in the sandbox and in the serving process alike."""
