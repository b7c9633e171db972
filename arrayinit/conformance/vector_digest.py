"""The digest of a golden vector: plain BLAKE2b of its bytes, which an implementation in any language can compute."""

from typing import Any

import numpy as np

from arrayinit.backends import backend_of

__all__ = ["vector_digest"]


def vector_digest(x: Any) -> str:
    """32 hexadecimal digits of dtype, shape and bits, as section 13 of arrayinit/stream/README.md defines them."""
    import hashlib  # imported here: it takes a sixth of the import time of the whole package

    backend = backend_of(x)
    host = backend.to_numpy(x)
    digest = hashlib.blake2b(f"{backend.dtype_name(x.dtype)} {tuple(host.shape)}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(host, host.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
