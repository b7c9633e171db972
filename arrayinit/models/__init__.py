"""Whole models: rules, the plan that they make for a model's parameters, and the frameworks that models live in."""
