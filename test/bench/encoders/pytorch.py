"""The encoders of Gemma 3n in PyTorch, at full size with random weights: timm's MobileNet-V5 and transformers' audio
encoder, float32. Reads requests, one JSON object a line, and answers each with one: {"ready": versions} or {"missing":
why} first, then {"ms": milliseconds} to {"image": side} and {"audio": frames of the mel spectrogram}.

Usage: pytorch.py THREADS
"""

import importlib.util
import json
import sys
import time


def answer(**values):
    print(json.dumps(values), flush=True)


def build(threads):
    import timm
    import torch
    import transformers
    from transformers import Gemma3nAudioConfig
    from transformers.models.gemma3n.modeling_gemma3n import Gemma3nAudioEncoder

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    vision = timm.create_model("mobilenetv5_300m_enc", pretrained=False).eval()
    audio = Gemma3nAudioEncoder(Gemma3nAudioConfig()).eval()
    versions = {module.__name__: module.__version__ for module in (torch, timm, transformers)}
    return torch, vision, audio, versions


def main():
    missing = [name for name in ("torch", "timm", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        answer(missing=f"it has no {', '.join(missing)}")
        return
    try:
        torch, vision, audio, versions = build(int(sys.argv[1]))
    except Exception as error:  # whatever keeps a package from being used is the reason
        answer(missing=f"{type(error).__name__}: {error}")
        return
    answer(ready=versions)
    inputs = {}  # the same in every run
    for line in sys.stdin:
        request = json.loads(line)
        if line not in inputs:
            if "image" in request:
                side = request["image"]
                inputs[line] = vision, (torch.rand(1, 3, side, side),)
            else:
                frames = request["audio"]
                inputs[line] = audio, (torch.randn(1, frames, 128), torch.zeros(1, frames, dtype=torch.bool))
        model, arguments = inputs[line]
        with torch.inference_mode():
            start = time.perf_counter()
            model(*arguments)
            answer(ms=1000 * (time.perf_counter() - start))


main()
