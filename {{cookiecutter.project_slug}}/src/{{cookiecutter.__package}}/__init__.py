"""This project's own Python code: settings, the `xcom` command, and the way of its XComs."""
