"""Do the controls catch a pool that does not reproduce its model, and let the others pass?"""
