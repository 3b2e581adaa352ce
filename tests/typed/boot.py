from lamson_sqlite_state import SQLiteStorage
from salmon.routing import Router

Router.STATE_STORE = SQLiteStorage("run/states")
