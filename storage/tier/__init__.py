"""Tiers of a volume: the composed space, heat of file ranges, the plan of moves. Pure."""
