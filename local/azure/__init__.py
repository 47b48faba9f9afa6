"""Local Azure: the services of Azure that a stack talks to, on this machine.

Over HTTPS: Azure Resource Manager (:mod:`local.azure.arm`), key vaults (:mod:`local.azure.vault`)
and the storage account (:mod:`local.azure.storage`: tables, blobs and Data Lake, kept by Azurite).
Over HTTP, as on a cloud machine: managed-identity tokens (:mod:`local.azure.identity`); and
recorded weather (:mod:`local.azure.weather`). ``python -m local.azure`` serves all of it.
"""
