"""Real parts for tests: a broker, a database, and the project's own processes, each ended with its test."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import paho.mqtt.client
import paho.mqtt.publish
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexus import embedded
