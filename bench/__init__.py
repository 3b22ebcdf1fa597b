"""Speed beside other servers, as ratios of the same run: `python -m bench`."""
