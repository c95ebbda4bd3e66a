#!/usr/bin/env bash
# What runs the tests' programs where a user builds who is not root (tests/run.sh): with this environment, and without
# leaving files of root's among the sources.
exec sudo -E env "PATH=$PATH" PYTHONDONTWRITEBYTECODE=1 "$@"
