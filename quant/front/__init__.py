"""Float models of any source -> the captured net."""
