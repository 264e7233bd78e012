"""The sections of settings, each with its class. Slow to import: it takes all services."""

from coord_coordinator.settings import CoordinatorSettings
from coord_integrator.settings import IntegratorSettings
from coord_ledger.settings import LedgerSettings
from coord_limiter.settings import LimiterSettings
from coord_queue.service import QueueSettings
from coord_runtime.config import SectionSettings, load
from coord_runtime.node import NodeSettings

from coord_host.host import settings_for
from coord_host.overrides import Overrides
from coord_host.places import Place

SECTIONS: dict[str, type[SectionSettings]] = {
    settings.SECTION: settings
    for settings in (
        CoordinatorSettings,
        IntegratorSettings,
        LedgerSettings,
        LimiterSettings,
        NodeSettings,
        QueueSettings,
    )
}


def check_settings(place: Place, overrides: Overrides) -> None:
    """Refuse settings with which a host would not start.

    Raises:
        CoordError: INVALID_ARGUMENT with reason INVALID_SETTING.
    """
    flags = settings_for(place, overrides)
    for section in flags:
        load(SECTIONS[section], flags)
