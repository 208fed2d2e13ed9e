"""Well-known data sets: fetched, unpacked safely, and laid out as class folders."""
