"""The soak: hundreds of jobs under random faults, and a checker that believes only the jobs themselves."""
