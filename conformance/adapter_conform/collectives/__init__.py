"""What the collectives suite judges by: groups of processes that Paddle's launcher starts, and what each rank does.

``crew``        starts ranks through ``python -m paddle.distributed.launch`` and talks to them (in the worker)
``launcher``    Paddle's launcher, which dies with the worker
``attendant``   what the launcher starts for each rank: outlives the rank, so that the death of one can be judged
``rank``        one rank: Paddle, the plugin, and the jobs that the crew is given
``operations``  the collectives: inputs, calls, and what is right
``values``      inputs that make every order of reduction exact
``scenarios``   what is about time and order rather than numbers
"""
