"""Names and addresses of the mailing list; boot.py adds the objects made from them."""

domain = "lists.example"
lists = ("talk", "news")

relay_config = {"host": "127.0.0.1", "port": 8825}

# Where the mail server delivers, and every worker takes from.
queue_dir = "run/queue"
archive_dir = "run/archive"
undeliverable_dir = "run/undeliverable"

handlers = ["app.handlers.subscription", "app.handlers.bounces"]

router_defaults = {"host": domain.replace(".", r"\."), "list_name": "|".join(lists)}
