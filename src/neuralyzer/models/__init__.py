"""How a model is built, trained, scored and differentiated."""
