"""One file for each port and technology, `<port>_<technology>.py`. Only `app.py` and tests import them."""
