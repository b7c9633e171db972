"""Digests of values: of an array, of a part of one, and of all arrays of a model."""

from arrayinit.digests.arrays import fingerprint
from arrayinit.digests.models import fingerprints
from arrayinit.digests.parts import FingerprintPart, fingerprint_part

__all__ = ["FingerprintPart", "fingerprint", "fingerprint_part", "fingerprints"]
