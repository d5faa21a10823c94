"""``plan-cluster``: which parallel strategy of a true configuration fits a cluster, how long it takes, how to start it.

``model.py``     parameters, arithmetic of a language model    ``strategy.py``  ways to spread a training over cards
``diffusion_model.py``  the same of Stable Diffusion           ``timing.py``    time and disk
``memory.py``    bytes on the fullest card                     ``search.py``    the best that fits
``workloads.py`` both kinds of model by one interface          ``programs.py``  training programs and their arguments
``published.py`` held against published figures                ``launch.py``    scripts for Paddle's launcher and Slurm
"""
