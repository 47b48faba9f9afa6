"""The program for Azure under the real engine, with plugins that note requests and send none."""
