"""Make the application ready to take mail: imported once, before the workers are forked.

There is no ``settings.receiver`` here. A QueueReceiver starts threads, and threads don't
come along through a fork, so each worker makes its own. The store may be used right away,
by this process and by each of its forked children.
"""

import logging.config
import os

from app.model.confirmation import secret_kept_in
from app.shared_queue import UndeliverableQueue, recover
from salmon import queue
from salmon.routing import Router
from salmon.server import Relay

from lamson_sqlite_state import SQLiteStorage

from . import settings

# Loggers made before this, the mail server's for one, go on working.
logging.config.fileConfig("config/logging.conf", disable_existing_loggers=False)

settings.relay = Relay(host=settings.relay_config["host"], port=settings.relay_config["port"])
settings.secret = secret_kept_in("run/secret")

# All maildirs are made here: of two workers that make the same one, one would fail.
os.makedirs(settings.archive_dir, exist_ok=True)
settings.archives = {
    name: queue.Queue(os.path.join(settings.archive_dir, name)) for name in settings.lists
}
queue.Queue(settings.queue_dir)
recover(settings.queue_dir)
Router.UNDELIVERABLE_QUEUE = UndeliverableQueue(settings.undeliverable_dir)

Router.defaults(**settings.router_defaults)
Router.load(settings.handlers)
Router.STATE_STORE = SQLiteStorage("run/states")
