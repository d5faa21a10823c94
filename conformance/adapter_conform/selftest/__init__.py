"""The suite proved on itself: planted faults must be caught, and a healthy device must raise no alarm."""
