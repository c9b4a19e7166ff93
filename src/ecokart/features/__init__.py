"""The shop, bottom to top. A feature uses those below it, and speaks upwards by events alone."""
