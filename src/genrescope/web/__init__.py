"""The door for browsers and programs: one page, and an API over HTTP."""
