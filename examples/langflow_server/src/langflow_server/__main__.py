"""``python -m langflow_server`` is ``langflow-server``."""

from langflow_server.cli import main

main()
