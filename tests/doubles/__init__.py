"""Stand-ins that several test folders share; their `conftest.py` puts this folder's parent on the path."""
