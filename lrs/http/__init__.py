"""HTTP: what arrives is checked and handed on; what comes back is put into words of the protocol."""
