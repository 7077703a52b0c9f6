"""What people do with policies besides judging by them: check, test, explain, compare, simulate, replay, print."""
