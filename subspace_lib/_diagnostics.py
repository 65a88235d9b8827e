"""Placeholder."""
from typing import Any

GROUPS: tuple[str, ...] = ()


class Yardstick:
    def __init__(self, data: Any, groups: Any, device: Any) -> None:
        pass

    def measure(self, network: Any, params: Any, finite: Any, certify: bool) -> tuple[Any, Any]:
        return (), {}
