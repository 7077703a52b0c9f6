"""What runs inside the sandbox: a worker that loads the base once and forks one confined child for each job.

It knows nothing of peft_assay. The supervisor treats every byte that comes out of it, once a child has read an
adapter, as hostile.
"""
