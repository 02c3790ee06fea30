#!/usr/bin/env bash
# Print a Python from 3.11 on that can make virtual environments, or say how to get one.
for candidate in "${PYTHON:-python3}" python3.11 python3.12 python3.13; do
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    command -v "$candidate"
    exit 0
  fi
done
echo "LiP-Flow Studio needs Python 3.11 or newer with venv, found none; install it (Debian: sudo apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3" >&2
exit 2
