"""Training over several cards with Paddle's fleet, judged against one card.

``strategies``  the table: how each case spreads the model, and the reason of those that Paddle itself breaks
``fleetwork``   a strategy as fleet wants it: groups, wrapped model and optimizer, one step
``training``    what every rank does: builds, loads, trains, and says what it saw
``models``      the models, and their weights, which travel in a file
"""
