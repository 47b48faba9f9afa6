"""The azure-native provider of a local stack.

It is a Pulumi resource plugin, like the one that talks to Azure, and the engine starts it from PATH
in that one's place. It checks every resource against the installed ``pulumi_azure_native`` package,
so what it accepts is what the cloud's plugin accepts, and gives the few types with a local
counterpart a body: containers, the data lake and the tables. All other types are only stored, in
the state that the engine keeps.
"""
