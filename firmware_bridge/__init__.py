"""The firmware bridge: microcontrollers as honest members of a site, over COBS frames on a serial line."""
