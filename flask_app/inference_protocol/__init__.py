"""The Open Inference Protocol, version 2, over REST, with the binary tensor extension; nothing here knows Flask."""
