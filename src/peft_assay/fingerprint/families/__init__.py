"""One file for each way in which PEFT's types write an update; the catalogue is in `fingerprint.normal`."""
