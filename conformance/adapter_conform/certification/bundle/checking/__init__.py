"""What `verify` looks at, a file each: the seal, the files of the run, the records, the reference, the verdict."""
