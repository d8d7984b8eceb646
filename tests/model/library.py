"""libzfs_core as far as no program does what it does; all else is left to the programs."""

from __future__ import annotations

from tests.model.world import Host
from zrep.core.steps import PlaceKey, Step
from zrep.host.library import Library


class ModelLibrary(Library):
    def __init__(self, host: Host) -> None:
        super().__init__(wanted=False)
        self._host = host

    def carry_out(self, step: Step, seconds: float) -> bool:
        match step:
            case PlaceKey(dataset=dataset, own=own):
                return self._host.place_key(dataset, own=own) == 0
        return super().carry_out(step, seconds)
