"""Load on a server from outside: requests that arrive by chance, what each saw, and the rate that can be borne."""
