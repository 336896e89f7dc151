"""What runs inside a worker process: it imports one handler and runs one invocation at a time."""
