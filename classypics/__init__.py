"""Labelled pictures in, pictures of any class out: class-conditional diffusion, small enough to read and to train on two cores.

The names below are in reading order; each is loaded when it is first used. `classypics.recipe` holds the whole way in four calls:
`plan`, `train`, `evaluate`, `report`.
"""

__version__ = "0.1.0"

_HOME = {
    "InputError": "core",
    "picture_grid": "core",
    "load_data": "data",
    "analyse": "data",
    "Augment": "augment",
    "LogNormal": "schedule",
    "Discrete": "schedule",
    "Flow": "schedule",
    "fit": "train",
    "Pixels": "codec",
    "SpaceToDepth": "codec",
    "KLAutoencoder": "codec",
    "VQAutoencoder": "codec",
    "UNet": "unet",
    "ClassLabels": "denoiser",
    "Attributes": "denoiser",
    "Denoiser": "denoiser",
    "DenoisingTask": "denoiser",
    "Guided": "denoiser",
    "SAMPLERS": "sample",
    "Pipeline": "pipeline",
    "FeatureNet": "metrics",
    "Recipe": "recipe",
    "evaluate": "recipe",
    "report": "recipe",
    "Panel": "panel",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'classypics' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"classypics.{_HOME[name]}"), name)


def __dir__():
    return [*globals(), *_HOME]
