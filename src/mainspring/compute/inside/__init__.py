"""What runs inside of the sandbox: the standard library only, since it is started with nothing else in reach."""
