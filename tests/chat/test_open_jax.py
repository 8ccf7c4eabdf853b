from typing import Any

from codling.artifact.bundle import load_bundle
from codling.chat.jax_decoder import JaxDecoder
from codling.chat.open_jax import open_on_jax
from codling.model.generate import Sampling

DRAWN = Sampling(temperature=0.9, top_p=0.8)


def test_it_is_the_bundle_with_its_adapter(pair: Any) -> None:
    opened, bundle = open_on_jax(pair.device, None, DRAWN, 3), load_bundle(pair.device)
    assert (opened.identity, opened.tokenizer) == (bundle.identity, bundle.tokenizer)
    expected = list(JaxDecoder(bundle.model, DRAWN, 3).run([30, 40], 9, ()))
    assert list(opened.decoder.run([30, 40], 9, ())) == expected
