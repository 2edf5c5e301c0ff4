"""The API plane of the local DMS: resources, their states, what DMS refuses, and the workers that carry tasks out.

Built on moto's classes for DMS. The data plane is another package, `crossfade_lab.aws.replication`; the two meet in
the files of a task directory (see `files`) and nowhere else.
"""
