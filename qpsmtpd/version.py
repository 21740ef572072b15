"""The version, where every layer may read it."""

VERSION = "1.0.0"
