"""What rounding a layer would do, without quantizing the net."""
