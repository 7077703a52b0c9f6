"""The product's own worker, in whose children some adapters are code that changes what is answered."""
