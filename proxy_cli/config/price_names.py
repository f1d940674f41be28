"""The names of prices, as the price list and the files of its readers have them.

It owns which names there are, and which of them only change other prices. A name that is a price by its form and is
not here is counted by nobody, so it is told: a slip in a price costs money without a word.
"""

import re
from typing import Final

PRICE_KEYS: Final = "(^|_)cost(_per_|_above_|_|$)|^(tiered|off_peak)_pricing$|_uplift_multiplier"
_PRICE: Final = re.compile(PRICE_KEYS)
# A discount by the hour, a surcharge by the region: what they are taken from are the prices themselves.
_MODIFIER: Final = re.compile("^off_peak_pricing$|_uplift_multiplier")
# What may follow a name: the length of prompt or of storage that it begins at, the kind of service, a size of picture.
_VARIANT: Final = re.compile(
    r"(_above_\d+(k_tokens|hr|s_interval))*"
    r"(_(batches|priority|flex|ultrafast|balanced|decisions|cache_hit|[\d.]+[kKp]?))?$"
)

NAMES: Final = frozenset(
    {
        "annotation_cost_per_page",
        "cache_creation_input_audio_token_cost",
        "cache_creation_input_token_cost",
        "cache_read_input_audio_token_cost",
        "cache_read_input_image_token_cost",
        "cache_read_input_token_cost",
        "citation_cost_per_token",
        "code_interpreter_cost_per_session",
        "cost_per_second",
        "explicit_cache_read_input_token_cost",
        "google_maps_grounding_cost_per_query",
        "gpu_hour_cost",
        "guardrail_cost_per_unit",
        "input_cost_per_audio_per_second",
        "input_cost_per_audio_token",
        "input_cost_per_character",
        "input_cost_per_image",
        "input_cost_per_image_token",
        "input_cost_per_pixel",
        "input_cost_per_query",
        "input_cost_per_request",
        "input_cost_per_second",
        "input_cost_per_text_message",
        "input_cost_per_token",
        "input_cost_per_video_per_second",
        "input_cost_per_video_token",
        "input_dbu_cost_per_token",
        "ocr_cost_per_credit",
        "ocr_cost_per_page",
        "off_peak_pricing",
        "output_cost_per_audio_per_second",
        "output_cost_per_audio_token",
        "output_cost_per_character",
        "output_cost_per_image",
        "output_cost_per_image_token",
        "output_cost_per_pixel",
        "output_cost_per_reasoning_token",
        "output_cost_per_second",
        "output_cost_per_token",
        "output_cost_per_video_per_second",
        "output_cost_per_video_token",
        "output_dbu_cost_per_token",
        "regional_endpoint_uplift_multiplier",
        "regional_processing_uplift_multiplier_eu",
        "regional_processing_uplift_multiplier_us",
        "search_context_cost_per_query",
        "tiered_pricing",
    }
)


def is_price(key: str) -> bool:
    """Whether a key has the form of the price list's names for a price."""
    return _PRICE.search(key) is not None


def is_known_price(key: str) -> bool:
    """Whether it is one of those names, or a variant of one."""
    return _VARIANT.sub("", key, count=1) in NAMES or key in NAMES


def is_modifier(key: str) -> bool:
    """Whether it changes other prices and is none itself."""
    return _MODIFIER.search(key) is not None
