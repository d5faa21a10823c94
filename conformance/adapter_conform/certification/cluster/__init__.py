"""``plan-cluster``: which parallel strategy of a true configuration fits a cluster, how long it takes, how to start it.

``model.py``  parameters and arithmetic     ``strategy.py``  ways to spread a training over cards
``memory.py`` bytes on the fullest card     ``timing.py``    time and disk
``search.py`` the best that fits            ``launch.py``    scripts for Paddle's launcher and Slurm
"""
