"""Influence functions: curvature, inverse-Hessian-vector products, removal updates, each row's influence."""
