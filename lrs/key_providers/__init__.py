"""Who holds the root of the keys. A provider wraps and unwraps epoch keys; it is asked at start and at rotation only.

    KeyProvider             wrap, unwrap, destroy
    ├── FileKeys            one file for each epoch, in a folder of its own (default)
    ├── EnvironmentKey      one key in GRIFFEL_MASTER_KEY, which nobody here can destroy
    ├── OpenBaoKeys         one key for each epoch in OpenBao's transit engine
    └── Pkcs11Keys          one key for each epoch on a PKCS#11 token: an HSM, a smart card, SoftHSM

The interface fits a key management service: `wrap` and `unwrap` are its encrypt and decrypt, an epoch is one of its
keys, `destroy` deletes that key.
"""

from lrs.key_providers.environment import EnvironmentKey
from lrs.key_providers.files import FileKeys
from lrs.key_providers.openbao import OpenBaoKeys
from lrs.key_providers.pkcs11 import Pkcs11Keys
from lrs.key_providers.provider import KeyProvider

__all__ = ["EnvironmentKey", "FileKeys", "KeyProvider", "OpenBaoKeys", "Pkcs11Keys"]
