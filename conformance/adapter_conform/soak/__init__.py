"""Training for as long as the user says: heartbeats, restarts, drift of resources, and what came of it.

``heartbeat``  the file with a line of JSON a beat; its format is documented in docs/parallel.md
``drift``      whether a resource creeps upward
``conduct``    the loop: steps, saves, restarts after what goes wrong
``verdict``    what a file of heartbeats proves
"""
