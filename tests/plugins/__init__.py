"""Tests of the plugins, a file each."""
