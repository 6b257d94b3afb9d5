"""The pixel engine of the simulated survey: arrays and tables, no butler.

`load_config`, `list_visits`, `simulate_scene` and `simulate_visit` are all that a writer needs.
"""

from .artefacts import count_artefacts
from .config import SurveyConfig, available_presets, available_sizes, load_config
from .scene import Scene
from .simulate import SimulatedImage, simulate_scene, simulate_visit
from .visits import Visit, electrons_per_njy, list_visits

__all__ = [
    "Scene",
    "SimulatedImage",
    "SurveyConfig",
    "Visit",
    "available_presets",
    "available_sizes",
    "count_artefacts",
    "electrons_per_njy",
    "list_visits",
    "load_config",
    "simulate_scene",
    "simulate_visit",
]
